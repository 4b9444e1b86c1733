//! What the simulated network promises, one promise a test.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use triune_env::{Connection, Env};
use triune_sim::world::{Crash, World, simulate};

const SERVER: [u8; 4] = [10, 0, 0, 1];
const CLIENT: [u8; 4] = [10, 0, 0, 2];

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((SERVER, port))
}

/// Runs `client` on a node of its own beside a server that, at port 80, answers with the number of bytes that came before
/// the end of the stream, and at port 81 accepts and does nothing more. Gives what the client gives.
fn check<T: Send + 'static, F>(client: impl FnOnce(World, Env) -> F + Send + 'static) -> T
where
    F: Future<Output = T> + Send + 'static,
{
    simulate(7, |world| async move {
        world.add_node("server", SERVER, |process| async move {
            let env = process.env.clone();
            let mut counting = env.network.listen(address(80)).await.expect("port 80");
            let mut silent = env.network.listen(address(81)).await.expect("port 81");
            let inner = env.clone();
            env.spawn_detached("counting", async move {
                loop {
                    let Ok((mut stream, _)) = counting.accept().await else { return };
                    inner.spawn_detached("count", async move {
                        let mut bytes = Vec::new();
                        if stream.read_to_end(&mut bytes).await.is_ok() {
                            let _ = stream.write_all(format!("{} bytes", bytes.len()).as_bytes()).await;
                        }
                    });
                }
            });
            let mut kept = Vec::new();
            while let Ok((stream, _)) = silent.accept().await {
                kept.push(stream);
            }
        });
        let result = Arc::new(Mutex::new(None));
        let (out, client) = (result.clone(), Mutex::new(Some(client)));
        let inner = world.clone();
        world.add_node("client", CLIENT, move |process| {
            let client = client.lock().unwrap().take();
            let (out, world) = (out.clone(), inner.clone());
            async move {
                process.env.sleep(Duration::from_millis(5)).await;
                let Some(client) = client else { return };
                let value = client(world, process.env).await;
                *out.lock().unwrap() = Some(value);
            }
        });
        loop {
            world.sleep(Duration::from_millis(10)).await;
            if let Some(value) = result.lock().unwrap().take() {
                return value;
            }
        }
    })
}

async fn connect(env: &Env, port: u16) -> io::Result<Box<dyn Connection>> {
    env.network.connect(address(port)).await
}

/// How long something takes, to the millisecond, and what it gives.
async fn timed<T>(env: &Env, future: impl Future<Output = T>) -> (u128, T) {
    let begin = env.clock.now();
    let value = future.await;
    ((env.clock.now() - begin).as_millis(), value)
}

#[test]
fn one_direction_can_end_while_the_other_goes_on() {
    let answer = check(|_, env| async move {
        let mut stream = connect(&env, 80).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(stream.write_all(b"more").await.is_err(), "nothing can be written after the end");
        answer
    });
    assert_eq!(answer, "5 bytes");
}

#[test]
fn ten_thousand_small_writes_take_the_time_of_one() {
    let (taken_ms, answer) = check(|_, env| async move {
        let mut stream = connect(&env, 80).await.unwrap();
        let inner = env.clone();
        timed(&inner, async move {
            for _ in 0..10_000 {
                stream.write_all(b"x").await.unwrap();
                stream.flush().await.unwrap();
            }
            stream.shutdown().await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        })
        .await
    });
    assert_eq!(answer, "10000 bytes");
    assert!(taken_ms < 20, "took {taken_ms} ms");
}

#[test]
fn where_nobody_listens_is_refused_at_once() {
    let (taken_ms, refused) = check(|_, env| async move {
        let inner = env.clone();
        timed(&inner, async move { connect(&env, 99).await.err().map(|error| error.kind()) }).await
    });
    assert_eq!(refused, Some(io::ErrorKind::ConnectionRefused));
    assert!(taken_ms < 20, "took {taken_ms} ms");
}

#[test]
fn a_writer_waits_when_256_kib_are_unread() {
    let written = check(|_, env| async move {
        let mut stream = connect(&env, 81).await.unwrap();
        let mut written = 0;
        while let Ok(Ok(count)) = env.timeout(Duration::from_secs(30), stream.write(&[0; 10_000])).await {
            written += count;
        }
        written
    });
    assert_eq!(written, 256 * 1024);
}

