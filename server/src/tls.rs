//! TLS: who the server is, and which certificate a client showed.
//!
//! As in the reference, a client certificate is asked for and never demanded, and one that cannot be verified is no
//! reason to end the handshake: the request is answered with 401. The handshake does prove that the client has the
//! certificate's key.
//!
//! Invariant: [`Shown::Verified`] is only ever made from a chain that leads to a configured CA, is in its
//! time, and is meant for clients.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{
        ClientHello, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;
use triune_env::{BoxFuture, Connection};
use triune_machinery::{
    peer::{ClientCertificate, Peer, Protocol},
    serve::Secure,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{failure::Failure, flags::value};

/// The attribute of a subject that holds a user's UID (Kubernetes' own).
const UID_ATTRIBUTE: &str = "1.3.6.1.4.1.57683.2";

/// What the handshake is configured by.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// PEM files of the certificate chain and its key.
    pub certificate: (std::path::PathBuf, std::path::PathBuf),
    /// Certificates for clients that ask for certain names.
    pub named: Vec<value::NamedCertificate>,
    /// PEM files of CAs whose client certificates name users.
    pub client_cas: Vec<std::path::PathBuf>,
    /// PEM file of CAs whose client certificates make a front proxy.
    pub front_proxy_ca: Option<std::path::PathBuf>,
    /// `VersionTLS12`, `VersionTLS13` or older names, which mean the oldest that is spoken.
    pub version_min: Option<String>,
    /// Suites of TLS 1.2; empty allows all.
    pub cipher_suites: Vec<String>,
    /// Key exchange groups; empty allows all.
    pub groups: Vec<String>,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
}

/// What a client's certificate says, after verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// None was shown, or no CA for clients is configured.
    Nothing,
    /// It was verified.
    Verified {
        /// Its subject.
        subject: ClientCertificate,
        /// Whether it leads to a CA of users.
        user: bool,
        /// Whether it leads to a CA of front proxies.
        front_proxy: bool,
    },
    /// It was shown and cannot be verified: why.
    Unverified(String),
}

/// The TLS side of the server.
pub struct Tls {
    acceptor: TlsAcceptor,
    users: Option<Arc<dyn ClientCertVerifier>>,
    front_proxies: Option<Arc<dyn ClientCertVerifier>>,
}

impl Tls {
    /// Reads every file and checks that they fit together.
    pub fn load(settings: &TlsSettings) -> Result<Tls, Failure> {
        let provider = Arc::new(provider(settings)?);
        let users = verifier(&settings.client_cas, &provider)?;
        let front_proxy_ca: Vec<_> = settings.front_proxy_ca.iter().cloned().collect();
        let front_proxies = verifier(&front_proxy_ca, &provider)?;
        let hints = [&users, &front_proxies].into_iter().flatten().flat_map(|verifier| verifier.root_hint_subjects());
        let any = AnyCertificate {
            algorithms: provider.signature_verification_algorithms,
            hints: hints.cloned().collect(),
            offer: users.is_some() || front_proxies.is_some(),
        };
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions(settings)?)
            .map_err(|error| Failure::usage(format!("the TLS flags do not fit together: {error}")))?
            .with_client_cert_verifier(Arc::new(any))
            .with_cert_resolver(Arc::new(Certificates::load(settings, &provider)?));
        config.alpn_protocols = if settings.http2 { vec![b"h2".to_vec()] } else { Vec::new() };
        config.alpn_protocols.push(b"http/1.1".to_vec());
        config.ticketer = aws_lc_rs::Ticketer::new()
            .map_err(|error| Failure::run(format!("cannot make keys for TLS session tickets: {error}")))?;
        config.send_tls13_tickets = 1;
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), users, front_proxies })
    }

    /// What the certificate that a client showed says.
    pub fn identify(&self, chain: Option<&[CertificateDer<'_>]>) -> Shown {
        let Some([leaf, intermediates @ ..]) = chain else { return Shown::Nothing };
        let verify = |verifier: &Arc<dyn ClientCertVerifier>| {
            verifier.verify_client_cert(leaf, intermediates, UnixTime::now()).map(drop)
        };
        let (user, front_proxy) = (self.users.as_ref().map(verify), self.front_proxies.as_ref().map(verify));
        let verified = |result: &Option<Result<(), rustls::Error>>| matches!(result, Some(Ok(())));
        let (is_user, is_front_proxy) = (verified(&user), verified(&front_proxy));
        if is_user || is_front_proxy {
            return match subject(leaf) {
                Some(subject) => Shown::Verified { subject, user: is_user, front_proxy: is_front_proxy },
                None => Shown::Unverified("the certificate cannot be read".into()),
            };
        }
        match user.or(front_proxy) {
            Some(Err(error)) => Shown::Unverified(error.to_string()),
            _ => Shown::Nothing,
        }
    }
}

