//! How long a server takes from exec to the first `/readyz` that answers 200.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::process::{Child, Command};

use crate::{
    Error,
    connection::{Call, Http1},
    figure::{Figure, rounded},
    kubeconfig::Target,
};

const READY_TIMEOUT: Duration = Duration::from_secs(120);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(1);

/// Starts the server so often; returns the figure and the last one, which goes on running.
pub(crate) async fn measure(command: &str, kubeconfig: &Path, runs: u32) -> Result<(Figure, Server), Error> {
    let mut times_ms = Vec::new();
    let mut running: Option<Server> = None;
    for _ in 0..runs {
        if let Some(server) = running.take() {
            server.stop().await?;
        }
        let begin = Instant::now();
        let mut server = Server::start(command)?;
        server.until_ready(kubeconfig).await?;
        times_ms.push(rounded(begin.elapsed().as_secs_f64() * 1000.0, 1));
        running = Some(server);
    }
    let server = running.ok_or("the server was not started")?;
    let mut sorted = times_ms.clone();
    sorted.sort_by(f64::total_cmp);
    let figure = Figure::named("start")
        .with("ready_ms_min", sorted[0])
        .with("ready_ms_median", sorted[sorted.len() / 2])
        .with("ready_ms", times_ms);
    Ok((figure, server))
}

/// A server that was started here. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    /// Its process.
    pub(crate) pid: u32,
}

impl Server {
    fn start(command: &str) -> Result<Server, Error> {
        // The shell becomes the server, so that its process is the one measured and ended.
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("exec {command}")).stdin(Stdio::null()).stdout(Stdio::null());
        let child = shell.kill_on_drop(true).spawn().map_err(|error| format!("{command}: {error}"))?;
        let pid = child.id().ok_or("the server has ended at once")?;
        Ok(Server { child, pid })
    }

    /// The kubeconfig may be written by the server itself, so it is read again until the server answers.
    async fn until_ready(&mut self, kubeconfig: &Path) -> Result<(), Error> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let why = match is_ready(kubeconfig).await {
                Ok(true) => return Ok(()),
                Ok(false) => "/readyz does not answer 200".to_string(),
                Err(error) => error.to_string(),
            };
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the server has ended before it was ready ({status}): {why}").into());
            }
            if Instant::now() > deadline {
                return Err(format!("the server is not ready after {} s: {why}", READY_TIMEOUT.as_secs()).into());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks it to end (SIGTERM) and waits.
    pub(crate) async fn stop(mut self) -> Result<(), Error> {
        Command::new("kill").arg(self.pid.to_string()).status().await?;
        match tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(status) => {
                status?;
                Ok(())
            }
            Err(_) => {
                self.child.kill().await?;
                Err(format!("the server did not end within {} s of SIGTERM", STOP_TIMEOUT.as_secs()).into())
            }
        }
    }
}

async fn is_ready(kubeconfig: &Path) -> Result<bool, Error> {
    let target = Target::load(kubeconfig)?;
    let mut connection = Http1::connect(&target).await?;
    let response = connection.send(Call::get("/readyz")).await?;
    let ready = response.status() == StatusCode::OK;
    response.into_body().collect().await?;
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_server::TestServer;

    /// The server that answers is another one: what counts is that processes are started, awaited and ended.
    #[tokio::test(flavor = "multi_thread")]
    async fn servers_are_started_and_ended() {
        let answering = TestServer::start(None).await;
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, answering.kubeconfig()).unwrap();
        let (figure, server) = measure("sleep 100", &kubeconfig, 2).await.unwrap();
        assert_eq!(figure.more["ready_ms"].as_array().unwrap().len(), 2);
        let proc = format!("/proc/{}", server.pid);
        assert!(Path::new(&proc).exists());
        server.stop().await.unwrap();
        assert!(!Path::new(&proc).exists());
        let error = measure("false", &folder.path().join("gone"), 1).await.err().unwrap().to_string();
        assert!(error.contains("ended before it was ready"), "{error}");
    }
}
