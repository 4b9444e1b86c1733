//! When the process ends: a signal, or the end of the process that started it.
//!
//! A test run that is killed must not leave servers behind, so under the names that test frameworks start
//! (`kube-apiserver`, `etcd`) the process looks once a second whether its parent is still the same. Linux's parent-death
//! signal is not used: it fires when the parent's *thread* ends, which Go programs do at will.

use std::{os::unix::process::parent_id, time::Duration};

use clap::{Arg, ArgAction, ArgMatches};
use tokio::signal::unix::{SignalKind, signal};

const FLAG: &str = "die-with-parent";

/// `--die-with-parent`.
pub fn argument() -> Arg {
    Arg::new(FLAG)
        .long(FLAG)
        .help("End when the process that started this one has ended [default: only for test runs]")
        .help_heading("Triune")
        .value_name("BOOL")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(clap::value_parser!(bool))
        .action(ArgAction::Set)
}

/// Whether the flag, or without it `default`, asks for it.
pub fn dies_with_parent(matches: &ArgMatches, default: bool) -> bool {
    matches.try_get_one::<bool>(FLAG).ok().flatten().copied().unwrap_or(default)
}

/// Completes on SIGTERM or SIGINT, or when the parent has ended if that is asked for. SIGHUP is ignored from here on.
pub async fn until_asked_to_stop(with_parent: bool) {
    // If a handler cannot be installed the signal ends the process at once, which is what it is for.
    let (Ok(mut terminate), Ok(mut interrupt), _hangup) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = parent_ends(), if with_parent => {}
    }
}

async fn parent_ends() {
    let parent = parent_id();
    // Started by init: there is no parent to outlive.
    if parent == 1 {
        return std::future::pending().await;
    }
    while parent_id() == parent {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
