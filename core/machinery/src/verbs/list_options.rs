//! Options of lists and watches: every combination of resourceVersion, resourceVersionMatch, limit, continue,
//! sendInitialEvents and allowWatchBookmarks is either given a meaning or refused as the reference does (apimachinery
//! `meta/internalversion/validation`, apiserver `storage.ValidateListOptions` and `delegator.ShouldDelegateList`).

use serde_json::json;
use triune_api::{
    field::FieldError,
    names::GroupVersionKind,
    selector::{FieldSelector, LabelSelector},
    status::Status,
};
use triune_store::{
    Revision,
    types::{ListAt, WatchFrom},
};

use super::options::Query;

/// `ListOptions` of meta/v1, checked and with its defaults.
#[derive(Debug, Clone)]
pub struct ListOptions {
    /// Whether changes follow.
    pub watch: bool,
    /// Labels.
    pub labels: LabelSelector,
    /// Fields; the paths are not checked here.
    pub fields: FieldSelector,
    /// As sent.
    pub resource_version: String,
    /// `resourceVersionMatch`.
    pub version_match: VersionMatch,
    /// Page size; 0 is unlimited.
    pub limit: usize,
    /// Token of the previous page; "" is none.
    pub continue_token: String,
    /// Seconds after which a watch ends.
    pub timeout_seconds: Option<i64>,
    /// Whether bookmarks are welcome.
    pub allow_bookmarks: bool,
    /// Whether a watch begins with the state.
    pub send_initial_events: Option<bool>,
}

/// `resourceVersionMatch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionMatch {
    /// Not given.
    Unset,
    /// This very revision.
    Exact,
    /// This revision or a newer one.
    NotOlderThan,
}

impl ListOptions {
    /// Reads and checks the options. `name` is the object's name where the path or the selector names one.
    pub fn parse(query: &Query, watch: bool, name: &str) -> Result<ListOptions, Status> {
        let bad_request = |error: triune_api::selector::SelectorError| Status::bad_request(error.to_string());
        let text = |name: &str| query.text(name).unwrap_or_default();
        let mut errors = Vec::new();
        let match_text = text("resourceVersionMatch");
        let mut options = ListOptions {
            watch,
            labels: LabelSelector::parse(text("labelSelector")).map_err(bad_request)?,
            fields: FieldSelector::parse(text("fieldSelector")).map_err(bad_request)?,
            resource_version: text("resourceVersion").to_string(),
            version_match: match match_text {
                "Exact" => VersionMatch::Exact,
                "NotOlderThan" => VersionMatch::NotOlderThan,
                _ => VersionMatch::Unset,
            },
            limit: usize::try_from(query.integer("limit")?.unwrap_or_default()).unwrap_or_default(),
            continue_token: text("continue").to_string(),
            timeout_seconds: query.integer("timeoutSeconds")?,
            allow_bookmarks: query.bool("allowWatchBookmarks").unwrap_or_default(),
            send_initial_events: query.bool("sendInitialEvents"),
        };
        let legacy = matches!(options.resource_version.as_str(), "" | "0");
        if watch && legacy && options.send_initial_events.is_none() && match_text.is_empty() {
            options.send_initial_events = Some(true);
            options.version_match = VersionMatch::NotOlderThan;
        } else if watch {
            options.check_watch(match_text, &mut errors);
        } else {
            options.check_list(match_text, &mut errors);
        }
        if !errors.is_empty() {
            return Err(Status::invalid(&GroupVersionKind::new("meta.k8s.io", "v1", "ListOptions"), "", &errors));
        }
        options.select_name(name)?;
        Ok(options)
    }