impl Secure for Tls {
    fn handshake(
        &self,
        connection: Box<dyn Connection>,
        address: SocketAddr,
    ) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, Peer)>> {
        Box::pin(async move {
            let stream = self.acceptor.accept(connection).await?;
            let (_, session) = stream.get_ref();
            let protocol = match session.alpn_protocol() {
                Some(b"h2") => Protocol::Http2,
                // Who offers nothing speaks HTTP/1.1 (RFC 7540 section 3.3: HTTP/2 over TLS is agreed on by ALPN).
                _ => Protocol::Http1,
            };
            let mut peer = Peer::new(address, protocol);
            match self.identify(session.peer_certificates()) {
                Shown::Nothing => {}
                Shown::Verified { subject, user, front_proxy } => {
                    peer.front_proxy = front_proxy.then(|| subject.common_name.clone());
                    if user {
                        peer = peer.with_certificate(&subject);
                    }
                }
                Shown::Unverified(why) => peer.certificate_error = Some(why),
            }
            Ok((Box::new(stream) as Box<dyn Connection>, peer))
        })
    }
}

fn subject(der: &[u8]) -> Option<ClientCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let name = certificate.subject();
    let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| attribute.as_str().ok().map(str::to_owned);
    let uid = name.iter_attributes().find(|attribute| attribute.attr_type().to_id_string() == UID_ATTRIBUTE);
    Some(ClientCertificate {
        common_name: name.iter_common_name().last().and_then(text).unwrap_or_default(),
        organisations: name.iter_organization().filter_map(text).collect(),
        uid: uid.and_then(text).unwrap_or_default(),
        fingerprint: sha256_hex(der),
    })
}

/// The hash of the TLS provider, so that there is one provider of cryptography.
fn sha256_hex(bytes: &[u8]) -> String {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let Some(suite) = suite.tls13() else { return String::new() };
    suite.common.hash_provider.hash(bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn provider(settings: &TlsSettings) -> Result<CryptoProvider, Failure> {
    let mut provider = aws_lc_rs::default_provider();
    if !settings.cipher_suites.is_empty() {
        let known: Vec<String> = provider.cipher_suites.iter().map(|suite| suite_name(suite.suite())).collect();
        if let Some(unknown) = settings.cipher_suites.iter().find(|name| !known.contains(&long_name(name))) {
            let known: Vec<&str> = known.iter().map(String::as_str).filter(|name| name.contains("ECDHE")).collect();
            let known = known.join(", ");
            return Err(Failure::usage(format!("--tls-cipher-suites: {unknown} is not offered; choose of {known}")));
        }
        let wanted: Vec<String> = settings.cipher_suites.iter().map(|name| long_name(name)).collect();
        // As in the reference, the suites of TLS 1.3 are not subject to choice.
        provider.cipher_suites.retain(|suite| suite.tls13().is_some() || wanted.contains(&suite_name(suite.suite())));
    }
    if !settings.groups.is_empty() {
        let mut groups: Vec<&'static dyn SupportedKxGroup> = Vec::new();
        for name in &settings.groups {
            let found = aws_lc_rs::ALL_KX_GROUPS.iter().find(|group| {
                u16::from(group.name()).to_string() == *name || group_names(group.name()).contains(&name.as_str())
            });
            groups.push(*found.ok_or_else(|| {
                let known = "X25519MLKEM768, X25519, CurveP256, CurveP384 or their numbers";
                Failure::usage(format!("--tls-curve-preferences: {name} is not offered; choose of {known}"))
            })?);
        }
        provider.kx_groups = groups;
    }
    Ok(provider)
}

fn group_names(group: rustls::NamedGroup) -> &'static [&'static str] {
    match group {
        rustls::NamedGroup::X25519 => &["X25519"],
        rustls::NamedGroup::secp256r1 => &["CurveP256", "P256"],
        rustls::NamedGroup::secp384r1 => &["CurveP384", "P384"],
        rustls::NamedGroup::X25519MLKEM768 => &["X25519MLKEM768"],
        _ => &[],
    }
}

fn suite_name(suite: rustls::CipherSuite) -> String {
    format!("{suite:?}")
}

/// Go knows the ChaCha20 suites by a short name too.
fn long_name(name: &str) -> String {
    if name.ends_with("CHACHA20_POLY1305") { format!("{name}_SHA256") } else { name.to_owned() }
}

static TLS13_ONLY: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn versions(settings: &TlsSettings) -> Result<&'static [&'static SupportedProtocolVersion], Failure> {
    match settings.version_min.as_deref() {
        // Older versions than 1.2 are not spoken: that is stricter than what was asked for.
        None | Some("VersionTLS10" | "VersionTLS11" | "VersionTLS12") => Ok(rustls::ALL_VERSIONS),
        Some("VersionTLS13") => Ok(TLS13_ONLY),
        Some(other) => {
            let expected = "expected VersionTLS12 or VersionTLS13";
            Err(Failure::usage(format!("invalid value {other:?} for --tls-min-version: {expected}")))
        }
    }
}

