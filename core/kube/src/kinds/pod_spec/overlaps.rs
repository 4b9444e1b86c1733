//! Warnings about files of one volume that lie at, above or below each other.

use triune_api::Value;

use super::{list_of, some_of, text_of};
use crate::tree;

/// A file and what it is made of.
#[derive(Clone, PartialEq, Eq)]
struct File {
    path: String,
    source: String,
}

impl File {
    fn new(path: &str, source: &str) -> File {
        File { path: path.trim_end_matches('/').into(), source: source.into() }
    }

    fn shown(&self) -> String {
        if self.source.is_empty() { format!("{:?}", self.path) } else { format!("{:?} ({})", self.path, self.source) }
    }

    fn overlaps(&self, other: &File) -> bool {
        let (one, two) = (format!("{}/", self.path), format!("{}/", other.path));
        !self.path.is_empty() && !other.path.is_empty() && (one.starts_with(&two) || two.starts_with(&one))
    }
}

/// Warns about the volumes of a pod spec.
pub fn warn(spec: &Value, warnings: &mut Vec<String>) {
    for volume in list_of(spec, "volumes") {
        let name = text_of(volume, "name");
        let mut found = |files: Vec<File>, what: &str| {
            let mut before: Vec<File> = Vec::new();
            for file in files {
                for other in before.iter().filter(|other| other.overlaps(&file)) {
                    let (file, other) = (file.shown(), other.shown());
                    warnings.push(format!("volume {name:?} ({what}): overlapping paths: {file} with {other}"));
                }
                before.push(file);
            }
        };
        if let Some(source) = some_of(volume, "configMap") {
            found(items(source, ""), &format!("ConfigMap {:?}", text_of(source, "name")));
        }
        if let Some(source) = some_of(volume, "secret") {
            found(items(source, ""), &format!("Secret {:?}", text_of(source, "secretName")));
        }
        if let Some(source) = some_of(volume, "downwardAPI") {
            found(items(source, ""), "DownwardAPI");
        }
        let sources = tree::items(volume, "/projected/sources");
        let nothing = |source: &&Value| source.as_object().is_none_or(|source| source.values().all(Value::is_null));
        found(sources.iter().flat_map(files_of).collect(), "Projected");
        for _ in sources.iter().filter(nothing) {
            warnings.push(format!("volume {name:?} (Projected) has no sources provided"));
        }
    }
}

fn items(source: &Value, shown: &str) -> Vec<File> {
    list_of(source, "items").iter().map(|item| File::new(text_of(item, "path"), shown)).collect()
}

/// The files of a source of a projected volume.
fn files_of(source: &Value) -> Vec<File> {
    if let Some(map) = some_of(source, "configMap").filter(|map| some_of(map, "items").is_some()) {
        return items(map, &format!("ConfigMap {:?}", text_of(map, "name")));
    }
    if let Some(secret) = some_of(source, "secret").filter(|secret| some_of(secret, "items").is_some()) {
        return items(secret, &format!("Secret {:?}", text_of(secret, "name")));
    }
    if let Some(fields) = some_of(source, "downwardAPI").filter(|fields| some_of(fields, "items").is_some()) {
        return items(fields, "DownwardAPI");
    }
    if let Some(token) = some_of(source, "serviceAccountToken") {
        return vec![File::new(text_of(token, "path"), "ServiceAccountToken")];
    }
    if let Some(bundle) = some_of(source, "clusterTrustBundle") {
        let name = bundle.get("name").or_else(|| bundle.get("signerName")).and_then(Value::as_str).unwrap_or_default();
        return vec![File::new(text_of(bundle, "path"), &format!("ClusterTrustBundle {name:?}"))];
    }
    let Some(certificate) = some_of(source, "podCertificate") else { return Vec::new() };
    [
        ("certificateChainPath", "PodCertificate chain"),
        ("keyPath", "PodCertificate key"),
        ("credentialBundlePath", "PodCertificate credential bundle"),
    ]
    .iter()
    .map(|(field, shown)| File::new(text_of(certificate, field), shown))
    .filter(|file| !file.path.is_empty())
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_that_hide_each_other_are_told() {
        let check = |volume: Value, expected: &[&str]| {
            let mut warnings = Vec::new();
            warn(&json!({"volumes": [volume]}), &mut warnings);
            assert_eq!(warnings, expected);
        };
        let items = json!([{"path": "x"}, {"path": "x/y"}, {"path": "xy"}]);
        check(
            json!({"name": "v", "configMap": {"name": "c", "items": items}}),
            &[r#"volume "v" (ConfigMap "c"): overlapping paths: "x/y" with "x""#],
        );
        let token = json!({"serviceAccountToken": {"path": "a/"}});
        check(
            json!({"name": "v", "projected": {"sources": [token, {"secret": {"name": "s", "items": [{"path": "a"}]}}]}}),
            &[r#"volume "v" (Projected): overlapping paths: "a" (Secret "s") with "a" (ServiceAccountToken)"#],
        );
    }
}
