//! Samples of all kinds.

use std::collections::BTreeSet;

use triune_api::names::GroupVersionKind;

use super::{difference, facts, json_files, module_folder};

#[test]
fn samples_are_normal() {
    let facts = facts();
    let (mut count, mut unknown_kinds) = (0, BTreeSet::new());
    for (name, sample) in json_files(module_folder("k8s.io/api@v0.37.2").join("testdata/HEAD")) {
        let Some(declared) = facts.type_of(&kind_of(&name)) else {
            unknown_kinds.insert(name);
            continue;
        };
        assert_eq!(declared.unknown_fields(&sample), Vec::<String>::new(), "{name}");
        assert_eq!(declared.check_types(&sample), Ok(()), "{name}");
        let mut normal = sample.clone();
        declared.normalise(&mut normal);
        assert_eq!(difference("", &sample, &normal), None, "{name}");
        count += 1;
    }
    println!("{count} samples are normal");
    assert_eq!(unknown_kinds, BTreeSet::new(), "kinds without facts");
    assert!(count >= 190, "only {count} samples");
}

/// The kind is in a sample's name: `apps.v1.Deployment`, `core.v1.Pod`.
pub(crate) fn kind_of(name: &str) -> GroupVersionKind {
    let (group_version, kind) = name.rsplit_once('.').unwrap();
    let (group, version) = group_version.rsplit_once('.').unwrap();
    GroupVersionKind::new(if group == "core" { "" } else { group }, version, kind)
}