fn verifier(
    files: &[std::path::PathBuf],
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Failure> {
    if files.is_empty() {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for path in files {
        for certificate in read_chain(path)? {
            let refused = |error| Failure::run(format!("{} holds no CA certificate: {error}", path.display()));
            roots.add(certificate).map_err(refused)?;
        }
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| Failure::run(format!("cannot verify client certificates: {error}")))?;
    Ok(Some(verifier))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let unreadable = |error| Failure::run(format!("cannot read certificates from {}: {error}", path.display()));
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)?;
    if chain.is_empty() {
        return Err(Failure::run(format!("{} holds no certificate (PEM is expected)", path.display())));
    }
    Ok(chain)
}

fn read_certified_key(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, Failure> {
    let chain = read_chain(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| Failure::run(format!("cannot read a private key from {}: {error}", key.display())))?;
    CertifiedKey::from_der(chain, private, provider).map_err(|error| {
        let (certificate, key) = (certificate.display(), key.display());
        Failure::run(format!("{certificate} and {key} do not fit together: {error}"))
    })
}

/// The server's certificates: one for all, others for clients that name a host.
#[derive(Debug)]
struct Certificates {
    default: Arc<CertifiedKey>,
    named: Vec<(Vec<String>, Arc<CertifiedKey>)>,
}

impl Certificates {
    fn load(settings: &TlsSettings, provider: &CryptoProvider) -> Result<Certificates, Failure> {
        let (certificate, key) = &settings.certificate;
        let default = Arc::new(read_certified_key(certificate, key, provider)?);
        let mut named = Vec::new();
        for entry in &settings.named {
            let pair = read_certified_key(Path::new(&entry.certificate), Path::new(&entry.key), provider)?;
            let names = if entry.names.is_empty() { names_of(&pair) } else { entry.names.clone() };
            named.push((names, Arc::new(pair)));
        }
        Ok(Certificates { default, named })
    }
}

fn names_of(pair: &CertifiedKey) -> Vec<String> {
    let Some((_, certificate)) = pair.cert.first().and_then(|leaf| X509Certificate::from_der(leaf).ok()) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = |name: &x509_parser::extensions::GeneralName| match name {
        x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(dns).collect()
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().unwrap_or_default();
        let fitting = self.named.iter().find(|(names, _)| names.iter().any(|name| name_fits(name, asked)));
        Some(fitting.map_or(&self.default, |(_, pair)| pair).clone())
    }
}

/// Whether a name, or a wildcard for its first label, fits what a client asked for.
fn name_fits(name: &str, asked: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(domain) => asked.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
        None => !asked.is_empty() && name.eq_ignore_ascii_case(asked),
    }
}

/// Lets every client certificate pass the handshake, once the client has proved that it has the key.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
    hints: Vec<DistinguishedName>,
    offer: bool,
}

