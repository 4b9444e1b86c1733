//! What exists from the start: namespaces, the `kubernetes` service, priority classes, roles, flow control, API services.
//!
//! - [`policy`]: roles and bindings from `policy.txt`
//! - [`objects`]: all objects, as trees
//! - [`ensure`]: creating those that are missing

pub mod ensure;
pub mod objects;
pub mod policy;

pub use ensure::{BootstrapError, ensure_bootstrap};
pub use objects::{BootstrapDataError, BootstrapOptions, bootstrap_objects, mandatory_flow_control};
