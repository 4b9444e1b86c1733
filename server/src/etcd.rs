//! Called by the name `etcd`: what test frameworks start beside kube-apiserver and ask for its health.
//!
//! Objects are not kept here (the API server has its own store); this only answers `GET /health` and waits. The contract
//! is that of controller-runtime's envtest: `--help` lists `--unsafe-no-fsync` and exits 0, unknown flags are taken.

use std::{net::SocketAddr, time::Duration};

use clap::{Arg, ArgAction, Command};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{failure::Failure, lifetime};

/// Longest request head that is read, in bytes.
const REQUEST_HEAD_BYTES_MAX: usize = 8 * 1024;
/// A client has this long for its request.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// The command line.
pub fn command(name: &'static str) -> Command {
    let text = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).value_name("TEXT").action(ArgAction::Append)
    };
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .help(help)
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .action(ArgAction::Append)
    };
    Command::new(name)
        .about("Stands in for etcd where kube-apiserver is Triune: answers /health and keeps nothing")
        .arg(text("listen-client-urls", "Where to answer, such as http://127.0.0.1:2379"))
        .arg(text("advertise-client-urls", "No effect: nobody needs to find this server"))
        .arg(text("listen-peer-urls", "No effect: there are no peers"))
        .arg(text("data-dir", "No effect: nothing is kept"))
        .arg(switch("unsafe-no-fsync", "No effect: nothing is kept"))
        .arg(Arg::new("rest").num_args(0..).allow_hyphen_values(true).trailing_var_arg(true).hide(true))
        .arg(lifetime::argument())
}

/// Answers until a signal comes.
pub async fn run(matches: &clap::ArgMatches) -> Result<(), Failure> {
    let urls: Vec<&String> = matches.get_many("listen-client-urls").map(Iterator::collect).unwrap_or_default();
    let addresses: Vec<SocketAddr> = match urls.as_slice() {
        [] => vec![SocketAddr::from(([127, 0, 0, 1], 2379))],
        urls => urls.iter().flat_map(|text| text.split(',')).map(address).collect::<Result<_, _>>()?,
    };
    for address in addresses {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| Failure::run(format!("cannot listen on {address}: {error}; choose another port")))?;
        tokio::spawn(answer_all(listener));
    }
    lifetime::until_asked_to_stop(lifetime::dies_with_parent(matches, true)).await;
    Ok(())
}

/// The address in `http://IP:PORT`.
fn address(url: &str) -> Result<SocketAddr, Failure> {
    let host = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    let host = host.replace("localhost", "127.0.0.1");
    let expected = "expected http://IP:PORT, such as http://127.0.0.1:2379";
    host.parse().map_err(|_| Failure::usage(format!("invalid value {url:?} for --listen-client-urls: {expected}")))
}

async fn answer_all(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(tokio::time::timeout(REQUEST_TIME, answer(stream)));
            }
            // Out of file descriptors, say: others may free some.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Answers one request and closes.
async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < REQUEST_HEAD_BYTES_MAX {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let (status, body) = match line.split(|byte| *byte == b' ').nth(1) {
        Some(b"/health" | b"/livez" | b"/readyz") => ("200 OK", r#"{"health":"true","reason":""}"#),
        Some(b"/version") => ("200 OK", r#"{"etcdserver":"3.7.0","etcdcluster":"3.7.0"}"#),
        _ => ("404 Not Found", ""),
    };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(request: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(answer_all(listener));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn health_is_answered() {
        assert_eq!(ask("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await, "HTTP/1.1 200 OK");
        assert_eq!(ask("GET /v3/kv HTTP/1.1\r\nhost: x\r\n\r\n").await, "HTTP/1.1 404 Not Found");
        assert_eq!(ask(&"garbage".repeat(2000)).await, "HTTP/1.1 404 Not Found");
    }

    #[test]
    fn the_command_line_is_the_one_of_test_frameworks() {
        let line = "etcd --advertise-client-urls=http://127.0.0.1:1 --data-dir=/tmp/x --listen-client-urls=http://127.0.0.1:1 \
                    --listen-peer-urls=http://127.0.0.1:2 --unsafe-no-fsync=true";
        let matches = command("etcd").try_get_matches_from(line.split_whitespace()).expect("accepted");
        assert_eq!(matches.get_one::<String>("listen-client-urls").map(String::as_str), Some("http://127.0.0.1:1"));
        let help = command("etcd").render_long_help().to_string();
        assert!(help.lines().any(|line| line.trim_start().starts_with("--unsafe-no-fsync")), "{help}");
        assert!(address("unix:///x").is_err());
        assert_eq!(address("http://localhost:2379/").map(|found| found.port()).ok(), Some(2379));
    }
}
