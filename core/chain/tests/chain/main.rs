//! The chain as clients see it: over a loopback socket, with plain text in the place of TLS.

mod life;
mod support;
mod whole;