#[test]
fn connecting_across_a_cut_times_out_in_about_a_minute() {
    for (to_server, to_client) in [(true, false), (false, true)] {
        let (taken_ms, kind) = check(move |world, env| async move {
            world.cut("client", "server", to_server);
            world.cut("server", "client", to_client);
            let inner = env.clone();
            timed(&inner, async move { connect(&env, 80).await.err().map(|error| error.kind()) }).await
        });
        assert_eq!(kind, Some(io::ErrorKind::TimedOut));
        assert!((30_000..90_000).contains(&taken_ms), "took {taken_ms} ms");
    }
}

#[test]
fn bytes_wait_for_a_cut_to_be_mended_and_nothing_is_lost() {
    let answer = check(|world, env| async move {
        let mut stream = connect(&env, 80).await.unwrap();
        world.cut("client", "server", true);
        stream.write_all(b"over the cut").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        let waited = env.timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await;
        assert!(waited.is_err(), "the end of a stream crossed a cut");
        world.cut("client", "server", false);
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    });
    assert_eq!(answer, "12 bytes");
}

#[test]
fn a_stream_breaks_when_a_cut_lasts_longer_than_a_minute() {
    let (taken_ms, kind) = check(|world, env| async move {
        let mut stream = connect(&env, 81).await.unwrap();
        world.cut("client", "server", true);
        stream.write_all(b"x").await.unwrap();
        let inner = env.clone();
        timed(&inner, async move { stream.read(&mut [0]).await.map_err(|error| error.kind()) }).await
    });
    assert_eq!(kind, Err(io::ErrorKind::TimedOut));
    assert!((60_000..70_000).contains(&taken_ms), "took {taken_ms} ms");
}

#[test]
fn a_crashed_process_resets_its_streams_and_a_crashed_host_says_nothing() {
    let seen = |crash| {
        check(move |world, env| async move {
            let mut stream = connect(&env, 81).await.unwrap();
            world.crash("server", crash);
            let read = env.timeout(Duration::from_secs(20), stream.read(&mut [0])).await;
            read.map(|read| read.map_err(|error| error.kind())).ok()
        })
    };
    assert_eq!(seen(Crash::Process), Some(Err(io::ErrorKind::ConnectionReset)));
    assert_eq!(seen(Crash::Host), None);
}

#[test]
fn a_reset_does_not_cross_a_cut_before_it_is_mended() {
    let (during, after) = check(|world, env| async move {
        let mut stream = connect(&env, 81).await.unwrap();
        world.cut("server", "client", true);
        world.crash("server", Crash::Process);
        let during = env.timeout(Duration::from_secs(10), stream.read(&mut [0])).await.is_ok();
        world.cut("server", "client", false);
        let after = env.timeout(Duration::from_secs(10), stream.read(&mut [0])).await;
        (during, after.map(|read| read.map_err(|error| error.kind())).ok())
    });
    assert!(!during);
    assert_eq!(after, Some(Err(io::ErrorKind::ConnectionReset)));
}

#[test]
fn a_restarted_node_listens_again_and_a_paused_one_keeps_its_peers_waiting() {
    check(|world, env| async move {
        world.restart("server");
        env.sleep(Duration::from_millis(5)).await;
        let mut stream = connect(&env, 80).await.unwrap();
        world.pause("server");
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        assert!(env.timeout(Duration::from_secs(5), stream.read_to_string(&mut answer)).await.is_err());
        world.resume("server");
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "0 bytes");
    });
}

#[test]
fn loss_delays_and_does_not_lose() {
    let (taken_ms, answer) = check(|world, env| async move {
        world.network.set_loss(500);
        let inner = env.clone();
        timed(&inner, async move {
            let mut stream = connect(&env, 80).await.unwrap();
            for _ in 0..50 {
                stream.write_all(b"0123456789").await.unwrap();
            }
            stream.shutdown().await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        })
        .await
    });
    assert_eq!(answer, "500 bytes");
    assert!(taken_ms > 200, "took {taken_ms} ms");
}
