//! Probes: named lines that are reached rarely, so that a simulation that never gets there says so.

/// Target of probes' events.
pub const TARGET: &str = "triune::probe";

/// What [`probe!`](crate::probe!) expands to.
#[doc(hidden)]
pub use tracing::trace;

/// Says that a rare line was reached. An event at trace level whose field `probe` is the name: a simulation counts them,
/// and where nobody listens it costs a load and a branch.
#[macro_export]
macro_rules! probe {
    ($name:literal) => {
        $crate::probe::trace!(target: "triune::probe", probe = $name)
    };
}
