//! What is left of the core group.

use crate::{kind::Kind, tables};

/// `core/v1 ComponentStatus`.
pub static COMPONENT_STATUSES: Kind = Kind {
    deprecation: Some("v1 ComponentStatus is deprecated in v1.19+"),
    table: tables::core::COMPONENT_STATUSES,
    ..Kind::GENERIC
};
