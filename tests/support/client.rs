//! One HTTP/1.1 connection with TLS.

use std::{path::Path, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1::SendRequest,
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::Daemon;

/// An answer that takes longer is a failure.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Why there is no answer: the write may have happened.
#[derive(Debug)]
pub struct Lost(pub String);

/// A connection as the administrator, or as nobody.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Client {
    pub async fn connect(daemon: &Daemon) -> Result<Client, Lost> {
        Client::over(tls(daemon, true).await?).await
    }

    pub async fn connect_anonymously(daemon: &Daemon) -> Result<Client, Lost> {
        Client::over(tls(daemon, false).await?).await
    }

    async fn over(stream: TlsStream<TcpStream>) -> Result<Client, Lost> {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        tokio::spawn(connection);
        Ok(Client { sender })
    }

    pub async fn send(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, Lost> {
        let text = body.map(ToString::to_string).unwrap_or_default();
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        self.send_raw(method, path, &[("content-type", kind)], text).await
    }

    pub async fn send_raw(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, Lost> {
        let answer = self.open(method, path, headers, body.into());
        let answer = tokio::time::timeout(ANSWER_TIME_MAX, answer).await.map_err(lost)??;
        let status = answer.status().as_u16();
        let bytes = tokio::time::timeout(ANSWER_TIME_MAX, answer.into_body().collect());
        let bytes = bytes.await.map_err(lost)?.map_err(lost)?.to_bytes();
        let text = || Value::from(String::from_utf8_lossy(&bytes).into_owned());
        Ok(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or_else(|_| text()) })
    }

    /// The head of an answer; the body is still to come.
    pub async fn open(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<http::Response<Incoming>, Lost> {
        let mut request = http::Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await.map_err(lost)?;
        self.sender.send_request(request.body(Full::new(body)).map_err(lost)?).await.map_err(lost)
    }
}

/// A TLS connection, with the administrator's certificate or without one.
pub async fn tls(daemon: &Daemon, as_admin: bool) -> Result<TlsStream<TcpStream>, Lost> {
    let config = config(&daemon.data_dir.join("pki"), as_admin);
    let stream = TcpStream::connect(daemon.address).await.map_err(lost)?;
    stream.set_nodelay(true).map_err(lost)?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(lost)
}

fn config(pki: &Path, as_admin: bool) -> rustls::ClientConfig {
    let certificates = |file: &str| -> Vec<CertificateDer<'static>> {
        let found = CertificateDer::pem_file_iter(pki.join(file)).and_then(Iterator::collect);
        found.unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.crt"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("default versions")
        .with_root_certificates(roots);
    if !as_admin {
        return builder.with_no_client_auth();
    }
    let key = PrivateKeyDer::from_pem_file(pki.join("admin.key")).expect("the administrator's key");
    builder.with_client_auth_cert(certificates("admin.crt"), key).expect("the key fits")
}

fn lost(error: impl std::fmt::Display) -> Lost {
    Lost(error.to_string())
}
