//! What a gateway has to prove before it is spoken to.
//!
//! ```text
//! Nothing ── certificate, signed by the authority itself ──> Named ── signature over the handshake ──> Proven
//! ```
//! In: the gateway's certificate and signature. Out: how far it came. Invariant: every step is taken once and in order.
//! Not here: dates, names and signatures, which are embedded-tls's.
//!
//! The steps are counted here because embedded-tls 0.19 does not: a handshake whose server leaves out its certificate, or the
//! signature, ends well there, so that anybody on the way could be the gateway. Nor does it look whether a certificate may
//! sign others: every device could be the gateway with its own, so a chain of certificates is refused.

use super::CERTIFICATE_BYTES_MAX;
use core::cell::Cell;
use embedded_tls::pki::CertVerifier;
use embedded_tls::{
    Aes128GcmSha256, Certificate, CertificateEntryRef, CertificateRef, CertificateVerifyRef, Sha256,
    TlsClock, TlsError, TlsVerifier,
};

/// How far a gateway came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has shown nothing.
    Nothing,
    /// It has shown a good certificate, which anybody can.
    Named,
    /// It has its key as well.
    Proven,
}

/// Looks at what one gateway shows.
pub(super) struct Proof<'a, T: TlsClock> {
    authority: &'a [u8],
    stage: &'a Cell<Stage>,
    certificates: CertVerifier<'a, Aes128GcmSha256, T, CERTIFICATE_BYTES_MAX>,
}

impl<'a, T: TlsClock> Proof<'a, T> {
    /// Of a new connection; `stage` is [`Stage::Nothing`].
    pub(super) fn new(authority: &'a [u8], stage: &'a Cell<Stage>) -> Self {
        Self { authority, stage, certificates: CertVerifier::new(Certificate::X509(authority)) }
    }

    /// From one stage to the next, and no other way.
    fn step(&self, from: Stage) -> Result<(), TlsError> {
        if self.stage.get() == from { Ok(()) } else { Err(TlsError::InvalidHandshake) }
    }
}

impl<T: TlsClock> TlsVerifier<Aes128GcmSha256> for Proof<'_, T> {
    fn set_hostname_verification(&mut self, name: &str) -> Result<(), TlsError> {
        TlsVerifier::<Aes128GcmSha256>::set_hostname_verification(&mut self.certificates, name)
    }

    fn verify_certificate(&mut self, transcript: &Sha256, chain: CertificateRef<'_>) -> Result<(), TlsError> {
        self.step(Stage::Nothing)?;
        // Servers like to send the authority along.
        let is_direct = match &chain.entries[..] {
            [_] => true,
            [_, CertificateEntryRef::X509(last)] => *last == self.authority,
            _ => false,
        };
        if !is_direct {
            return Err(TlsError::InvalidCertificate);
        }
        self.certificates.verify_certificate(transcript, chain)?;
        self.stage.set(Stage::Named);
        Ok(())
    }

    fn verify_signature(&mut self, signature: CertificateVerifyRef<'_>) -> Result<(), TlsError> {
        self.step(Stage::Named)?;
        self.certificates.verify_signature(signature)?;
        self.stage.set(Stage::Proven);
        Ok(())
    }
}
