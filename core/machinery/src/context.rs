//! What is known of a request besides its bytes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use triune_env::Env;

use crate::authorization::Authorizer;

/// The parsed path: apiserver `pkg/endpoints/request/requestinfo.go`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestInfo {
    /// Whether it addresses an API resource (else it is a plain path such as `/healthz` or `/apis/apps`).
    pub is_resource_request: bool,
    /// The decoded path.
    pub path: String,
    /// get, list, watch, create, update, patch, delete, deletecollection, proxy; for plain paths the lower-case method.
    pub verb: String,
    /// `api` or `apis`.
    pub api_prefix: String,
    /// "" is the core group.
    pub api_group: String,
    /// Such as `v1`.
    pub api_version: String,
    /// "" for cluster-scoped objects and for all namespaces.
    pub namespace: String,
    /// Plural.
    pub resource: String,
    /// Such as `status`.
    pub subresource: String,
    /// The object's name; for lists and watches with `metadata.name=x` as field selector, that name.
    pub name: String,
    /// Path segments from the resource on.
    pub parts: Vec<String>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserInfo {
    /// Such as `admin` or `system:serviceaccount:default:default`.
    pub name: String,
    /// May be empty.
    pub uid: String,
    /// Such as `system:masters`, `system:authenticated`.
    pub groups: Vec<String>,
    /// Further facts of the authenticator.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What is known of a request. Shared by the filters and the handler.
pub struct Context {
    /// The platform.
    pub env: Env,
    /// The parsed path.
    pub info: RequestInfo,
    /// The query of the URL, as sent; "" if there is none.
    pub query: String,
    /// Who asks.
    pub user: Arc<UserInfo>,
    /// Says what else the user may do: a request may turn out to be about more than its verb.
    pub authorizer: Arc<dyn Authorizer>,
    /// Sent as `Audit-Id`.
    pub audit_id: String,
    /// When the request came.
    pub received: Instant,
    /// When it must be answered; None for long-running requests.
    pub deadline: Option<Instant>,
    /// Whether the request came before all paths were installed: then an unknown path is 503, not 404 (A13).
    pub before_all_paths_installed: bool,
    /// Texts for `Warning` headers, in order.
    pub warnings: Mutex<Vec<String>>,
}

impl Context {
    /// Adds a text for a `Warning: 299` header, once.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }
}
