//! Requests for tests of handlers.

use std::sync::Arc;

use http::Method;

use crate::{
    authorization::AlwaysAllow,
    context::{Context, UserInfo},
    handler::{Request, RequestBody},
    request_info::request_info,
};

/// A request as the handler chain passes it on, by `admin`.
pub(crate) fn request(method: &str, uri: &str) -> (Arc<Context>, Request) {
    let env = triune_platform::env();
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let context = Context {
        info: request_info(&method, path, query).expect("a good path"),
        query: query.to_owned(),
        user: Arc::new(UserInfo { name: "admin".into(), ..UserInfo::default() }),
        authorizer: Arc::new(AlwaysAllow),
        audit_id: "test".into(),
        received: env.clock.now(),
        deadline: None,
        before_all_paths_installed: false,
        warnings: std::sync::Mutex::default(),
        env,
    };
    let request = http::Request::builder().method(method).uri(uri).body(RequestBody::empty()).expect("a good request");
    (Arc::new(context), request)
}
