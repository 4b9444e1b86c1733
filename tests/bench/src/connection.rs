//! HTTP to the target: HTTP/1.1 with one request at a time, HTTP/2 with many streams.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{Error, kubeconfig::Target};

/// As client-go asks for it: one slow stream must not stop the others of its connection.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 30;
const JSON: &str = "application/json";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A request before it knows its connection.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// GET, POST, ...
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    /// `Content-Type`, where there is a body.
    pub(crate) content_type: &'static str,
    /// `Accept`.
    pub(crate) accept: &'static str,
    /// May be empty.
    pub(crate) body: Bytes,
}

impl Call {
    /// A GET.
    pub(crate) fn get(path: impl Into<String>) -> Call {
        Call { method: Method::GET, path: path.into(), content_type: "", accept: JSON, body: Bytes::new() }
    }
    /// Any method with a JSON body.
    pub(crate) fn json(method: Method, path: impl Into<String>, body: impl Into<Bytes>) -> Call {
        Call { method, path: path.into(), content_type: JSON, accept: JSON, body: body.into() }
    }
    /// The same request with its answer in this form.
    pub(crate) fn accepting(self, accept: &'static str) -> Call {
        Call { accept, ..self }
    }
}

/// What a connection adds to every request.
#[derive(Clone)]
struct Headers {
    host: HeaderValue,
    authorization: Option<HeaderValue>,
}

/// An HTTP/1.1 connection, kept open.
pub(crate) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    headers: Headers,
}

/// An HTTP/2 connection. Clones share it.
#[derive(Clone)]
pub(crate) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    authority: String,
    headers: Headers,
}

/// What the server offered when HTTP/2 was asked for.
pub(crate) enum Either {
    /// Many streams.
    Http2(Http2),
    /// One request at a time.
    Http1(Http1),
}

impl Headers {
    fn of(target: &Target) -> Result<Headers, Error> {
        let host = HeaderValue::from_str(&target.authority)?;
        Ok(Headers { host, authorization: target.authorization.clone() })
    }

    fn request(&self, call: Call, uri: http::Uri) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(call.body));
        *request.method_mut() = call.method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static(call.accept));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("triune-bench"));
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        if !call.content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(call.content_type));
        }
        request
    }
}

async fn tcp(target: &Target) -> Result<TcpStream, Error> {
    let connecting = TcpStream::connect((target.host.as_str(), target.port));
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| "connecting takes too long")?;
    let stream = stream.map_err(|error| format!("{}:{}: {error}", target.host, target.port))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Http1 {
    /// Connects.
    pub(crate) async fn connect(target: &Target) -> Result<Http1, Error> {
        let stream = tcp(target).await?;
        let sender = match &target.tls {
            None => Http1::handshake(stream).await?,
            Some(tls) => {
                let name: ServerName<'static> = tls.server_name.clone();
                Http1::handshake(TlsConnector::from(tls.http1.clone()).connect(name, stream).await?).await?
            }
        };
        Ok(Http1 { sender, headers: Headers::of(target)? })
    }

    async fn handshake<S>(stream: S) -> Result<http1::SendRequest<Full<Bytes>>, Error>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its end is seen by the next request.
        tokio::spawn(async { drop(connection.await) });
        Ok(sender)
    }

    /// Sends a request; the body is still to be read, and must be before the next request.
    pub(crate) async fn send(&mut self, call: Call) -> Result<Response<Incoming>, Error> {
        let uri = call.path.parse()?;
        let mut request = self.headers.request(call, uri);
        request.headers_mut().insert(header::HOST, self.headers.host.clone());
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    /// Sends a request and reads the whole answer; an answer that is no success is an error.
    pub(crate) async fn call(&mut self, call: Call) -> Result<Bytes, Error> {
        let what = format!("{} {}", call.method, call.path);
        let response = self.send(call).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let start: String = String::from_utf8_lossy(&body).chars().take(400).collect();
        Err(format!("{what}: {status}: {start}").into())
    }
}

impl Http2 {
    /// Sends a request on a stream of its own.
    pub(crate) async fn send(&mut self, call: Call) -> Result<Response<Incoming>, Error> {
        let uri = format!("https://{}{}", self.authority, call.path).parse()?;
        let request = self.headers.request(call, uri);
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}

impl Either {
    /// Connects; HTTP/2 where the server speaks it.
    pub(crate) async fn connect(target: &Target) -> Result<Either, Error> {
        let Some(tls) = &target.tls else { return Ok(Either::Http1(Http1::connect(target).await?)) };
        let stream = tcp(target).await?;
        let stream = TlsConnector::from(tls.http2.clone()).connect(tls.server_name.clone(), stream).await?;
        let headers = Headers::of(target)?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Ok(Either::Http1(Http1 { sender: Http1::handshake(stream).await?, headers }));
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(async { drop(connection.await) });
        Ok(Either::Http2(Http2 { sender, authority: target.authority.clone(), headers }))
    }
}
