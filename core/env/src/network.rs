//! The network: listeners and byte streams.

use std::{io, net::SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::BoxFuture;

/// A byte stream in both directions.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// A node's network.
pub trait Network: Send + Sync + 'static {
    /// Starts to listen. Port 0 asks for any free port.
    fn listen(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>>;
    /// Opens a stream to `address`.
    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Connection>>>;
}

/// A listening socket; dropping it closes it.
pub trait Listener: Send {
    /// The next connection and its peer.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>>;
    /// Where it listens (the real port).
    fn local_address(&self) -> SocketAddr;
}
