//! TLS 1.3 under the MQTT link: one authority is trusted, and the device has a certificate of its own.
//!
//! In: credentials from the vault, a way to [`Dial`], chance. Out: a way to dial that is encrypted and known on both sides.
//! Invariants: only a gateway that proves to own a certificate with the right name, signed by the authority itself, is spoken
//! to (see `proof`); the private key is used and never sent. Not here: where credentials are kept (the vault).
//!
//! All keys are P-256, all certificates DER of at most [`CERTIFICATE_BYTES_MAX`]. Between authority and gateway there is no other
//! certificate. Dates are checked once the device knows the time ([`LearnedTime`]): the first connection after a start goes
//! without, because it is the one that brings the time.
//!
//! A record fits [`Records`] only when the gateway makes none larger than 2 KiB: servers do not heed what a client asks for
//! (rustls ignores the extension), so the gateway's listener is set to it. A larger record ends the connection.
//!
//! embedded-tls saves us a TLS stack; it has not been audited, which is why nothing but a private authority is trusted with it
//! and why `proof` and `whole` stand before what it takes on trust.

mod proof;
mod time;
mod whole;

pub use self::time::LearnedTime;
pub use self::whole::Whole;

use self::proof::{Proof, Stage};
use super::Dial;
use crate::LinkDown;
use core::cell::Cell;
use embedded_tls::{
    Aes128GcmSha256, Certificate, CryptoProvider, MaxFragmentLength, SignatureScheme, TlsConfig,
    TlsConnection, TlsContext, TlsError, TlsVerifier,
};
pub use embedded_tls::{NoClock, TlsClock};
use headwater_telemetry::Credentials;
use p256::ecdsa::signature::SignerMut;
use p256::ecdsa::{DerSignature, SigningKey};
pub use rand_core::CryptoRngCore;

/// Bytes of a certificate that the other side may send. A P-256 certificate of a private authority has 400 to 700.
pub const CERTIFICATE_BYTES_MAX: usize = 1024;

/// Bytes of a record received: 2 KiB of data and what surrounds it while it is deciphered.
const RECEIVED_BYTES: usize = 4096;

/// Bytes of a record sent: the device's certificate, or the longest packet.
const SENT_BYTES: usize = 2048;

/// Room for one record in and one out. A board puts it into a static.
#[derive(Debug)]
pub struct Records {
    received: [u8; RECEIVED_BYTES],
    sent: [u8; SENT_BYTES],
}

impl Records {
    /// Empty ones.
    pub const fn new() -> Self {
        Self { received: [0; RECEIVED_BYTES], sent: [0; SENT_BYTES] }
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::new()
    }
}

/// A way to dial over TLS. `R` is the board's source of chance: it must be one that nobody can foretell. `T` tells the time for
/// the dates of certificates: [`LearnedTime`] on a device.
pub struct Tls<'a, D, R, T = NoClock> {
    dial: D,
    credentials: Credentials<'a>,
    records: &'a mut Records,
    random: R,
    clock: core::marker::PhantomData<T>,
}

impl<D: core::fmt::Debug, R, T> core::fmt::Debug for Tls<'_, D, R, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Tls").field("dial", &self.dial).finish_non_exhaustive()
    }
}

impl<'a, D: Dial, R: CryptoRngCore, T: TlsClock> Tls<'a, D, R, T> {
    /// TLS over what `dial` opens.
    pub fn new(dial: D, credentials: Credentials<'a>, records: &'a mut Records, random: R) -> Self {
        Self { dial, credentials, records, random, clock: core::marker::PhantomData }
    }
}

impl<D: Dial, R: CryptoRngCore, T: TlsClock> Dial for Tls<'_, D, R, T> {
    type Stream<'s>
        = TlsConnection<'s, Whole<D::Stream<'s>>, Aes128GcmSha256>
    where
        Self: 's;

    async fn dial(&mut self) -> Result<Self::Stream<'_>, LinkDown> {
        let socket = Whole::new(self.dial.dial().await?);
        let config = TlsConfig::new()
            .with_server_name(self.credentials.server_name)
            .with_max_fragment_length(MaxFragmentLength::Bits11);
        let stage = Cell::new(Stage::Nothing);
        let provider = Identity::<R, T> {
            random: &mut self.random,
            credentials: self.credentials,
            proof: Proof::new(self.credentials.authority, &stage),
        };
        let mut tls = TlsConnection::new(socket, &mut self.records.received, &mut self.records.sent);
        match tls.open(TlsContext::new(&config, provider)).await {
            // Nothing that was to be kept to ourselves has been sent by now.
            Ok(()) if stage.get() == Stage::Proven => Ok(tls),
            Ok(()) => Err(LinkDown::Untrusted),
            Err(error) => Err(reason(&error)),
        }
    }
}

/// Errors of the transport are a connection that broke; all others are a matter of trust or of settings.
fn reason(error: &TlsError) -> LinkDown {
    match error {
        TlsError::ConnectionClosed | TlsError::Io(_) | TlsError::IoError => LinkDown::Closed,
        TlsError::InsufficientSpace => LinkDown::TooLarge,
        _ => LinkDown::Untrusted,
    }
}

struct Identity<'a, R, T: TlsClock> {
    random: &'a mut R,
    credentials: Credentials<'a>,
    proof: Proof<'a, T>,
}

impl<R: CryptoRngCore, T: TlsClock> CryptoProvider for Identity<'_, R, T> {
    type CipherSuite = Aes128GcmSha256;
    type Signature = DerSignature;

    fn rng(&mut self) -> impl CryptoRngCore {
        &mut *self.random
    }

    fn verifier(&mut self) -> Result<&mut impl TlsVerifier<Aes128GcmSha256>, TlsError> {
        Ok(&mut self.proof)
    }

    fn signer(&mut self) -> Result<(impl SignerMut<DerSignature>, SignatureScheme), TlsError> {
        let key =
            p256::SecretKey::from_sec1_der(self.credentials.key).map_err(|_| TlsError::InvalidPrivateKey)?;
        Ok((SigningKey::from(&key), SignatureScheme::EcdsaSecp256r1Sha256))
    }

    fn client_cert(&mut self) -> Option<Certificate<impl AsRef<[u8]>>> {
        Some(Certificate::X509(self.credentials.certificate))
    }
}
