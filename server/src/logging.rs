//! Logs: lines on standard error, quiet unless asked. Invariant: no token, key or body is ever logged.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, fmt};

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `verbosity` is that of `-v`: 0 warnings, 1 and 2 information, 4 debugging, 6 everything. The variable
/// `TRIUNE_LOG` refines it (`triune_store=debug`).
pub fn start(format: Format, verbosity: i64) {
    let level = match verbosity {
        i64::MIN..=0 => LevelFilter::WARN,
        1..=3 => LevelFilter::INFO,
        4..=5 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder().with_default_directive(level.into()).with_env_var("TRIUNE_LOG").from_env_lossy();
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // A second start in one process (tests) keeps the first.
    let _ = match format {
        Format::Text => builder.with_ansi(terminal).with_target(false).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}
