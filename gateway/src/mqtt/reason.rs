//! Reason codes of MQTT 5 and what becomes of them in MQTT 3.1.1.

/// A reason code we send. The value is the MQTT 5 byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// Done; also normal disconnection and granted QoS 0.
    Success = 0x00,
    /// Nobody takes this topic; nothing was stored.
    NoMatchingSubscribers = 0x10,
    /// UNSUBSCRIBE of something that was not subscribed.
    NoSubscriptionExisted = 0x11,
    /// No better code applies.
    UnspecifiedError = 0x80,
    /// The bytes do not form the packet they claim to be.
    MalformedPacket = 0x81,
    /// A well-formed packet that is not allowed here.
    ProtocolError = 0x82,
    /// Valid, but not taken by this gateway.
    ImplementationSpecificError = 0x83,
    /// CONNECT with another protocol than 3.1.1 or 5.
    UnsupportedProtocolVersion = 0x84,
    /// The client identifier is not acceptable.
    ClientIdentifierNotValid = 0x85,
    /// Wrong user name or password.
    BadUserNameOrPassword = 0x86,
    /// The client may not do this.
    NotAuthorized = 0x87,
    /// Storage is down; nothing can be accepted.
    ServerUnavailable = 0x88,
    /// Try again later.
    ServerBusy = 0x89,
    /// The gateway stops.
    ServerShuttingDown = 0x8B,
    /// Enhanced authentication is not offered.
    BadAuthenticationMethod = 0x8C,
    /// Nothing was heard for one and a half times the keep alive.
    KeepAliveTimeout = 0x8D,
    /// Another connection uses the same client identifier.
    SessionTakenOver = 0x8E,
    /// The filter is well-formed but not accepted.
    TopicFilterInvalid = 0x8F,
    /// The topic is well-formed but not accepted.
    TopicNameInvalid = 0x90,
    /// The packet identifier is in use.
    PacketIdentifierInUse = 0x91,
    /// The packet identifier is not known.
    PacketIdentifierNotFound = 0x92,
    /// More publishes unacknowledged than announced.
    ReceiveMaximumExceeded = 0x93,
    /// An alias of zero, beyond the maximum, or never set.
    TopicAliasInvalid = 0x94,
    /// Larger than the announced maximum.
    PacketTooLarge = 0x95,
    /// A limit of the gateway is reached, for a PUBLISH: the disk is full.
    QuotaExceeded = 0x97,
    /// The payload is not what it claims to be.
    PayloadFormatInvalid = 0x99,
    /// Shared subscriptions are not possible here.
    SharedSubscriptionsNotSupported = 0x9E,
    /// Too many connects in a short time.
    ConnectionRateExceeded = 0x9F,
}

impl Reason {
    /// Every reason, by code.
    pub const ALL: [Reason; 28] = [
        Reason::Success,
        Reason::NoMatchingSubscribers,
        Reason::NoSubscriptionExisted,
        Reason::UnspecifiedError,
        Reason::MalformedPacket,
        Reason::ProtocolError,
        Reason::ImplementationSpecificError,
        Reason::UnsupportedProtocolVersion,
        Reason::ClientIdentifierNotValid,
        Reason::BadUserNameOrPassword,
        Reason::NotAuthorized,
        Reason::ServerUnavailable,
        Reason::ServerBusy,
        Reason::ServerShuttingDown,
        Reason::BadAuthenticationMethod,
        Reason::KeepAliveTimeout,
        Reason::SessionTakenOver,
        Reason::TopicFilterInvalid,
        Reason::TopicNameInvalid,
        Reason::PacketIdentifierInUse,
        Reason::PacketIdentifierNotFound,
        Reason::ReceiveMaximumExceeded,
        Reason::TopicAliasInvalid,
        Reason::PacketTooLarge,
        Reason::QuotaExceeded,
        Reason::PayloadFormatInvalid,
        Reason::SharedSubscriptionsNotSupported,
        Reason::ConnectionRateExceeded,
    ];

    /// The byte on the wire.
    #[must_use]
    pub fn byte(self) -> u8 {
        self as u8
    }

    /// Codes from 0x80 on say that what was asked did not happen.
    #[must_use]
    pub fn is_error(self) -> bool {
        self.byte() >= 0x80
    }

    /// The CONNACK return code of MQTT 3.1.1, which has six (3.1.1, 3.2.2.3).
    pub(crate) fn v4_connack(self) -> u8 {
        match self {
            Reason::Success => 0,
            Reason::UnsupportedProtocolVersion => 1,
            Reason::ClientIdentifierNotValid => 2,
            Reason::BadUserNameOrPassword => 4,
            Reason::NotAuthorized | Reason::BadAuthenticationMethod => 5,
            _ => 3,
        }
    }

    /// A word for metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Success => "success",
            Reason::NoMatchingSubscribers => "no_matching_subscribers",
            Reason::NoSubscriptionExisted => "no_subscription_existed",
            Reason::UnspecifiedError => "unspecified_error",
            Reason::MalformedPacket => "malformed_packet",
            Reason::ProtocolError => "protocol_error",
            Reason::ImplementationSpecificError => "implementation_specific_error",
            Reason::UnsupportedProtocolVersion => "unsupported_protocol_version",
            Reason::ClientIdentifierNotValid => "client_identifier_not_valid",
            Reason::BadUserNameOrPassword => "bad_user_name_or_password",
            Reason::NotAuthorized => "not_authorized",
            Reason::ServerUnavailable => "server_unavailable",
            Reason::ServerBusy => "server_busy",
            Reason::ServerShuttingDown => "server_shutting_down",
            Reason::BadAuthenticationMethod => "bad_authentication_method",
            Reason::KeepAliveTimeout => "keep_alive_timeout",
            Reason::SessionTakenOver => "session_taken_over",
            Reason::TopicFilterInvalid => "topic_filter_invalid",
            Reason::TopicNameInvalid => "topic_name_invalid",
            Reason::PacketIdentifierInUse => "packet_identifier_in_use",
            Reason::PacketIdentifierNotFound => "packet_identifier_not_found",
            Reason::ReceiveMaximumExceeded => "receive_maximum_exceeded",
            Reason::TopicAliasInvalid => "topic_alias_invalid",
            Reason::PacketTooLarge => "packet_too_large",
            Reason::QuotaExceeded => "quota_exceeded",
            Reason::PayloadFormatInvalid => "payload_format_invalid",
            Reason::SharedSubscriptionsNotSupported => "shared_subscriptions_not_supported",
            Reason::ConnectionRateExceeded => "connection_rate_exceeded",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (0x{:02x})", self.as_str(), self.byte())
    }
}
