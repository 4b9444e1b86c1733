//! The command line: `triune COMMAND`, and the names `kube-apiserver` and `etcd` by which test frameworks call the binary.

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::{
    etcd,
    failure::Failure,
    flags::{
        Given,
        command_line::{self, Show},
        markdown,
    },
    lifetime, logging, run,
    settings::{Role, Settings},
};

/// The level of Kubernetes that is served.
pub const KUBERNETES_VERSION: &str = "v1.37.2";

const SERVE_EXAMPLES: &str = "\
Every flag of kube-apiserver is taken as well: `triune kube-apiserver --help` lists them, docs/flags.md says of each
what becomes of it.

Examples:
  triune serve                                     a durable control plane API on https://127.0.0.1:6443
  triune serve --data-dir /var/lib/triune          kept elsewhere
  triune serve --storage memory --secure-port 0    for a test: nothing is kept, any free port
  kubectl --kubeconfig triune-data/admin.kubeconfig get namespaces";

/// Does what the command line asks for.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let arguments = command_line::with_dashes(arguments);
    let called = arguments.first().and_then(|path| Path::new(path).file_name()).and_then(|name| name.to_str());
    let result = match called {
        Some("kube-apiserver") => parse(kube_apiserver("kube-apiserver"), arguments).and_then(run_kube_apiserver),
        Some("etcd") => parse(etcd::command("etcd"), arguments).and_then(run_etcd),
        _ => parse(triune(), arguments).and_then(run_triune),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Parser(error)) => {
            // Help and version are such "errors" too. A closed pipe is nobody's failure.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
        Err(Stop::Failure(failure)) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Why a command ended before it did anything, or without success.
enum Stop {
    Parser(clap::Error),
    Failure(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failure(failure)
    }
}

fn parse(command: Command, arguments: Vec<OsString>) -> Result<ArgMatches, Stop> {
    command.try_get_matches_from(arguments).map_err(Stop::Parser)
}

fn triune() -> Command {
    Command::new("triune")
        .about("The Kubernetes API server's chain of three, in one small process")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve())
        .subcommand(kube_apiserver("kube-apiserver").about("Be kube-apiserver, with its flags and defaults"))
        .subcommand(etcd::command("etcd").about("Answer health checks where a test framework expects etcd"))
        .subcommand(Command::new("flags").about("Say what becomes of each flag of kube-apiserver").arg(
            Arg::new("markdown").long("markdown").help("As a page of the documentation").action(ArgAction::SetTrue),
        ))
        .subcommand(Command::new("version").about("Print the version"))
}

fn serve() -> Command {
    let own = ["bind-address", "secure-port", "authorization-mode", "token-auth-file", "logging-format", "version"];
    Command::new("serve")
        .about("Serve the Kubernetes API with nothing else installed: own certificates, own store")
        .after_help(SERVE_EXAMPLES)
        .args(own_arguments("triune-data"))
        .arg(text("bind-address", "IP", "Address to listen on [default: 127.0.0.1]"))
        .arg(text("secure-port", "PORT", "Port to listen on; 0 takes a free one [default: 6443]"))
        .arg(text("authorization-mode", "MODE,...", "RBAC, Node, AlwaysAllow or AlwaysDeny [default: RBAC]"))
        .arg(text("token-auth-file", "FILE", "Bearer tokens: lines of TOKEN,USER,UID[,\"GROUP,...\"]"))
        .arg(text("logging-format", "FORMAT", "Form of log lines: text or json [default: text]").alias("log-format"))
        .args(command_line::arguments(Show::None, &own))
}

fn kube_apiserver(name: &'static str) -> Command {
    Command::new(name)
        .about("Serve the Kubernetes API, with the flags and defaults of kube-apiserver")
        .after_help("docs/flags.md says of each flag what becomes of it, as does `triune flags`.")
        .args(own_arguments("none, objects are kept in memory"))
        .args(command_line::arguments(Show::All, &[]))
}

fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help).action(ArgAction::Append).allow_hyphen_values(true)
}

