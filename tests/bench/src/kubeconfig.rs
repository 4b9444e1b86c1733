//! Where the server is and who asks: the current context of a kubeconfig.
//!
//! Understood: certificate authority, client certificate and key (as data or files), token (or its file),
//! `insecure-skip-tls-verify`, `tls-server-name`, plain `http`. Programs that fetch credentials are not run.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::Engine as _;
use http::HeaderValue;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use serde::Deserialize;

use crate::Error;

/// A server and who asks.
#[derive(Clone)]
pub(crate) struct Target {
    /// Name or address.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
    /// None for plain HTTP.
    pub(crate) tls: Option<Tls>,
    /// `Host` header.
    pub(crate) authority: String,
    /// `Authorization` header.
    pub(crate) authorization: Option<HeaderValue>,
}

/// TLS of a target: one configuration for each protocol that is asked for.
#[derive(Clone)]
pub(crate) struct Tls {
    /// Asks for HTTP/1.1.
    pub(crate) http1: Arc<ClientConfig>,
    /// Asks for HTTP/2, and takes HTTP/1.1.
    pub(crate) http2: Arc<ClientConfig>,
    /// What the server's certificate must name.
    pub(crate) server_name: ServerName<'static>,
}

#[derive(Deserialize)]
struct Kubeconfig {
    #[serde(default, rename = "current-context")]
    current_context: String,
    #[serde(default)]
    clusters: Vec<Named<Cluster>>,
    #[serde(default)]
    contexts: Vec<Named<Context>>,
    #[serde(default)]
    users: Vec<Named<User>>,
}

#[derive(Deserialize)]
struct Named<T> {
    name: String,
    #[serde(alias = "cluster", alias = "context", alias = "user")]
    value: T,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: bool,
    tls_server_name: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    #[serde(rename = "client-certificate")]
    client_certificate: Option<PathBuf>,
    #[serde(rename = "client-certificate-data")]
    client_certificate_data: Option<String>,
    #[serde(rename = "client-key")]
    client_key: Option<PathBuf>,
    #[serde(rename = "client-key-data")]
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    exec: Option<serde_json::Value>,
}

impl Target {
    /// Reads the file's current context.
    pub(crate) fn load(path: &Path) -> Result<Target, Error> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Target::parse(&text, folder).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    fn parse(text: &str, folder: &Path) -> Result<Target, Error> {
        let config: Kubeconfig = serde_saphyr::from_str(text)?;
        let context = pick(&config.contexts, &config.current_context, "context")?;
        let cluster = pick(&config.clusters, &context.cluster, "cluster")?;
        let nobody = User::default();
        let user = if context.user.is_empty() { &nobody } else { pick(&config.users, &context.user, "user")? };
        if user.exec.is_some() {
            return Err("the user's credentials come from a program (exec), which is not supported".into());
        }
        let server: http::Uri =
            cluster.server.parse().map_err(|error| format!("server {:?}: {error}", cluster.server))?;
        let host = server.host().ok_or_else(|| format!("server {:?} has no host", cluster.server))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_string();
        let secure = server.scheme_str() != Some("http");
        let port = server.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = if secure { Some(tls(cluster, user, folder, &host)?) } else { None };
        let token = match (&user.token, &user.token_file) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(file)) => Some(std::fs::read_to_string(folder.join(file))?),
            (None, None) => None,
        };
        let authorization =
            token.map(|token| HeaderValue::from_str(&format!("Bearer {}", token.trim()))).transpose()?;
        let authority = server.authority().map(ToString::to_string).unwrap_or_default();
        Ok(Target { host, port, tls, authority, authorization })
    }
}

fn pick<'a, T>(entries: &'a [Named<T>], name: &str, what: &str) -> Result<&'a T, Error> {
    let found = entries.iter().find(|entry| entry.name == name);
    found.map(|entry| &entry.value).ok_or_else(|| format!("there is no {what} {name:?}").into())
}

/// PEM text given as base64 or as a file.
fn pem(data: Option<&String>, file: Option<&PathBuf>, folder: &Path) -> Result<Option<Vec<u8>>, Error> {
    match (data, file) {
        (Some(data), _) => Ok(Some(base64::engine::general_purpose::STANDARD.decode(data.trim())?)),
        (None, Some(file)) => {
            let path = folder.join(file);
            Ok(Some(std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?))
        }
        (None, None) => Ok(None),
    }
}

fn tls(cluster: &Cluster, user: &User, folder: &Path, host: &str) -> Result<Tls, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = if cluster.insecure_skip_tls_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAll(provider)))
    } else {
        let authority =
            pem(cluster.certificate_authority_data.as_ref(), cluster.certificate_authority.as_ref(), folder)?
                .ok_or("the cluster has no certificate authority and is not marked insecure")?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&authority) {
            roots.add(certificate?)?;
        }
        builder.with_root_certificates(roots)
    };
    let certificate = pem(user.client_certificate_data.as_ref(), user.client_certificate.as_ref(), folder)?;
    let key = pem(user.client_key_data.as_ref(), user.client_key.as_ref(), folder)?;
    let config = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&key)?)?
        }
        _ => builder.with_no_client_auth(),
    };
    let with_protocols = |protocols: &[&str]| {
        let mut config = config.clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    };
    let server_name = cluster.tls_server_name.clone().unwrap_or_else(|| host.to_string());
    Ok(Tls {
        http1: with_protocols(&["http/1.1"]),
        http2: with_protocols(&["h2", "http/1.1"]),
        server_name: ServerName::try_from(server_name)?,
    })
}

/// For `insecure-skip-tls-verify`: any certificate will do, as the user has said.
#[derive(Debug)]
struct TrustAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(cluster: &str, user: &str) -> Result<Target, String> {
        let text = format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {cluster}}}]\nusers: [{{name: u, user: {user}}}]\n"
        );
        Target::parse(&text, Path::new("/nowhere")).map_err(|error| error.to_string())
    }

    #[test]
    fn targets() {
        let plain = parse("{server: \"http://127.0.0.1:8001\"}", "{}").unwrap();
        assert_eq!((plain.host.as_str(), plain.port, plain.authority.as_str()), ("127.0.0.1", 8001, "127.0.0.1:8001"));
        assert!(plain.tls.is_none() && plain.authorization.is_none());
        let insecure = parse("{server: \"https://[::1]:6443\", insecure-skip-tls-verify: true}", "{token: t}").unwrap();
        assert_eq!((insecure.host.as_str(), insecure.port), ("::1", 6443));
        assert!(insecure.tls.is_some());
        assert_eq!(insecure.authorization.unwrap(), "Bearer t");
    }

    #[test]
    fn refusals_say_what_is_missing() {
        let check = |cluster: &str, user: &str, expect: &str| {
            let error = parse(cluster, user).err().unwrap_or_default();
            assert!(error.contains(expect), "{error}");
        };
        check("{server: \"https://x\"}", "{}", "no certificate authority");
        check("{server: \"https://x\", certificate-authority: ca.crt}", "{}", "/nowhere/ca.crt");
        check("{server: \"http://x\"}", "{exec: {command: y}}", "not supported");
        check("{server: \"\"}", "{}", "server");
        assert!(Target::parse("current-context: gone", Path::new(".")).is_err());
    }
}
