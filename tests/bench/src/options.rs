//! The command line.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::Parser;

/// Measures a Kubernetes API server.
///
/// Prints one line of JSON for each figure. Writes to the namespaces `triune-bench` and `triune-bench-list`, which it
/// makes and removes.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "triune-bench",
    version,
    after_help = "Figures, in order: start, idle, create, get, update, patch, patch-strategic, apply, create-protobuf, \
        get-protobuf (each with 1, 16 and 64 clients), list, pages, list-protobuf, watch, watch-protobuf (100 and 1000 \
        watchers), after.\n\nExamples:\n  triune-bench --kubeconfig ./data/admin.kubeconfig --pids \
        triune=$(pidof triune)\n  triune-bench --kubeconfig ~/.kube/config --only get watch/1000 --seconds 10\n  \
        triune-bench --kubeconfig /tmp/d/admin.kubeconfig --start \"triune serve --data-dir /tmp/d\""
)]
pub(crate) struct Options {
    /// File that says where the server is and who asks: its current context is used
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: PathBuf,

    /// Server processes whose CPU time and memory are measured
    #[arg(long, value_name = "NAME=PID", value_delimiter = ',')]
    pub(crate) pids: Vec<NamedPid>,

    /// Figures to take, by name or start of a name: get, create/16, watch
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(crate) only: Vec<String>,

    /// How long each figure is taken
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,

    /// Config maps in the lists
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    pub(crate) list_size: usize,

    /// Writes a second that watchers see
    #[arg(long, value_name = "RATE", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) write_rate: u32,

    /// Starts the server with this command, measures how long it takes to /readyz, and ends it after the last figure
    #[arg(long, value_name = "COMMAND")]
    pub(crate) start: Option<String>,

    /// How often it is started
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) start_runs: u32,

    /// Leaves the namespaces as they are at the end
    #[arg(long)]
    pub(crate) keep: bool,
}

impl Options {
    /// Whether this figure is asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name == only || name.starts_with(&format!("{only}/")))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))?;
    if !(0.1..=3600.0).contains(&seconds) {
        return Err("between 0.1 and 3600 seconds".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A process and what to call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedPid {
    /// As printed.
    pub(crate) name: String,
    /// As in `/proc`.
    pub(crate) pid: u32,
}

impl FromStr for NamedPid {
    type Err = String;
    fn from_str(text: &str) -> Result<NamedPid, String> {
        let (name, pid) = text.split_once('=').unwrap_or(("server", text));
        let pid = pid.trim().parse().map_err(|_| format!("{text:?} is not NAME=PID"))?;
        Ok(NamedPid { name: name.into(), pid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_chosen_by_name() {
        let options = |only: &[&str]| {
            let arguments = ["triune-bench", "--kubeconfig", "x", "--only"].into_iter().chain(only.iter().copied());
            Options::try_parse_from(arguments).unwrap()
        };
        assert!(options(&["get"]).wants("get/16"));
        assert!(options(&["create", "watch/100"]).wants("watch/100"));
        assert!(!options(&["watch/100"]).wants("watch/1000"));
        assert!(!options(&["ge"]).wants("get/16"));
        let all = Options::try_parse_from(["triune-bench", "--kubeconfig", "x", "--pids", "a=1,b=2"]).unwrap();
        assert!(all.wants("anything"));
        assert_eq!(all.pids[1], NamedPid { name: "b".into(), pid: 2 });
        for bad in ["--seconds=0", "--pids=a=b", "--write-rate=0"] {
            assert!(Options::try_parse_from(["triune-bench", "--kubeconfig", "x", bad]).is_err(), "{bad}");
        }
    }
}
