//! What is wrong with objects, and what is only warned about: the golden files have small valid objects, changes of them, and
//! the causes and warnings that a kube-apiserver v1.37.2 answered to a dry run.
//!
//! A golden file starts with `base NAME OBJECT` lines. A case is a line `OPERATION NAME CHANGES` (changes are
//! `/pointer=JSON`, `/pointer=-` removes, ` ; ` separates), followed by indented lines: `ok` or the causes in order, and the
//! warnings. Operations are `create`, or the change of an object that was created: `update` or a subresource.

use std::{collections::BTreeMap, error::Error, sync::Arc};

use serde_json::Value;
use triune_api::{
    field::FieldError,
    meta,
    status::Status,
    validation::{validate_object_meta, validate_object_meta_update},
};
use triune_kube::{facts, resources};
use triune_machinery::{
    authorization::AlwaysAllow,
    context::{Context, RequestInfo, UserInfo},
    registry::{Resource, Serving, Strategy},
};

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

/// Applies `/pointer=JSON ; /pointer=-` to an object.
fn changed(object: &Value, changes: &str) -> Result<Value, Box<dyn Error>> {
    let mut object = object.clone();
    for change in changes.split(" ; ").filter(|change| !change.trim().is_empty()) {
        let (pointer, value) = change.trim().split_once('=').ok_or("a change without =")?;
        let (parent, key) = pointer.rsplit_once('/').ok_or("a change without a pointer")?;
        let mut target = &mut object;
        for key in parent.split('/').skip(1) {
            target = match target {
                Value::Array(items) => items.get_mut(key.parse::<usize>()?).ok_or("no such item")?,
                Value::Object(map) => map.entry(key).or_insert_with(|| Value::Object(serde_json::Map::new())),
                other => {
                    *other = Value::Object(serde_json::Map::new());
                    other.as_object_mut().ok_or("no object")?.entry(key).or_insert(Value::Null)
                }
            };
        }
        match (target, value) {
            (Value::Array(items), _) if key == "-" => items.push(serde_json::from_str(value)?),
            (Value::Array(items), _) => items[key.parse::<usize>()?] = serde_json::from_str(value)?,
            (Value::Object(map), "-") => drop(map.remove(key)),
            (Value::Object(map), _) => drop(map.insert(key.into(), serde_json::from_str(value)?)),
            _ => return Err("no place for a change".into()),
        }
    }
    Ok(object)
}

/// As the verbs decode it.
fn decoded(resource: &Resource, mut object: Value) -> Value {
    if let Some(schema) = &resource.schema {
        schema.normalise(&mut object);
        schema.apply_defaults(&mut object);
    }
    object
}

fn closed_sets(resource: &Resource, strategy: &dyn Strategy, object: &Value) -> Vec<FieldError> {
    let schema = resource.schema.as_ref().filter(|_| !strategy.validates_closed_sets());
    schema.map_or_else(Vec::new, |schema| schema.validate(object))
}

/// A create as the verbs do it: the object and what is wrong with it.
fn create(context: &Context, resource: &Resource, object: Value) -> (Value, Vec<FieldError>) {
    let mut object = decoded(resource, object);
    let strategy = &*resource.strategy;
    meta::set_uid(&mut object, "u");
    strategy.prepare_for_create(context, &mut object);
    let mut errors = validate_object_meta(&object, resource.namespaced, &|name| strategy.validate_name(name));
    errors.extend(closed_sets(resource, strategy, &object));
    errors.extend(strategy.validate_create(context, &object));
    (object, errors)
}

/// An update as the verbs do it.
fn update(
    context: &Context,
    resource: &Resource,
    strategy: &dyn Strategy,
    old: &Value,
    new: Value,
) -> (Value, Vec<FieldError>) {
    let mut new = decoded(resource, new);
    strategy.prepare_for_update(context, old, &mut new);
    let mut errors = validate_object_meta(&new, resource.namespaced, &|_| Vec::new());
    for error in validate_object_meta_update(&new, old) {
        if !errors.contains(&error) {
            errors.push(error);
        }
    }
    errors.extend(closed_sets(resource, strategy, &new));
    errors.extend(strategy.validate_update(context, old, &new));
    (new, errors)
}

