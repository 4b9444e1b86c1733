//! What the server makes of new objects: the golden file has, for each kind, a manifest as people write it and the object
//! that a kube-apiserver v1.37.2 answers, without the metadata that differs from run to run.
//!
//! Each result is fed back as an update too: it must come out unchanged, and fit its type.

use std::{error::Error, sync::Arc};

use serde_json::{Value, json};
use triune_api::meta;
use triune_kube::{facts, resources};
use triune_machinery::{
    authorization::AlwaysAllow,
    context::{Context, RequestInfo, UserInfo},
    registry::{Resource, Serving},
};

const GOLDEN: &str = include_str!("defaults.golden");

fn context() -> Context {
    let env = triune_platform::env();
    Context {
        info: RequestInfo::default(),
        query: String::new(),
        user: Arc::new(UserInfo { name: "admin".into(), groups: vec!["system:masters".into()], ..UserInfo::default() }),
        authorizer: Arc::new(AlwaysAllow),
        audit_id: "test".into(),
        received: env.clock.now(),
        deadline: None,
        before_all_paths_installed: false,
        warnings: std::sync::Mutex::default(),
        env,
    }
}

/// As the verbs do it: defaults of the type, metadata, strategy, normal form.
fn created(context: &Context, resource: &Resource, mut object: Value) -> Value {
    let Some(schema) = &resource.schema else { return object };
    schema.apply_defaults(&mut object);
    meta::set_uid(&mut object, "u");
    assert_eq!(resource.strategy.begin_create(context, &mut object), Ok(()), "{object}");
    resource.strategy.prepare_for_create(context, &mut object);
    assert_eq!(resource.strategy.validate_create(context, &object), [], "{object}");
    schema.normalise(&mut object);
    object
}

/// A claimed address differs from run to run.
fn without_draws(mut object: Value) -> Value {
    for pointer in ["/spec/clusterIP", "/spec/clusterIPs/0", "/spec/ports/0/nodePort"] {
        if let Some(drawn) = object.pointer_mut(pointer).filter(|value| **value != "None") {
            *drawn = json!("<drawn>");
        }
    }
    object
}

#[test]
fn new_objects_are_completed() -> Result<(), Box<dyn Error>> {
    let resources = resources(&facts()?)?;
    let context = context();
    let mut sections = 0;
    for section in GOLDEN.split("\n---\n") {
        let (manifest, expected) = section.split_once("\n=>\n").ok_or("a section without =>")?;
        let manifest: Value = serde_json::from_str(manifest)?;
        let expected: Value = serde_json::from_str(expected)?;
        let serves = |resource: &&Resource| {
            resource.gvk.api_version() == meta::api_version(&manifest) && &*resource.gvk.kind == meta::kind(&manifest)
        };
        let resource = resources.iter().find(serves).ok_or("no resource")?;
        let object = created(&context, resource, manifest);
        let schema = resource.schema.as_ref().ok_or("no schema")?;
        schema.check_types(&object)?;
        assert_eq!(schema.unknown_fields(&object), [""; 0], "{object}");

        let mut again = object.clone();
        assert_eq!(resource.strategy.begin_update(&context, &object, &mut again), Ok(()), "{object}");
        resource.strategy.prepare_for_update(&context, &object, &mut again);
        assert_eq!(resource.strategy.validate_update(&context, &object, &again), [], "{object}");
        schema.normalise(&mut again);
        assert_eq!(again, object, "an update of {}", resource.name);

        let mut shown = without_draws(object);
        meta::remove(&mut shown, "uid");
        let text = serde_json::to_string_pretty(&shown)?;
        assert_eq!(text, serde_json::to_string_pretty(&expected)?, "a create of {}", resource.name);
        sections += 1;
    }
    assert!(sections > 15, "{sections}");
    Ok(())
}

/// A subresource of pods that changes a part of the spec leaves the rest as it was, and what the request was recorded to set.
#[test]
fn subresources_of_pods_keep_what_was_recorded() -> Result<(), Box<dyn Error>> {
    let resources = resources(&facts()?)?;
    let pods = resources.iter().find(|resource| resource.name == "pods").ok_or("no pods")?;
    let pod = |label: &str, owner: &str, cpu: &str| {
        json!({"metadata": {"name": "a", "labels": {"l": label}, "managedFields": [{"manager": owner}]},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": cpu}}}]}})
    };
    for (name, cpu) in [("ephemeralcontainers", "1"), ("resize", "2")] {
        let Serving::Object(strategy) = &pods.subresources[name].serving else { return Err(name.into()) };
        let mut new = pod("new", "of this request", "2");
        strategy.prepare_for_update(&context(), &pod("old", "of before", "1"), &mut new);
        let found =
            ["/metadata/labels/l", "/metadata/managedFields/0/manager", "/spec/containers/0/resources/limits/cpu"]
                .map(|pointer| new.pointer(pointer).and_then(Value::as_str));
        assert_eq!(found, [Some("old"), Some("of this request"), Some(cpu)], "{name}");
    }
    Ok(())
}
