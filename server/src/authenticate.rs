//! Who asks: what front proxies say comes first, then certificates, tokens and nobody, as the generic server has them.
//!
//! Invariant: only a peer whose certificate is of the front proxies' CA, and whose name is allowed, may say in headers who
//! asks (apiserver `pkg/authentication/request/headerrequest`).

use std::{collections::BTreeMap, path::Path, sync::Arc};

use http::{HeaderMap, request::Parts};
use triune_machinery::{
    authentication::{
        Answer, Authentication, AuthenticationError, Authenticator, Authenticators, StaticTokens, TokenAuthenticator,
        with_authenticated_group,
    },
    context::UserInfo,
    peer::Peer,
};

use crate::failure::{Failure, of_file};

/// Who may say in headers who asks.
#[derive(Debug, Clone, Default)]
pub struct FrontProxy {
    /// Common names that its certificate may have; empty allows all.
    pub allowed_names: Vec<String>,
    /// Headers with the user's name.
    pub username_headers: Vec<String>,
    /// Headers with the user's UID.
    pub uid_headers: Vec<String>,
    /// Headers with the user's groups.
    pub group_headers: Vec<String>,
    /// Prefixes of headers with further facts.
    pub extra_prefixes: Vec<String>,
}

impl FrontProxy {
    /// One proxy, by its certificate's common name, with the headers that everybody uses.
    pub fn usual(name: &str) -> FrontProxy {
        FrontProxy {
            allowed_names: vec![name.into()],
            username_headers: vec!["X-Remote-User".into()],
            uid_headers: vec!["X-Remote-Uid".into()],
            group_headers: vec!["X-Remote-Group".into()],
            extra_prefixes: vec!["X-Remote-Extra-".into()],
        }
    }
}

/// Front proxies, then everybody else.
pub struct RequestAuthenticator {
    front_proxy: FrontProxy,
    others: Authenticators,
}

impl RequestAuthenticator {
    /// `anonymous` lets requests without credentials in.
    pub fn new(front_proxy: FrontProxy, tokens: Option<StaticTokens>, anonymous: bool) -> RequestAuthenticator {
        let tokens = tokens.into_iter().map(|tokens| Arc::new(tokens) as Arc<dyn TokenAuthenticator>).collect();
        RequestAuthenticator { front_proxy, others: Authenticators::new(tokens, anonymous) }
    }

    fn by_front_proxy(&self, headers: &HeaderMap, peer: &Peer) -> Authentication {
        let Some(proxy) = &peer.front_proxy else { return Ok(None) };
        let Some(name) = first_value(headers, &self.front_proxy.username_headers) else { return Ok(None) };
        let allowed = &self.front_proxy.allowed_names;
        if !allowed.is_empty() && !allowed.contains(proxy) {
            return Err(AuthenticationError(format!("{proxy:?} is not among --requestheader-allowed-names")));
        }
        let groups = self.front_proxy.group_headers.iter().flat_map(|header| headers.get_all(header));
        Ok(Some(Arc::new(with_authenticated_group(UserInfo {
            name,
            uid: first_value(headers, &self.front_proxy.uid_headers).unwrap_or_default(),
            groups: groups.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect(),
            extra: self.extra(headers),
        }))))
    }

    fn extra(&self, headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for prefix in &self.front_proxy.extra_prefixes {
            for (header, value) in headers {
                let Some(key) = header.as_str().strip_prefix(prefix.to_ascii_lowercase().as_str()) else { continue };
                if let Ok(value) = value.to_str() {
                    let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy().into_owned();
                    extra.entry(key).or_default().push(value.to_owned());
                }
            }
        }
        extra
    }
}

impl Authenticator for RequestAuthenticator {
    fn authenticate<'a>(&'a self, request: &'a Parts, peer: &'a Peer) -> Answer<'a, Authentication> {
        match self.by_front_proxy(&request.headers, peer) {
            Ok(None) => self.others.authenticate(request, peer),
            decided => Answer::Ready(decided),
        }
    }
}

fn first_value(headers: &HeaderMap, names: &[String]) -> Option<String> {
    let value = names.iter().find_map(|name| headers.get(name))?.to_str().ok()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// Reads a token file: lines of `TOKEN,USER,UID[,"GROUP,GROUP"]`.
pub fn read_tokens(path: &Path) -> Result<StaticTokens, Failure> {
    let text = std::fs::read_to_string(path).map_err(of_file(path, "read the token file"))?;
    StaticTokens::parse(&text).map_err(|why| {
        Failure::run(format!("token file {}: {why}; expected lines of TOKEN,USER,UID[,\"GROUP,...\"]", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn check(front_proxy: Option<&str>, headers: &[(&str, &str)], expected: Result<&str, &str>) {
        let authenticator = RequestAuthenticator::new(FrontProxy::usual("proxy"), None, true);
        let mut request = http::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let mut peer = Peer::in_process();
        peer.front_proxy = front_proxy.map(str::to_owned);
        let found = authenticator.authenticate(&parts, &peer).get().now_or_never().expect("nobody else is asked");
        let found =
            found.map(|user| user.map(|user| format!("{}: {} {:?}", user.name, user.groups.join(" "), user.extra)));
        match expected {
            Ok(user) => assert_eq!(found, Ok(Some(user.to_owned()))),
            Err(part) => assert!(found.as_ref().is_err_and(|why| why.0.contains(part)), "{found:?} lacks {part:?}"),
        }
    }

    #[test]
    fn only_front_proxies_name_others() {
        let named = [("X-Remote-User", "eve"), ("X-Remote-Group", "a"), ("X-Remote-Group", "b")];
        let nobody = Ok("system:anonymous: system:unauthenticated {}");
        check(Some("proxy"), &named, Ok("eve: a b system:authenticated {}"));
        check(Some("imposter"), &named, Err("requestheader-allowed-names"));
        check(None, &named, nobody);
        check(Some("proxy"), &[], nobody);
        check(
            Some("proxy"),
            &[("X-Remote-User", "eve"), ("X-Remote-Extra-Team%2fOne", "x")],
            Ok(r#"eve: system:authenticated {"team/one": ["x"]}"#),
        );
    }
}