    fn check_list(&self, match_text: &str, errors: &mut Vec<FieldError>) {
        const FIELD: &str = "resourceVersionMatch";
        if !match_text.is_empty() {
            if self.resource_version.is_empty() {
                let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                errors.push(FieldError::forbidden(FIELD, detail));
            }
            if !self.continue_token.is_empty() {
                let detail = "resourceVersionMatch is forbidden when continue is provided";
                errors.push(FieldError::forbidden(FIELD, detail));
            }
            if self.version_match == VersionMatch::Unset {
                let supported = ["Exact", "NotOlderThan", ""];
                errors.push(FieldError::not_supported(FIELD, &json!(match_text), &supported));
            }
            if self.version_match == VersionMatch::Exact && self.resource_version == "0" {
                let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                errors.push(FieldError::forbidden(FIELD, detail));
            }
        }
        if self.send_initial_events.is_some() {
            errors.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
    }

    fn check_watch(&self, match_text: &str, errors: &mut Vec<FieldError>) {
        const FIELD: &str = "resourceVersionMatch";
        let not_older = self.version_match == VersionMatch::NotOlderThan;
        if self.send_initial_events.is_some() && !not_older {
            let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            errors.push(FieldError::forbidden(FIELD, detail));
        }
        if match_text.is_empty() {
            return;
        }
        if self.send_initial_events.is_none() {
            let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(FieldError::forbidden(FIELD, detail));
        }
        if !not_older {
            errors.push(FieldError::not_supported(FIELD, &json!(match_text), &["NotOlderThan"]));
        }
        if !self.continue_token.is_empty() {
            let detail = "resourceVersionMatch is forbidden when continue is provided";
            errors.push(FieldError::forbidden(FIELD, detail));
        }
    }

    /// A request for one object is a selector on its name.
    fn select_name(&mut self, name: &str) -> Result<(), Status> {
        if name.is_empty() {
            return Ok(());
        }
        if self.fields.is_empty() {
            self.fields = FieldSelector::one("metadata.name", name);
        } else if self.fields.exact("metadata.name") != Some(name) {
            return Err(Status::bad_request("fieldSelector metadata.name doesn't match requested name"));
        }
        Ok(())
    }

    /// At which revision a list is taken, and the page size that counts: a list of whatever the cache has is not cut.
    pub fn list_at(&self) -> Result<(ListAt, usize), Status> {
        if !self.continue_token.is_empty() {
            if !matches!(self.resource_version.as_str(), "" | "0") {
                return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
            }
            return Ok((ListAt::Latest, self.limit));
        }
        if self.resource_version.is_empty() {
            return Ok((ListAt::Latest, self.limit));
        }
        let revision = parse_revision(&self.resource_version)
            .map_err(|error| Status::bad_request(format!("invalid resource version: {error}")))?;
        Ok(match (revision.0, self.version_match) {
            (0, _) => (ListAt::Any, 0),
            (_, VersionMatch::Exact) => (ListAt::Exact(revision), self.limit),
            (_, VersionMatch::Unset) if self.limit > 0 => (ListAt::Exact(revision), self.limit),
            _ => (ListAt::NotOlderThan(revision), self.limit),
        })
    }

    /// Where a watch starts.
    pub fn watch_from(&self) -> Result<WatchFrom, Status> {
        // The reference has no better answer than 500 without a reason here.
        let revision = match self.resource_version.as_str() {
            "" => Revision(0),
            text => parse_revision(text).map_err(|error| Status::new(500, "", error.to_string()))?,
        };
        Ok(match (self.send_initial_events, self.resource_version.as_str(), revision.0) {
            (Some(true), "", _) => WatchFrom::StateLatest,
            (Some(true), _, 0) => WatchFrom::StateAny,
            (Some(true), _, _) => WatchFrom::StateNotOlderThan(revision),
            (_, _, 0) => WatchFrom::Now,
            _ => WatchFrom::After(revision),
        })
    }

    /// Whether a bookmark closes the initial state of a watch.
    pub fn initial_events_end(&self) -> bool {
        self.send_initial_events == Some(true) && self.allow_bookmarks
    }
}

/// A resourceVersion as a number, or the field error of the reference.
pub fn parse_revision(text: &str) -> Result<Revision, FieldError> {
    let invalid = |why: &str| {
        let detail = format!("strconv.ParseUint: parsing {text:?}: {why}");
        FieldError::invalid("resourceVersion", &json!(text), detail)
    };
    if text.starts_with('+') {
        return Err(invalid("invalid syntax"));
    }
    text.parse().map(Revision).map_err(|error: std::num::ParseIntError| match error.kind() {
        std::num::IntErrorKind::PosOverflow => invalid("value out of range"),
        _ => invalid("invalid syntax"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expect: &str) {
        let query_parsed = Query::parse(query);
        let watch = query_parsed.bool("watch").unwrap_or_default();
        let got = ListOptions::parse(&query_parsed, watch, "").and_then(|options| {
            if watch {
                Ok(format!("{:?} end={}", options.watch_from()?, options.initial_events_end()))
            } else {
                Ok(options.list_at().map(|(at, limit)| format!("{at:?} limit={limit}"))?)
            }
        });
        let got = got.unwrap_or_else(|status| {
            let text = status.message.replace(r#"ListOptions.meta.k8s.io "" is invalid: "#, "");
            format!("{} {text}", status.code)
        });
        assert_eq!(got, expect, "{query}");
    }

    #[test]
    fn lists() {
        check("", "Latest limit=0");
        check("limit=5", "Latest limit=5");
        check("limit=-5", "Latest limit=0");
        check("limit=5&continue=x", "Latest limit=5");
        check("resourceVersion=0&limit=5", "Any limit=0");
        check("resourceVersion=0&resourceVersionMatch=NotOlderThan", "Any limit=0");
        check("resourceVersion=7", "NotOlderThan(Revision(7)) limit=0");
        check("resourceVersion=7&limit=5", "Exact(Revision(7)) limit=5");
        check("resourceVersion=7&limit=5&resourceVersionMatch=NotOlderThan", "NotOlderThan(Revision(7)) limit=5");
        check("resourceVersion=7&resourceVersionMatch=Exact", "Exact(Revision(7)) limit=0");
        check("timeoutSeconds=x", r#"400 strconv.ParseInt: parsing "x": invalid syntax"#);
        check("resourceVersion=7&continue=x", "400 specifying resource version is not allowed when using continue");
        check(
            "resourceVersion=x",
            r#"400 invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax"#,
        );
        let field = "422 resourceVersionMatch: ";
        check(
            "resourceVersionMatch=Exact",
            &format!("{field}Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"),
        );
        check(
            "resourceVersionMatch=Exact&resourceVersion=0",
            &format!(r#"{field}Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0""#),
        );
        check(
            "resourceVersionMatch=Exact&resourceVersion=7&continue=x",
            &format!("{field}Forbidden: resourceVersionMatch is forbidden when continue is provided"),
        );
        check(
            "resourceVersionMatch=x&resourceVersion=7",
            &format!(r#"{field}Unsupported value: "x": supported values: "Exact", "NotOlderThan", """#),
        );
        check("sendInitialEvents=true", "422 sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list");
    }

    #[test]
    fn watches() {
        check("watch=1", "StateLatest end=false");
        check("watch=1&allowWatchBookmarks=true", "StateLatest end=true");
        check("watch=1&resourceVersion=0", "StateAny end=false");
        check("watch=1&resourceVersion=7", "After(Revision(7)) end=false");
        let match_ = "resourceVersionMatch=NotOlderThan";
        check(&format!("watch=1&sendInitialEvents=true&{match_}"), "StateLatest end=false");
        check(&format!("watch=1&sendInitialEvents=true&{match_}&resourceVersion=0"), "StateAny end=false");
        let query = format!("watch=1&sendInitialEvents=true&{match_}&resourceVersion=7&allowWatchBookmarks=1");
        check(&query, "StateNotOlderThan(Revision(7)) end=true");
        check(&format!("watch=1&sendInitialEvents=false&{match_}"), "Now end=false");
        check(&format!("watch=1&sendInitialEvents=false&{match_}&resourceVersion=7"), "After(Revision(7)) end=false");
        check(
            "watch=1&sendInitialEvents=true",
            "422 resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
        check(
            &format!("watch=1&{match_}&resourceVersion=7"),
            "422 resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        );
        check(
            "watch=1&sendInitialEvents=true&resourceVersionMatch=Exact",
            "422 [resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan, \
             resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"]",
        );
    }

    #[test]
    fn a_name_is_a_selector() {
        let parse = |query: &str| ListOptions::parse(&Query::parse(query), false, "a");
        assert_eq!(
            parse("").map(|options| options.fields.exact("metadata.name").map(str::to_string)),
            Ok(Some("a".into()))
        );
        assert!(parse("fieldSelector=metadata.name%3Da,spec.x%3Db").is_ok());
        let wrong = parse("fieldSelector=spec.x%3Db").map(|_| ()).map_err(|status| status.message);
        assert_eq!(wrong, Err("fieldSelector metadata.name doesn't match requested name".into()));
    }
}