impl ClientCertVerifier for AnyCertificate {
    fn offer_client_auth(&self) -> bool {
        self.offer
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki;

    fn settings(folder: &Path) -> TlsSettings {
        TlsSettings {
            certificate: (folder.join("apiserver.crt"), folder.join("apiserver.key")),
            named: Vec::new(),
            client_cas: vec![folder.join("ca.crt")],
            front_proxy_ca: Some(folder.join("front-proxy-ca.crt")),
            version_min: None,
            cipher_suites: Vec::new(),
            groups: Vec::new(),
            http2: true,
        }
    }

    fn made() -> tempfile::TempDir {
        let scratch = tempfile::tempdir().unwrap();
        pki::prepare(scratch.path(), &["localhost".into()]).unwrap();
        scratch
    }

    #[test]
    fn certificates_are_what_they_say_only_under_the_right_authority() {
        let (scratch, stranger) = (made(), made());
        let tls = Tls::load(&settings(scratch.path())).unwrap();
        let shown = |folder: &Path, file: &str| tls.identify(Some(&read_chain(&folder.join(file)).unwrap()));
        let verified = |found: Shown| match found {
            Shown::Verified { subject, user, front_proxy } => {
                assert_eq!(subject.fingerprint.len(), 64);
                (subject.common_name, subject.organisations.join(" "), user, front_proxy)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(tls.identify(None), Shown::Nothing);
        let admin = verified(shown(scratch.path(), "admin.crt"));
        assert_eq!(admin, ("kubernetes-admin".into(), "system:masters".into(), true, false));
        let proxy = verified(shown(scratch.path(), "front-proxy-client.crt"));
        assert_eq!(proxy, ("front-proxy-client".into(), String::new(), false, true));
        let refused = |found: Shown| matches!(found, Shown::Unverified(_));
        assert!(refused(shown(stranger.path(), "admin.crt")), "another CA");
        assert!(refused(shown(scratch.path(), "apiserver.crt")), "not meant for clients");
    }

    #[test]
    fn settings_that_cannot_be_kept_are_refused() {
        let scratch = made();
        let check = |change: &dyn Fn(&mut TlsSettings), part: &str| {
            let mut changed = settings(scratch.path());
            change(&mut changed);
            let failure = Tls::load(&changed).err().map(|failure| failure.to_string()).unwrap_or_default();
            assert!(failure.contains(part), "{failure:?} lacks {part:?}");
        };
        check(&|tls| tls.cipher_suites = vec!["TLS_RSA_WITH_RC4_128_SHA".into()], "is not offered");
        check(&|tls| tls.groups = vec!["CurveX".into()], "is not offered");
        check(&|tls| tls.version_min = Some("VersionSSL30".into()), "expected VersionTLS12");
        check(&|tls| tls.certificate.1 = scratch.path().join("admin.key"), "do not fit together");
        check(&|tls| tls.client_cas = vec![scratch.path().join("none.crt")], "cannot read certificates");
        check(&|tls| tls.client_cas = vec![scratch.path().join("ca.key")], "holds no certificate");
        let mut fine = settings(scratch.path());
        fine.cipher_suites = vec!["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305".into()];
        fine.groups = vec!["X25519".into(), "23".into()];
        fine.version_min = Some("VersionTLS13".into());
        assert!(Tls::load(&fine).is_ok());
    }

    #[test]
    fn wildcards_stand_for_one_label() {
        let check = |name: &str, asked: &str, fits: bool| assert_eq!(name_fits(name, asked), fits, "{name} {asked}");
        check("api.example.org", "API.example.org", true);
        check("*.example.org", "api.example.org", true);
        check("*.example.org", "a.b.example.org", false);
        check("*.example.org", "example.org", false);
        check("api.example.org", "", false);
    }
}
