//! What `sslmode` and `sslrootcert` say, in libpq's words.
//! Source: <https://www.postgresql.org/docs/current/libpq-ssl.html>, "SSL Mode Descriptions".

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::tls;

#[derive(Clone)]
pub struct Encryption {
    pub mode: SslMode,
    proof: Proof,
}

/// What the server must prove with its certificate.
#[derive(Clone)]
enum Proof {
    Nothing,
    /// Signed by one of these.
    Chain(PathBuf),
    /// And for the host's name. `None`: signed by one that the machine trusts.
    Name(Option<PathBuf>),
}

impl Encryption {
    /// # Errors
    /// What cannot be meant, with what to write instead.
    pub fn read(mode: Option<&str>, roots: Option<&str>) -> Result<Self, String> {
        let is_system = roots == Some("system");
        let file = roots.filter(|_| !is_system).map(PathBuf::from);
        let (mode, proof) = match (mode, file) {
            (None | Some("verify-full"), None) if is_system => (SslMode::Require, Proof::Name(None)),
            (Some("verify-full"), file) => (SslMode::Require, Proof::Name(file)),
            (_, None) if is_system => return Err("`sslrootcert=system` goes with `sslmode=verify-full`".into()),
            (Some("verify-ca" | "require"), Some(file)) => (SslMode::Require, Proof::Chain(file)),
            (Some("verify-ca"), None) => return Err("`sslmode=verify-ca` needs `sslrootcert=PATH`".into()),
            (Some("require"), None) => (SslMode::Require, Proof::Nothing),
            (None | Some("disable" | "prefer"), Some(_)) => {
                return Err("`sslrootcert` goes with `sslmode=verify-full`, or `verify-ca`".into());
            }
            (None | Some("prefer"), None) => (SslMode::Prefer, Proof::Nothing),
            (Some("disable"), None) => (SslMode::Disable, Proof::Nothing),
            (Some(_), _) => {
                return Err("`sslmode` is one of disable, prefer, require, verify-ca, verify-full".into());
            }
        };
        Ok(Self { mode, proof })
    }

    /// Reads the certificates that are trusted; a relative path is one of `folder`.
    ///
    /// # Errors
    /// A file that holds none.
    pub fn connector(&self, folder: &Path) -> Result<MakeRustlsConnect, String> {
        let unusable = |error: &dyn std::fmt::Display| format!("TLS cannot be used: {error}");
        let provider = tls::provider();
        let known = provider.signature_verification_algorithms;
        let (roots, wants_name) = match &self.proof {
            Proof::Nothing => (None, false),
            Proof::Chain(file) => (Some(read(&folder.join(file))?), false),
            Proof::Name(Some(file)) => (Some(read(&folder.join(file))?), true),
            Proof::Name(None) => (Some((tls::roots(), Vec::new())), true),
        };
        let chain = roots.map(|(roots, given)| {
            let chain = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build();
            chain.map(|chain| (chain, given)).map_err(|error| unusable(&error))
        });
        let verifier = Arc::new(Verifier { chain: chain.transpose()?, wants_name, known });
        let config = tls::config().map_err(|error| unusable(&error))?.dangerous();
        Ok(MakeRustlsConnect::new(config.with_custom_certificate_verifier(verifier).with_no_client_auth()))
    }
}

type Certificates = Vec<CertificateDer<'static>>;

fn read(file: &Path) -> Result<(RootCertStore, Certificates), String> {
    let unread = |why: &dyn std::fmt::Display| format!("`sslrootcert` {} cannot be used: {why}", file.display());
    let text = std::fs::read(file).map_err(|error| unread(&error))?;
    let given: Result<Certificates, _> = CertificateDer::pem_slice_iter(&text).collect();
    let given = given.map_err(|error| unread(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in &given {
        roots.add(certificate.clone()).map_err(|error| unread(&error))?;
    }
    if given.is_empty() { Err(unread(&"it holds no certificate (PEM)")) } else { Ok((roots, given)) }
}

#[derive(Debug)]
struct Verifier {
    /// What signs, and the same as it was given; `None`: whoever answers.
    chain: Option<(Arc<WebPkiServerVerifier>, Certificates)>,
    wants_name: bool,
    known: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some((chain, given)) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        // A server's own, signed by itself, is named as its root: by the book it is none.
        if given.contains(end_entity) {
            if self.wants_name {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last, when the chain has been found good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.wants_name => Ok(ServerCertVerified::assertion()),
            end => end,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.known.supported_schemes()
    }
}
