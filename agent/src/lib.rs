//! The Linux edge agent: device links, spool, MQTT uplink.