/// What is answered, as the golden files write it. Line breaks are `\n`.
fn answer(
    context: &Context,
    resource: &Resource,
    operation: &str,
    base: &Value,
    changes: &str,
) -> Result<Vec<String>, Box<dyn Error>> {
    let (object, old, errors, strategy) = if operation == "create" {
        let (object, errors) = create(context, resource, changed(base, changes)?);
        (object, None, errors, &*resource.strategy)
    } else {
        let (mut old, wrong) = create(context, resource, base.clone());
        assert_eq!(wrong, [], "{base}");
        if let Some(schema) = &resource.schema {
            schema.normalise(&mut old);
        }
        meta::set_resource_version(&mut old, "1");
        let serving = resource.subresources.get(operation).map(|subresource| &subresource.serving);
        let strategy: &dyn Strategy = match serving {
            Some(Serving::Object(strategy)) => &**strategy,
            None if operation == "update" => &*resource.strategy,
            _ => return Err(format!("no subresource {operation}").into()),
        };
        let (new, errors) = update(context, resource, strategy, &old, changed(&old, changes)?);
        (new, Some(old), errors, strategy)
    };
    let causes = Status::invalid(&resource.gvk, "", &errors).details.map(|details| details.causes).unwrap_or_default();
    let mut lines: Vec<String> =
        causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message).replace('\n', "\\n")).collect();
    if lines.is_empty() {
        lines.push("ok".into());
        let warnings = strategy.warnings(context, &object, old.as_ref());
        lines.extend(warnings.into_iter().map(|warning| format!("warning: {warning}")));
    }
    Ok(lines)
}

/// Runs a golden file; gives how many cases agree.
fn check(golden: &str) -> Result<usize, Box<dyn Error>> {
    let resources = resources(&facts()?)?;
    let context = context();
    let mut bases: BTreeMap<&str, Value> = BTreeMap::new();
    let mut lines = golden.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).peekable();
    let (mut agree, mut differ) = (0, String::new());
    while let Some(line) = lines.next() {
        let mut words = line.splitn(3, ' ');
        let (operation, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let rest = words.next().unwrap_or_default();
        if operation == "base" {
            bases.insert(name, serde_json::from_str(rest)?);
            continue;
        }
        let mut expected = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("  ")) {
            expected.push(&line[2..]);
        }
        let base = bases.get(name).ok_or_else(|| format!("no base {name}"))?;
        let serves = |resource: &&Resource| {
            resource.gvk.api_version() == meta::api_version(base) && &*resource.gvk.kind == meta::kind(base)
        };
        let resource = resources.iter().find(serves).ok_or("no resource")?;
        let found = answer(&context, resource, operation, base, rest).map_err(|error| format!("{line}: {error}"))?;
        if found == expected {
            agree += 1;
        } else {
            let lines = |lines: &[String], mark: &str| {
                lines.iter().map(|line| format!("  {mark} {line}\n")).collect::<String>()
            };
            let expected: Vec<String> = expected.into_iter().map(String::from).collect();
            differ.push_str(&format!("{line}\n{}{}", lines(&expected, "-"), lines(&found, "+")));
        }
    }
    assert!(differ.is_empty(), "{agree} cases agree, these do not:\n{differ}");
    Ok(agree)
}

#[test]
fn pods_and_workloads() -> Result<(), Box<dyn Error>> {
    let agree = check(include_str!("validation/workloads.golden"))?;
    assert!(agree > 740, "{agree}");
    Ok(())
}

#[test]
fn admission_webhooks() -> Result<(), Box<dyn Error>> {
    let agree = check(include_str!("validation/webhooks.golden"))?;
    assert!(agree > 50, "{agree}");
    Ok(())
}

#[test]
fn admission_policies() -> Result<(), Box<dyn Error>> {
    let agree = check(include_str!("validation/policies.golden"))?;
    assert!(agree > 50, "{agree}");
    Ok(())
}

#[test]
fn certificates() -> Result<(), Box<dyn Error>> {
    let agree = check(include_str!("validation/certificates.golden"))?;
    assert!(agree > 50, "{agree}");
    Ok(())
}

#[test]
fn flow_control() -> Result<(), Box<dyn Error>> {
    let agree = check(include_str!("validation/flow_control.golden"))?;
    assert!(agree > 40, "{agree}");
    Ok(())
}

#[test]
fn api_services_and_migrations() -> Result<(), Box<dyn Error>> {
    let agree = check(include_str!("validation/extension.golden"))?;
    assert!(agree > 20, "{agree}");
    Ok(())
}

#[test]
fn devices() -> Result<(), Box<dyn Error>> {
    let agree = check(include_str!("validation/devices.golden"))?;
    assert!(agree > 100, "{agree}");
    Ok(())
}