/// What Triune takes besides kube-apiserver's flags.
fn own_arguments(data_dir: &str) -> Vec<Arg> {
    vec![
        Arg::new("data-dir")
            .long("data-dir")
            .value_name("DIR")
            .help(format!("Folder of objects, certificates and admin.kubeconfig [default: {data_dir}]"))
            .help_heading("Triune")
            .value_parser(value_parser!(std::path::PathBuf)),
        Arg::new("storage")
            .long("storage")
            .value_name("KIND")
            .help("embedded: durable, in the data folder; memory: gone with the process [default: embedded]")
            .help_heading("Triune")
            .value_parser(["embedded", "memory"]),
        Arg::new("v")
            .short('v')
            .long("v")
            .value_name("LEVEL")
            .help("Log more: 2 what happens, 4 for debugging, 6 everything")
            .help_heading("Triune")
            .num_args(0..=1)
            .default_missing_value("2")
            .action(ArgAction::Append)
            .value_parser(value_parser!(i64)),
        lifetime::argument(),
    ]
}

fn run_triune(matches: ArgMatches) -> Result<(), Stop> {
    match matches.subcommand() {
        Some(("serve", matches)) => run_server(matches, Role::Serve),
        Some(("kube-apiserver", matches)) => run_kube_apiserver(matches.clone()),
        Some(("etcd", matches)) => run_etcd(matches.clone()),
        Some(("flags", matches)) if matches.get_flag("markdown") => print(&markdown::page()),
        Some(("flags", _)) => print(&markdown::plain()),
        _ => print(&format!("triune {} (Kubernetes {KUBERNETES_VERSION})\n", env!("CARGO_PKG_VERSION"))),
    }
}

fn run_kube_apiserver(matches: ArgMatches) -> Result<(), Stop> {
    if matches.get_flag("version") {
        return print(&format!("Kubernetes {KUBERNETES_VERSION}\n"));
    }
    run_server(&matches, Role::KubeApiserver)
}

fn run_server(matches: &ArgMatches, role: Role) -> Result<(), Stop> {
    let given = Given::read(matches)?;
    let without_effect = given.without_effect()?;
    let settings = Settings::new(role, matches, &given)?;
    logging::start(settings.log_format, matches.get_many::<i64>("v").and_then(Iterator::last).copied().unwrap_or(0));
    for sentence in without_effect {
        tracing::warn!("{sentence}");
    }
    // Whatever is written from here on, its owner alone can read, the store's own files too.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    Ok(runtime(run::worker_threads())?.block_on(run::run(settings))?)
}

fn run_etcd(matches: ArgMatches) -> Result<(), Stop> {
    Ok(runtime(1)?.block_on(etcd::run(&matches))?)
}

fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("triune")
        .enable_all()
        .build()
        .map_err(|error| Failure::run(format!("cannot start threads: {error}")))
}

fn print(text: &str) -> Result<(), Stop> {
    use std::io::Write;
    // A reader that has seen enough (`| head`) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_consistent() {
        triune().debug_assert();
        kube_apiserver("kube-apiserver").debug_assert();
    }

    #[test]
    fn help_is_what_test_frameworks_look_for() {
        let help = kube_apiserver("kube-apiserver").render_long_help().to_string();
        assert!(!help.contains("--insecure-port"), "envtest would pass it");
        assert!(help.contains("--secure-port"));
        let help = serve().render_long_help().to_string();
        assert!(help.lines().count() < 60, "the newcomer's help fits a screen:\n{help}");
    }

    #[test]
    fn the_command_line_of_envtest_is_taken() {
        let line = "kube-apiserver --allow-privileged=true --authorization-mode=RBAC --bind-address=127.0.0.1 \
                    --cert-dir=/tmp/c --client-ca-file=/tmp/c/ca.crt --disable-admission-plugins=ServiceAccount \
                    --etcd-servers=http://127.0.0.1:1 --secure-port=2 --service-account-issuer=https://127.0.0.1:2/ \
                    --service-account-key-file=/tmp/c/sa.crt --service-account-signing-key-file=/tmp/c/sa.key \
                    --service-cluster-ip-range=10.0.0.0/24 -v 4";
        let matches = kube_apiserver("kube-apiserver").try_get_matches_from(line.split_whitespace()).expect("accepted");
        let given = Given::read(&matches).expect("well-formed");
        assert!(given.without_effect().is_ok());
        assert_eq!(given.text("secure-port"), Some("2"));
        assert_eq!(matches.get_many::<i64>("v").and_then(Iterator::last), Some(&4));
    }
}
