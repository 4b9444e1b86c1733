//! The steps of a server's life, as signals (apiserver `pkg/server/lifecycle_signals.go`).
//!
//! The order of shutdown, which `generic_server` keeps: shutdown initiated (readyz fails) < delay over, pre-shutdown hooks
//! ended <= no new requests accepted < requests in flight drained < storage closed.

use crate::signal::Signal;

/// The steps that others wait for. Clones share the signals.
#[derive(Clone, Default)]
pub struct LifecycleSignals {
    /// Every path that the servers will serve is installed: from now on an unknown path is a 404.
    pub mux_and_discovery_complete: Signal,
    /// readyz has succeeded once.
    pub has_been_ready: Signal,
    /// Somebody asked the server to end.
    pub shutdown_initiated: Signal,
    /// Load balancers have had their time to notice.
    pub after_shutdown_delay: Signal,
    /// Pre-shutdown hooks have ended.
    pub pre_shutdown_hooks_stopped: Signal,
    /// From now on requests are refused.
    pub not_accepting_new_requests: Signal,
    /// All requests that do not last have been answered.
    pub in_flight_drained: Signal,
    /// Open watches end.
    pub end_of_watches: Signal,
}
