//! What the reference's libraries make of made-up inputs (`reference.jsonl`, written by `tools/api-cases`), compared with
//! what this crate makes of them. Each kind is a test of its own.

use triune_api::{Value, decode, patch, quantity::Quantity, selector, time, validation};

fn check(kind: &str, ours: fn(&Value) -> String) {
    let (mut cases, mut wrong) = (0, Vec::new());
    for line in include_str!("reference.jsonl").lines() {
        let case: Value = serde_json::from_str(line).expect("a line is a case");
        if case["kind"] == kind {
            cases += 1;
            let (input, expect) = (&case["input"], case["output"].as_str().expect("text"));
            let got = ours(input);
            if got != expect {
                wrong.push(format!("{input}\n  reference: {expect}\n  ours:      {got}"));
            }
        }
    }
    assert!(cases >= 50, "{kind} has {cases} cases");
    assert!(wrong.is_empty(), "{kind}: {} of {cases} differ\n{}", wrong.len(), wrong.join("\n"));
}

fn text(input: &Value) -> &str {
    input.as_str().expect("an input that is text")
}

fn printed<T, E: std::fmt::Display>(outcome: Result<T, E>, print: impl Fn(T) -> String) -> String {
    outcome.map_or_else(|error| format!("error: {error}"), print)
}

#[test]
fn quantities() {
    check("quantity", |input| {
        printed(Quantity::parse(text(input)), |quantity| format!("{quantity} {}", quantity.canonical()))
    });
}

#[test]
fn label_selectors() {
    check("label selector", |input| {
        printed(selector::LabelSelector::parse(text(input)), |selector| selector.to_string())
    });
}

#[test]
fn field_selectors() {
    check("field selector", |input| {
        printed(selector::FieldSelector::parse(text(input)), |selector| selector.to_string())
    });
}

#[test]
fn json() {
    check("json", |input| printed(decode::json(text(input).as_bytes()), |_| "fine".into()));
}

#[test]
fn yaml_scalars() {
    check("yaml scalar", |input| {
        decode::yaml(format!("a: {}", text(input)).as_bytes()).map_or("error".into(), |value| value.to_string())
    });
}

#[test]
fn names() {
    check("name", |input| {
        let name = text(input);
        let checks = [
            validation::dns_subdomain(name),
            validation::dns_label(name),
            validation::dns_1035_label(name),
            validation::qualified_name(name),
            validation::label_value(name),
        ];
        checks.map(|errors| errors.join("; ")).join(" | ")
    });
}

#[test]
fn durations() {
    check("duration", |input| time::human_duration(input.as_i64().expect("seconds")));
}

#[test]
fn json_patches() {
    check("json patch", |input| {
        let patch = patch::JsonPatch::parse(input[1].to_string().as_bytes());
        printed(patch.and_then(|patch| patch.apply(input[0].clone())), |value| value.to_string())
    });
}

#[test]
fn merge_patches() {
    check("merge patch", |input| {
        let patch = patch::parse_merge(input[1].to_string().as_bytes());
        printed(patch, |patch| patch::merge(input[0].clone(), patch.value).to_string())
    });
}
