//! What the black-box tests share: a daemon in a scratch folder, and a small HTTP client with its certificates.
//!
//! A test only ever ends processes that it started.

#![allow(dead_code, missing_docs)]

pub mod client;

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// A start that takes longer is a failure.
const START_TIME_MAX: Duration = Duration::from_secs(30);

/// A running daemon. Dropping it kills it.
pub struct Daemon {
    child: Child,
    pub data_dir: PathBuf,
    pub address: SocketAddr,
}

impl Daemon {
    /// Starts `triune serve` in `data_dir` with further arguments and waits until it says that it is ready.
    pub fn start(data_dir: &Path, arguments: &[&str]) -> Daemon {
        Daemon::try_start(data_dir, arguments, START_TIME_MAX).unwrap_or_else(|| {
            panic!("the daemon did not become ready; its log:\n{}", log(data_dir));
        })
    }

    /// Gives up, and kills it, after `patience`.
    pub fn try_start(data_dir: &Path, arguments: &[&str], patience: Duration) -> Option<Daemon> {
        std::fs::create_dir_all(data_dir).expect("a data folder");
        let stderr = File::options().create(true).append(true).open(data_dir.join("stderr.log")).expect("a log file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_triune"))
            .args(["serve", "--secure-port=0", "--die-with-parent", "--data-dir"])
            .arg(data_dir)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the daemon starts");
        let (said, ready) = mpsc::channel();
        let stdout = child.stdout.take().expect("it is piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = line.split("https://").nth(1).and_then(|rest| rest.split_whitespace().next()) {
                    // The receiver is gone once it has the first one.
                    let _ = said.send(address.trim_end_matches('/').parse::<SocketAddr>());
                }
            }
        });
        match ready.recv_timeout(patience) {
            Ok(Ok(address)) => Some(Daemon { child, data_dir: data_dir.to_owned(), address }),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                None
            }
        }
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM: gives the exit code and how long it took.
    pub fn terminate(mut self) -> (Option<i32>, Duration) {
        let asked = Instant::now();
        let status = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill is there");
        assert!(status.success());
        let code = self.child.wait().expect("it ends").code();
        (code, asked.elapsed())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory, in MiB.
    pub fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data_dir.join("admin.kubeconfig")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the daemon logged.
pub fn log(data_dir: &Path) -> String {
    std::fs::read_to_string(data_dir.join("stderr.log")).unwrap_or_default()
}

/// Numbers that follow from a seed: xorshift, good enough to choose by.
pub struct Dice(u64);

impl Dice {
    /// From `TRIUNE_SEED`, else from the time; printed, so that a failure can be had again.
    pub fn from_environment() -> Dice {
        let fallback = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |t| t.as_secs());
        let seed = std::env::var("TRIUNE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(fallback);
        println!("seed {seed} (again with TRIUNE_SEED={seed})");
        Dice::new(seed)
    }

    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}
