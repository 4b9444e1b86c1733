//! Which families of addresses a service has, and in which order: what the client says, what follows from its addresses, and
//! what this cluster has, which is IPv4 alone (kubernetes `pkg/registry/core/service/storage/alloc.go`).

use triune_api::{Value, field::FieldError};

use super::{is_external_name, validate};
use crate::{
    field::Field,
    tree::{self, child, remove, set},
};

/// The families that services can have here, the default first.
const CONFIGURED: [&str; 1] = ["IPv4"];

/// Completes `ipFamilyPolicy` and `ipFamilies`. What is wrong with them, and with the addresses, refuses the request before
/// anything else is looked at.
pub fn complete(old: Option<&Value>, service: &mut Value) -> Result<(), Vec<FieldError>> {
    if is_external_name(service) || old.is_some_and(|old| keeps_preference(old, service)) {
        return Ok(());
    }
    complete_policy(old, service);
    let mut errors = Vec::new();
    validate::addresses(service, old, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    if let Some(old) = old {
        reduce(old, service, &mut errors);
    }
    infer(service, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    if tree::text(service, "/spec/clusterIP") == "None" && has_no_selector(service) {
        complete_without_selector(service);
        return Ok(());
    }
    let spec = Field::of(service, "spec");
    let policy = spec.at("ipFamilyPolicy");
    if policy.text() == "RequireDualStack" {
        errors.push(policy.invalid("this cluster is not configured for dual-stack services"));
    }
    for family in spec.at("ipFamilies").items().filter(|family| !CONFIGURED.contains(&family.text())) {
        errors.push(family.invalid("not configured on this cluster"));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    if tree::items(service, "/spec/ipFamilies").is_empty() {
        set_families(service, vec![CONFIGURED[0].into()]);
    }
    Ok(())
}

/// A service that prefers two families and changes neither type nor addresses stays as it is.
pub fn keeps_preference(old: &Value, new: &Value) -> bool {
    const PREFERS: &str = "PreferDualStack";
    let same = |pointer: &str| old.pointer(pointer) == new.pointer(pointer);
    tree::text(new, "/spec/ipFamilyPolicy") == PREFERS
        && matches!(tree::text(old, "/spec/ipFamilyPolicy"), "" | PREFERS)
        && ["/spec/type", "/spec/clusterIP", "/spec/clusterIPs", "/spec/ipFamilies"].into_iter().all(same)
}

fn complete_policy(old: Option<&Value>, service: &mut Value) {
    if tree::has(service, "/spec/ipFamilyPolicy") {
        return;
    }
    let before = old.map(|old| tree::text(old, "/spec/ipFamilyPolicy")).filter(|policy| !policy.is_empty());
    let policy = before.unwrap_or({
        let headless = tree::text(service, "/spec/clusterIP") == "None";
        if headless && has_no_selector(service) { "RequireDualStack" } else { "SingleStack" }
    });
    let policy = policy.to_string();
    if let Some(spec) = child(service, "spec") {
        set(spec, "ipFamilyPolicy", policy);
    }
}

/// Going back to one family is said by the policy, not by leaving out.
fn reduce(old: &Value, service: &mut Value, errors: &mut Vec<FieldError>) {
    let single = tree::text(service, "/spec/ipFamilyPolicy") == "SingleStack";
    for (field, what) in [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")] {
        let pointer = format!("/spec/{field}");
        let before = tree::items(old, &pointer);
        if single {
            let same = before == tree::items(service, &pointer);
            if let Some(Value::Array(items)) = service.pointer_mut(&pointer).filter(|_| same) {
                items.truncate(1);
            }
            continue;
        }
        let after = tree::items(service, &pointer);
        if !after.is_empty() && after.len() < before.len() && before.first() == after.first() {
            let detail = format!("must be 'SingleStack' to release the secondary {what}");
            errors.push(Field::of(service, "spec.ipFamilyPolicy").invalid(detail));
        }
    }
}

/// Families that are not said follow from the addresses.
fn infer(service: &mut Value, errors: &mut Vec<FieldError>) {
    let spec = Field::of(service, "spec");
    let (policy, addresses, families) = (spec.at("ipFamilyPolicy"), spec.at("clusterIPs"), spec.at("ipFamilies"));
    if policy.text() == "SingleStack" {
        for (list, what) in [(&addresses, "cluster IPs"), (&families, "IP families")] {
            if list.len() == 2 {
                let detail =
                    format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
                errors.push(policy.invalid(detail));
            }
        }
    }
    let mut inferred: Vec<String> = families.texts().map(String::from).collect();
    for address in addresses.items().take_while(|address| address.text() != "None").skip(families.len()) {
        let family = if address.text().contains(':') { "IPv6" } else { "IPv4" };
        if CONFIGURED.contains(&family) {
            inferred.push(family.into());
        } else {
            let detail = format!("{family} is not configured on this cluster");
            errors.push(address.invalid_as(addresses.value(), detail));
        }
    }
    set_families(service, inferred);
}

/// Nobody knows what a headless service without selector will point to: both families, unless it says otherwise.
fn complete_without_selector(service: &mut Value) {
    let mut families: Vec<String> = Field::of(service, "spec.ipFamilies").texts().map(String::from).collect();
    if families.is_empty() {
        families.push(CONFIGURED[0].into());
    }
    if families.len() < 2 && tree::text(service, "/spec/ipFamilyPolicy") != "SingleStack" {
        families.push(if families[0] == "IPv4" { "IPv6" } else { "IPv4" }.into());
    }
    set_families(service, families);
}

fn set_families(service: &mut Value, families: Vec<String>) {
    let Some(spec) = child(service, "spec") else { return };
    if families.is_empty() {
        remove(spec, "ipFamilies");
    } else {
        set(spec, "ipFamilies", families);
    }
}

fn has_no_selector(service: &Value) -> bool {
    tree::map(service, "/spec/selector").is_none_or(serde_json::Map::is_empty)
}
