//! The built-in API groups: what there is (data), what differs from kind to kind (strategies), how it is shown (tables),
//! and what exists from the start (bootstrap objects).
//!
//! Adding a kind is a line in `resources.tsv`; a file under [`kinds`] only where it differs from the generic behaviour.
//! In reading order:
//!
//! - [`catalog`]: `resources.tsv` and `groups.tsv` parsed into resources
//! - [`settings`]: what the operator chooses
//! - [`kind`]: what may differ from kind to kind, and the strategies that interpret it
//! - [`kinds`]: the kinds that differ, a file each or a few to a file
//! - [`tree`]: reading and defaulting fields of JSON trees
//! - [`table`]: columns and cells
//! - [`tables`]: the columns of each kind
//! - [`bootstrap`]: what exists from the start

pub mod bootstrap;
pub mod catalog;
pub mod field;
pub mod kind;
pub mod kinds;
pub mod settings;
pub mod table;
pub mod tables;
pub mod tree;

pub use bootstrap::{BootstrapOptions, bootstrap_objects, ensure_bootstrap};
pub use catalog::{CatalogError, GroupPriority, facts, group_priorities, resources, resources_with};
pub use settings::{EVENT_TTL, NodePorts, ServiceRange, Settings};
