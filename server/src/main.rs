//! The daemon `triune`: the chain of API servers, served by tokio over TLS, on a durable store.
//!
//! In reading order:
//!
//! - [`command`]: the command line, and the names that the binary answers to
//! - [`flags`]: kube-apiserver's flags, each with what becomes of it
//! - [`settings`]: flags and defaults put together
//! - [`run`]: the life of the server, from its files to its end
//! - [`pki`], [`tls`]: own certificates; the handshake
//! - [`authenticate`], [`authorize`]: who asks, and who may
//! - [`lifetime`], [`logging`], [`failure`]: when it ends, what it says, why it cannot
//! - [`etcd`]: the stand-in for etcd that test frameworks start

mod authenticate;
mod authorize;
mod command;
mod etcd;
mod failure;
mod flags;
mod lifetime;
mod logging;
mod pki;
mod run;
mod settings;
mod tls;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    command::main(std::env::args_os().collect())
}
