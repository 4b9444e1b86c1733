//! Who asks: authenticators, the anonymous user, static tokens, client certificates.
//!
//! Invariants: wrong credentials are refused (401), they never become the anonymous user; tokens are compared in a time
//! that does not depend on how much of them is right; everybody but the anonymous user is in `system:authenticated`.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderMap, header, request::Parts};
use triune_env::BoxFuture;

use crate::{
    context::UserInfo,
    peer::{ClientCertificate, Peer},
};

/// Name of who shows no credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// Group of who shows no credentials.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Group of everybody who shows credentials.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Group that may do everything.
pub const MASTERS: &str = "system:masters";
/// Key of the extra that names the credential used.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// An answer that is mostly there at once: looking it up must not cost an allocation.
pub enum Answer<'a, T> {
    /// There.
    Ready(T),
    /// Somebody else has to be asked.
    Later(BoxFuture<'a, T>),
}

impl<T> Answer<'_, T> {
    /// Waits for it.
    pub async fn get(self) -> T {
        match self {
            Answer::Ready(answer) => answer,
            Answer::Later(future) => future.await,
        }
    }
}

/// Why credentials are refused; for the log, not for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuthenticationError(pub String);

/// Some user: known; none: no credentials that this authenticator looks at; an error: refused.
pub type Authentication = Result<Option<Arc<UserInfo>>, AuthenticationError>;

/// Tells who asks.
pub trait Authenticator: Send + Sync + 'static {
    /// Looks at the head of a request and at the connection it came on.
    fn authenticate<'a>(&'a self, request: &'a Parts, peer: &'a Peer) -> Answer<'a, Authentication>;
}

/// Tells whose a bearer token is.
pub trait TokenAuthenticator: Send + Sync + 'static {
    /// `None` if it knows nothing of this token.
    fn authenticate_token<'a>(&'a self, token: &'a str) -> Answer<'a, Authentication>;
}

/// The authenticators of a server, in the reference's order: client certificate, then bearer token; then, if allowed, the
/// anonymous user.
pub struct Authenticators {
    /// Asked in order until one knows the token.
    pub tokens: Vec<Arc<dyn TokenAuthenticator>>,
    anonymous: Option<Arc<UserInfo>>,
}

impl Authenticators {
    /// With these token authenticators; whoever shows no credentials is the anonymous user or refused.
    pub fn new(tokens: Vec<Arc<dyn TokenAuthenticator>>, allow_anonymous: bool) -> Authenticators {
        Authenticators { tokens, anonymous: allow_anonymous.then(|| Arc::new(anonymous_user())) }
    }

    async fn token_user(&self, token: &str) -> Authentication {
        let mut refused = None;
        for authenticator in &self.tokens {
            match authenticator.authenticate_token(token).get().await {
                Ok(Some(user)) => return Ok(Some(user)),
                Ok(None) => {}
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| AuthenticationError("invalid bearer token".into())))
    }
}

impl Authenticator for Authenticators {
    fn authenticate<'a>(&'a self, request: &'a Parts, peer: &'a Peer) -> Answer<'a, Authentication> {
        if let Some(user) = &peer.certificate_user {
            return Answer::Ready(Ok(Some(user.clone())));
        }
        match (bearer_token(&request.headers), &peer.certificate_error) {
            (Some(token), _) => Answer::Later(Box::pin(self.token_user(token))),
            (None, Some(error)) => Answer::Ready(Err(AuthenticationError(error.clone()))),
            (None, None) => Answer::Ready(Ok(self.anonymous.clone())),
        }
    }
}

/// The token of an `Authorization: Bearer` header.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut parts = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().splitn(3, ' ');
    let scheme = parts.next()?;
    parts.next().filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

/// Whoever shows no credentials.
pub fn anonymous_user() -> UserInfo {
    UserInfo { name: ANONYMOUS.into(), groups: vec![UNAUTHENTICATED.into()], ..UserInfo::default() }
}

/// Adds `system:authenticated`, unless the user is the anonymous one.
pub fn with_authenticated_group(mut user: UserInfo) -> UserInfo {
    let placed = user.groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED);
    if user.name != ANONYMOUS && !placed {
        user.groups.push(AUTHENTICATED.into());
    }
    user
}

/// The user of a client certificate: the common name, with the organisations as groups. None without a common name.
pub fn certificate_user(certificate: &ClientCertificate) -> Option<UserInfo> {
    if certificate.common_name.is_empty() {
        return None;
    }
    Some(with_authenticated_group(UserInfo {
        name: certificate.common_name.clone(),
        uid: certificate.uid.clone(),
        groups: certificate.organisations.clone(),
        extra: BTreeMap::from([(CREDENTIAL_ID.into(), vec![format!("X509SHA256={}", certificate.fingerprint)])]),
    }))
}

/// The tokens of a file in the form `token,user,uid[,"group1,group2"]`, one a line.
pub struct StaticTokens(Vec<(String, Arc<UserInfo>)>);

