//! Writes that change nothing but the times of `managedFields` are none.

use serde_json::{Map, Value};
use triune_api::meta;

/// Puts the times of `managedFields` back to what they were if nothing else differs between the objects.
pub fn keep_times_if_unchanged(old: &Value, new: &mut Value) {
    let (before, after) = (meta::managed_fields(old), meta::managed_fields(new));
    let time = |entry: &Value| entry.get("time").cloned();
    let pairs = || before.iter().zip(after);
    if before.len() != after.len()
        || pairs().all(|(before, after)| time(before) == time(after))
        || !pairs().all(|(before, after)| same_but(before, after, "time", |_, _| true))
    {
        return;
    }
    let without_entries = |left: &Value, right: &Value| same_but(left, right, "managedFields", |_, _| true);
    if !same_but(old, new, "metadata", without_entries) {
        return;
    }
    let entries = before.to_vec();
    meta::set_managed_fields(new, entries);
}

/// Whether two objects are equal, one field being judged on its own.
fn same_but(left: &Value, right: &Value, field: &str, judge: impl Fn(&Value, &Value) -> bool) -> bool {
    let (Value::Object(left), Value::Object(right)) = (left, right) else { return false };
    let others = |object: &'_ Map<String, Value>| object.len() - usize::from(object.contains_key(field));
    others(left) == others(right)
        && left.iter().filter(|(key, _)| *key != field).all(|(key, value)| right.get(key) == Some(value))
        && judge(left.get(field).unwrap_or(&Value::Null), right.get(field).unwrap_or(&Value::Null))
}
