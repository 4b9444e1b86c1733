//! Plain paths: exact ones and prefixes, as the reference's `PathRecorderMux` has them.
//!
//! Paths are compared as they are, without cleaning. An exact path wins over a prefix, a longer prefix over a shorter one.

use std::{collections::BTreeMap, sync::Arc};

use triune_env::BoxFuture;

use crate::{
    body::Response,
    context::Context,
    handler::{Handler, Request},
};

/// Handlers by path.
#[derive(Default)]
pub struct Routes {
    exact: BTreeMap<String, Arc<dyn Handler>>,
    /// Each ends with a slash; longest first.
    prefixes: Vec<(String, Arc<dyn Handler>)>,
    listed: Vec<String>,
}

impl Routes {
    /// Serves one path and lists it under `/`. A later handler of the same path replaces the earlier.
    pub fn handle(&mut self, path: impl Into<String>, handler: Arc<dyn Handler>) {
        let path = path.into();
        self.listed.push(path.clone());
        self.exact.insert(path, handler);
    }

    /// Serves one path without listing it.
    pub fn handle_unlisted(&mut self, path: impl Into<String>, handler: Arc<dyn Handler>) {
        self.exact.insert(path.into(), handler);
    }

    /// Serves every path below `prefix`, which ends with a slash, and lists the prefix.
    pub fn handle_prefix(&mut self, prefix: impl Into<String>, handler: Arc<dyn Handler>) {
        let prefix = prefix.into();
        debug_assert!(prefix.ends_with('/'), "a prefix ends with a slash");
        self.listed.push(prefix.clone());
        self.prefixes.retain(|(other, _)| *other != prefix);
        self.prefixes.push((prefix, handler));
        self.prefixes.sort_by(|(left, _), (right, _)| right.len().cmp(&left.len()).then(left.cmp(right)));
    }

    /// The route of a path, and who serves it.
    pub fn find(&self, path: &str) -> Option<(&str, &Arc<dyn Handler>)> {
        if let Some((route, handler)) = self.exact.get_key_value(path) {
            return Some((route, handler));
        }
        let found = self.prefixes.iter().find(|(prefix, _)| path.starts_with(prefix.as_str()));
        found.map(|(prefix, handler)| (prefix.as_str(), handler))
    }

    /// What is listed under `/`.
    pub fn listed(&self) -> &[String] {
        &self.listed
    }
}

/// A handler that answers at once.
pub fn answer_with(answer: impl Fn(&Context, &Request) -> Response + Send + Sync + 'static) -> Arc<dyn Handler> {
    Arc::new(AnswerWith(answer))
}

struct AnswerWith<F>(F);

impl<F: Fn(&Context, &Request) -> Response + Send + Sync + 'static> Handler for AnswerWith<F> {
    fn handle(self: Arc<Self>, context: Arc<Context>, request: Request) -> BoxFuture<'static, Response> {
        Box::pin(std::future::ready((self.0)(&context, &request)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::respond::text_response;

    #[test]
    fn the_closest_route_is_found() {
        let mut routes = Routes::default();
        let handler = || answer_with(|_, _| text_response(200, ""));
        routes.handle("/a", handler());
        routes.handle_unlisted("/a/b/c", handler());
        routes.handle_prefix("/a/", handler());
        routes.handle_prefix("/a/b/", handler());
        let check = |path: &str, expect: Option<&str>| {
            assert_eq!(routes.find(path).map(|(route, _)| route), expect, "{path}");
        };
        check("/a", Some("/a"));
        check("/a/", Some("/a/"));
        check("/a/x", Some("/a/"));
        check("/a/b/x", Some("/a/b/"));
        check("/a/b/c", Some("/a/b/c"));
        check("/b", None);
        check("//a", None);
        assert_eq!(routes.listed(), ["/a", "/a/", "/a/b/"]);
    }
}