impl StaticTokens {
    /// Parses the text of a token file. Lines without a token are left out; of equal tokens the last counts.
    pub fn parse(text: &str) -> Result<StaticTokens, String> {
        let mut tokens: BTreeMap<String, Arc<UserInfo>> = BTreeMap::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let mut fields = csv_fields(line).map_err(|error| format!("line {}: {error}", number + 1))?;
            if fields.len() < 3 {
                let wanted = "must have at least 3 columns (token, user name, user uid)";
                return Err(format!("line {} {wanted}, found {}", number + 1, fields.len()));
            }
            let groups = if fields.len() > 3 { fields.swap_remove(3) } else { String::new() };
            let groups = groups.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect();
            let [token, name, uid] = [0, 1, 2].map(|column| std::mem::take(&mut fields[column]));
            if !token.is_empty() {
                let user = UserInfo { name, uid, groups, ..UserInfo::default() };
                tokens.insert(token, Arc::new(with_authenticated_group(user)));
            }
        }
        Ok(StaticTokens(tokens.into_iter().collect()))
    }

    /// One token for one user: a daemon's own.
    pub fn one(token: impl Into<String>, user: UserInfo) -> StaticTokens {
        StaticTokens(vec![(token.into(), Arc::new(with_authenticated_group(user)))])
    }
}

impl TokenAuthenticator for StaticTokens {
    fn authenticate_token<'a>(&'a self, token: &'a str) -> Answer<'a, Authentication> {
        // Every token is compared, in constant time each.
        let mut found = None;
        for (known, user) in &self.0 {
            if constant_time_equal(known.as_bytes(), token.as_bytes()) {
                found = Some(user);
            }
        }
        Answer::Ready(Ok(found.cloned()))
    }
}

/// Compares in a time that depends on the lengths alone.
pub fn constant_time_equal(left: &[u8], right: &[u8]) -> bool {
    let differing = left.iter().zip(right).fold(0, |bits, (a, b)| std::hint::black_box(bits | (a ^ b)));
    left.len() == right.len() && differing == 0
}

/// The fields of one line of CSV (RFC 4180).
fn csv_fields(line: &str) -> Result<Vec<String>, &'static str> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let Some(field) = fields.last_mut() else { break };
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' if quoted => {
                quoted = false;
                if characters.peek().is_some_and(|next| *next != ',') {
                    return Err("text follows a closing quote");
                }
            }
            '"' if field.is_empty() => quoted = true,
            '"' => return Err("a quote stands in an unquoted field"),
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    if quoted { Err("a quote is not closed") } else { Ok(fields) }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const FILE: &str = "secret,ann,1,\"a,b\"\n\nother,bob,2\n,nobody,3\nmaster,root,4,system:masters\n";

    /// Answers "name [groups]", "nobody" or "refused".
    fn check(authorization: &str, certificate: Option<ClientCertificate>, allow_anonymous: bool, expect: &str) {
        let tokens = StaticTokens::parse(FILE).expect("a good file");
        let authenticators = Authenticators::new(vec![Arc::new(tokens)], allow_anonymous);
        let request =
            http::Request::builder().header(header::AUTHORIZATION, authorization).body(()).expect("a request");
        let peer = certificate.iter().fold(Peer::in_process(), Peer::with_certificate);
        let (parts, ()) = request.into_parts();
        let answer = authenticators.authenticate(&parts, &peer).get().now_or_never().expect("nobody else is asked");
        let found = match answer {
            Ok(Some(user)) => format!("{} [{}]", user.name, user.groups.join(" ")),
            Ok(None) => "nobody".into(),
            Err(_) => "refused".into(),
        };
        assert_eq!(found, expect, "{authorization}");
    }

    #[test]
    fn users_are_told_apart() {
        check("Bearer secret", None, true, "ann [a b system:authenticated]");
        check("bearer other", None, true, "bob [system:authenticated]");
        check("Bearer master", None, false, "root [system:masters system:authenticated]");
        check("Bearer secre", None, true, "refused");
        check("Bearer secrets", None, true, "refused");
        check("Bearer nobody", None, true, "refused");
        check("Bearer ", None, true, "system:anonymous [system:unauthenticated]");
        check("Bearer  secret", None, true, "system:anonymous [system:unauthenticated]");
        check("Basic secret", None, true, "system:anonymous [system:unauthenticated]");
        check("", None, false, "nobody");
        let certificate = ClientCertificate {
            common_name: "cert".into(),
            organisations: vec!["o".into()],
            ..ClientCertificate::default()
        };
        check("", Some(certificate.clone()), true, "cert [o system:authenticated]");
        check("Bearer wrong", Some(certificate), true, "cert [o system:authenticated]");
        check("", Some(ClientCertificate::default()), true, "system:anonymous [system:unauthenticated]");
    }

    #[test]
    fn who_shows_a_bad_certificate_is_not_anonymous() {
        let authenticators = Authenticators::new(Vec::new(), true);
        let (parts, ()) = http::Request::new(()).into_parts();
        let mut peer = Peer::in_process();
        peer.certificate_error = Some("expired".into());
        let answer = authenticators.authenticate(&parts, &peer).get().now_or_never().expect("nobody else is asked");
        assert_eq!(answer, Err(AuthenticationError("expired".into())));
    }

    #[test]
    fn bad_token_files_are_refused() {
        for text in ["a,b\n", "a,b,c,\"d\n", "a,b,c,\"d\"e\n", "a,b\"c,d\n"] {
            assert!(StaticTokens::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn comparison_is_exact() {
        for (left, right) in [("", ""), ("a", "a"), ("ab", "ab"), ("a", "b"), ("a", ""), ("a", "ab"), ("ba", "ab")] {
            assert_eq!(constant_time_equal(left.as_bytes(), right.as_bytes()), left == right, "{left} {right}");
        }
    }
}
