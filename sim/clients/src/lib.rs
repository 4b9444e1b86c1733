//! Simulated users of the API: an HTTP client, informers and workloads drawn from a seed.
//!
//! They know the API as users do, over connections of [`triune_env::Env`]; everything that they ask and are told goes into
//! a [`triune_history::Recorder`]. Put on a node with:
//!
//! ```ignore
//! let theme = Theme::draw(&mut Random::new(seed), 60_000);
//! for (index, plan) in ClientPlan::draw_all(seed, &theme, 6).into_iter().enumerate() {
//!     // On the client's node; `plan` is serde data, which replays and shrinking edit.
//!     run_client(env, recorder, &format!("client-{index}"), servers, plan, stop).await;
//! }
//! ```
//!
//! In reading order:
//!
//! - [`random`]: numbers from a seed
//! - [`http`]: connections to one server; what is known of a request that failed
//! - [`kind`]: the kinds in use, small valid objects of them
//! - [`request`]: requests as data, and how the history names them
//! - [`api`]: requests to one server, recorded
//! - [`watch`]: an open watch
//! - [`retry`]: when a request is sent again
//! - [`informer`]: a store that follows a selection, by client-go's rules
//! - [`session`]: what the operations of one client share
//! - [`workload`]: what clients do
//! - [`plan`]: all that one client does, as data; [`run_client`]
//!
//! Deliberately absent: madsim, tokio's runtime, sockets, the server's code.

pub mod api;
pub mod http;
pub mod informer;
pub mod kind;
pub mod plan;
pub mod random;
pub mod request;
pub mod retry;
pub mod session;
pub mod watch;
pub mod workload;

pub use plan::{ClientPlan, Role, run_client};
pub use random::Random;
pub use triune_machinery::signal::Signal;
pub use workload::{Theme, Workload};
