//! `/version`: what clients take for the level of Kubernetes that is served.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    accept::{MediaType, accept_header, check_routed},
    respond::{json_response, method_not_allowed, status_response},
    routes::{Routes, answer_with},
};

/// The server's version, as `/version` and `kubectl version` show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// Such as `v1.37.2`.
    pub git_version: Cow<'static, str>,
    /// The commit it was built from.
    pub git_commit: Cow<'static, str>,
    /// When it was built, RFC 3339.
    pub build_date: Cow<'static, str>,
    /// Such as `linux/amd64`.
    pub platform: Cow<'static, str>,
}

impl Default for VersionInfo {
    fn default() -> VersionInfo {
        VersionInfo {
            git_version: "v1.37.2".into(),
            git_commit: "".into(),
            build_date: "1970-01-01T00:00:00Z".into(),
            platform: "linux/amd64".into(),
        }
    }
}

impl VersionInfo {
    /// The first two numbers of the version, such as 1 and 37.
    pub fn numbers(&self) -> (&str, &str) {
        let mut numbers = self.git_version.trim_start_matches('v').split('.');
        (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("37"))
    }

    /// The document of `/version`, indented as the reference's.
    pub fn to_json(&self) -> Vec<u8> {
        let (major, minor) = self.numbers();
        let previous =
            minor.parse::<u32>().map_or_else(|_| minor.to_owned(), |minor| minor.saturating_sub(1).to_string());
        let fields = [
            ("major", major),
            ("minor", minor),
            ("emulationMajor", major),
            ("emulationMinor", minor),
            ("minCompatibilityMajor", major),
            ("minCompatibilityMinor", &previous),
            ("gitVersion", &self.git_version),
            ("gitCommit", &self.git_commit),
            ("gitTreeState", "clean"),
            ("buildDate", &self.build_date),
            ("goVersion", "none"),
            ("compiler", "rustc"),
            ("platform", &self.platform),
        ];
        let lines: Vec<String> = fields.iter().map(|(name, value)| format!("  \"{name}\": {value:?}")).collect();
        format!("{{\n{}\n}}", lines.join(",\n")).into_bytes()
    }
}

/// Answers `/version` and `/version/`.
pub fn install_version(version: &VersionInfo, routes: &mut Routes) {
    let json = Bytes::from(version.to_json());
    let handler = answer_with(move |context, request| {
        let headers = request.headers();
        if request.method() != http::Method::GET {
            return method_not_allowed(context, headers);
        }
        match check_routed(accept_header(headers), &[MediaType::Json.as_str()], false) {
            Ok(()) => json_response(200, json.clone()),
            Err(status) => status_response(context, headers, &status),
        }
    });
    routes.handle_unlisted("/version/", handler.clone());
    routes.handle("/version", handler);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_json() {
        let document: triune_api::Value = serde_json::from_slice(&VersionInfo::default().to_json()).expect("JSON");
        for (field, expect) in
            [("major", "1"), ("minor", "37"), ("minCompatibilityMinor", "36"), ("gitVersion", "v1.37.2")]
        {
            assert_eq!(document[field], expect);
        }
    }
}
