//! Who is at the other end of a connection: what the handshake has proved.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use crate::{context::UserInfo, signal::Signal};

/// What the two ends agreed to speak (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Nothing was agreed: the first bytes tell.
    #[default]
    Unknown,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// The subject of a client certificate that was verified against the client CA.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientCertificate {
    /// Common name: the user's name.
    pub common_name: String,
    /// Organisations: the user's groups.
    pub organisations: Vec<String>,
    /// The attribute 1.3.6.1.4.1.57683.2, if there is one: the user's UID.
    pub uid: String,
    /// SHA-256 of the certificate in DER, in lower-case hexadecimal.
    pub fingerprint: String,
}

/// One end of a connection.
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// What is spoken.
    pub protocol: Protocol,
    /// The user whom a verified client certificate names; made once for all requests of the connection.
    pub certificate_user: Option<Arc<UserInfo>>,
    /// Why a client certificate that was shown is not valid: without a good token its requests are refused.
    pub certificate_error: Option<String>,
    /// Common name of a certificate of the front proxies' CA: this peer may say in headers who asks.
    pub front_proxy: Option<String>,
    /// Given when the connection is to take no more requests: it ends when the current ones are answered.
    pub closing: Signal,
}

impl Peer {
    /// A peer without a certificate.
    pub fn new(address: SocketAddr, protocol: Protocol) -> Peer {
        Peer {
            address,
            protocol,
            certificate_user: None,
            certificate_error: None,
            front_proxy: None,
            closing: Signal::new(),
        }
    }

    /// A caller in this process.
    pub fn in_process() -> Peer {
        Peer::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Protocol::Unknown)
    }

    /// With a certificate that was verified against the client CA.
    #[must_use]
    pub fn with_certificate(mut self, certificate: &ClientCertificate) -> Peer {
        self.certificate_user = crate::authentication::certificate_user(certificate).map(Arc::new);
        self
    }
}
