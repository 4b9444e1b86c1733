//! The tokio platform: the doors of [`Env`] as a real process has them.
//!
//! The daemon runs on it, and so do tests of core that are no simulations. Everything here needs a tokio runtime around
//! the call. Time is tokio's, so a test that pauses tokio's clock pauses [`Env`]'s monotonic clock too.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::net::{TcpListener, TcpStream};
use triune_env::{BoxFuture, Clock, Connection, Entropy, Env, Listener, Network, TaskHandle, Tasks};

/// The environment of this process.
pub fn env() -> Env {
    Env {
        clock: Arc::new(TokioClock),
        entropy: Arc::new(SystemEntropy),
        tasks: Arc::new(TokioTasks),
        network: Arc::new(TokioNetwork),
    }
}

struct TokioClock;

impl Clock for TokioClock {
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until(deadline.into()))
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        // Without randomness there are no secrets and no unique names: nothing that could go on would be right.
        // Input cannot cause this; a kernel without getrandom can.
        getrandom::fill(buffer).unwrap_or_else(|error| panic!("the operating system gives no random bytes: {error}"));
    }
}

struct TokioTasks;

impl Tasks for TokioTasks {
    fn spawn(&self, _name: &'static str, future: BoxFuture<'static, ()>) -> TaskHandle {
        let abort = tokio::spawn(future).abort_handle();
        TaskHandle::new(move || abort.abort())
    }
}

struct TokioNetwork;

impl Network for TokioNetwork {
    fn listen(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok(Box::new(TokioListener { listener, address }) as Box<dyn Listener>)
        })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Connection>)
        })
    }
}

struct TokioListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener for TokioListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Connection>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            // A peer that is gone already shows when its stream is read: not a failure of the listener.
            let _ = stream.set_nodelay(true);
            Ok((Box::new(stream) as Box<dyn Connection>, peer))
        })
    }

    fn local_address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_cross_the_network_both_ways() {
        let env = env();
        let mut listener = env.network.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_address();
        assert_ne!(address.port(), 0);
        let (client, server) = tokio::join!(env.network.connect(address), listener.accept());
        let (mut client, (mut server, _)) = (client.unwrap(), server.unwrap());
        client.write_all(b"ping").await.unwrap();
        let mut buffer = [0; 4];
        server.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"ping");
        server.write_all(b"pong").await.unwrap();
        client.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"pong");
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_follows_a_paused_runtime() {
        let env = env();
        let before = env.clock.now();
        env.sleep(Duration::from_secs(3600)).await;
        assert!(env.clock.now() - before >= Duration::from_secs(3600));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_handle_ends_its_task_and_a_detached_one_does_not() {
        let env = env();
        let (owned, detached) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let later = |flag: &Arc<AtomicBool>| {
            let (flag, env) = (flag.clone(), env.clone());
            async move {
                env.sleep(Duration::from_secs(1)).await;
                flag.store(true, Ordering::SeqCst);
            }
        };
        drop(env.spawn("owned", later(&owned)));
        env.spawn_detached("detached", later(&detached));
        env.sleep(Duration::from_secs(2)).await;
        assert!(!owned.load(Ordering::SeqCst));
        assert!(detached.load(Ordering::SeqCst));
    }

    #[test]
    fn random_bits_differ() {
        let env = env();
        assert_ne!(env.entropy.u128(), env.entropy.u128());
        let uuid = env.entropy.uuid();
        assert_eq!((uuid.len(), uuid.as_bytes()[14]), (36, b'4'), "{uuid}");
    }
}
