//! Mutated samples, decoded, normalised and patched by the reference's own code (`tools/facts/oracle`) and by ours.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use serde_json::{Map, Value, json};
use triune_schema::{Facts, TypeRef};

use super::{difference, facts, json_files, module_folder, samples::kind_of};

/// A small generator of numbers: the same ones in each run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Dice {
        Dice(0x9E37_79B9_7F4A_7C15)
    }
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
    pub(crate) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) declared: TypeRef,
    pub(crate) object: Value,
    /// A patch, or under `modified` what the object is changed to, and so on.
    pub(crate) more: Option<(&'static str, Value)>,
}

pub(crate) fn cases(
    facts: &Arc<Facts>,
    mut change: impl FnMut(&mut Dice, &Value) -> (Value, Option<(&'static str, Value)>),
    rounds: usize,
) -> Vec<Case> {
    let mut dice = Dice::new();
    let mut cases = Vec::new();
    for (name, sample) in json_files(module_folder("k8s.io/api@v0.37.2").join("testdata/HEAD")) {
        let declared = facts.type_of(&kind_of(&name)).unwrap();
        for _ in 0..rounds {
            let (object, more) = change(&mut dice, &sample);
            cases.push(Case { name: name.clone(), declared: declared.clone(), object, more });
        }
    }
    cases
}

pub(crate) fn ask(cases: &[Case]) -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/facts");
    let mut oracle = Command::new("go")
        .args(["run", "./oracle"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test asks the reference's code with Go's help: {error}"));
    let mut questions = Vec::new();
    for case in cases {
        let gvk = kind_of(&case.name);
        let mut question =
            json!({"group": *gvk.group, "version": *gvk.version, "kind": *gvk.kind, "object": case.object});
        if let Some((name, value)) = &case.more {
            question[*name] = value.clone();
        }
        serde_json::to_writer(&mut questions, &question).unwrap();
        questions.push(b'\n');
    }
    let mut input = oracle.stdin.take().unwrap();
    let writer = thread::spawn(move || input.write_all(&questions).unwrap());
    let output = oracle.wait_with_output().unwrap();
    writer.join().unwrap();
    let answers: Vec<Value> =
        String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), cases.len(), "an answer to each question");
    answers
}

#[test]
fn mutants_decode_alike() {
    let facts = facts();
    let cases_of = |wild| cases(&facts, |dice, sample| (mutated(dice, sample, 30, wild), None), 8);
    let mut cases = cases_of(true);
    cases.extend(cases_of(false));
    let (mut refused, mut different) = (0, Vec::new());
    for (case, theirs) in cases.iter().zip(ask(&cases)) {
        let ours = decode(&case.declared, &case.object);
        refused += usize::from(theirs.get("error").is_some());
        if let Some(difference) = difference("", &theirs, &ours) {
            different.push(format!("{}{difference}", case.name));
        }
    }
    println!("{} mutants decode alike, {refused} of them are refused", cases.len() - different.len());
    assert_eq!(different, Vec::<String>::new());
    assert!(refused > 500 && refused < cases.len() * 2 / 3);
}

fn decode(declared: &TypeRef, object: &Value) -> Value {
    if let Err(error) = declared.check_types(object) {
        return json!({ "error": error });
    }
    let mut normal = object.clone();
    declared.normalise(&mut normal);
    let mut answer = json!({ "object": normal });
    let unknown = declared.unknown_fields(object);
    if !unknown.is_empty() {
        answer["unknown"] = unknown.into();
    }
    answer
}

#[test]
fn patches_merge_alike() {
    let facts = facts();
    let change = |dice: &mut Dice, sample: &Value| {
        let original = multiplied(dice, sample);
        let patch = patched(dice, &original, 12);
        (original, Some(("patch", patch)))
    };
    let cases = cases(&facts, change, 12);
    let (mut refused, mut different, mut panicked, mut other_words) = (0, Vec::new(), 0, 0);
    for (case, theirs) in cases.iter().zip(ask(&cases)) {
        let (original, patch) = (case.object.clone(), case.more.clone().unwrap().1);
        let ours = match case.declared.strategic_merge(original, patch) {
            Ok(merged) => json!({ "object": merged }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        let error = theirs["error"].as_str().unwrap_or_default();
        refused += usize::from(!error.is_empty());
        if error.starts_with("panic") {
            panicked += 1;
        } else if !error.is_empty() && ours["error"].is_string() {
            // Of several errors the reference reports the one that Go's map gives it first.
            other_words += usize::from(ours["error"] != theirs["error"]);
        } else if let Some(difference) = difference("", &theirs, &ours) {
            different.push(format!("{}{difference}\n patch {}\n", case.name, case.more.as_ref().unwrap().1));
        }
    }
    println!(
        "{} patches merge alike, {refused} are refused, {panicked} make the reference panic",
        cases.len() - different.len()
    );
    assert_eq!(different, Vec::<String>::new());
    assert!(refused > 100 && refused < cases.len() / 2 && other_words < refused / 20);
}

/// Patches as kubectl makes them, between a sample and another with items changed, moved, added and removed.
#[test]
fn diffs_merge_alike() {
    let facts = facts();
    let change = |dice: &mut Dice, sample: &Value| {
        let (original, other) = (multiplied(dice, sample), multiplied(dice, sample));
        let mut modified = mutated(dice, &other, 60, false);
        shuffle(dice, &mut modified);
        (original, Some(("modified", modified)))
    };
    let cases = cases(&facts, change, 6);
    let (mut merged, mut reached, mut different) = (0, 0, Vec::new());
    for (case, theirs) in cases.iter().zip(ask(&cases)) {
        let Some(expected) = theirs.get("object") else { continue };
        let ours = case.declared.strategic_merge(case.object.clone(), theirs["patch"].clone());
        let ours = ours.unwrap_or_else(|error| json!(error.to_string()));
        merged += 1;
        reached += usize::from(*expected == case.more.as_ref().unwrap().1);
        if let Some(difference) = difference("", expected, &ours) {
            different.push(format!("{}{difference}\n patch {}\n", case.name, theirs["patch"]));
        }
    }
    println!("{merged} of {} diffs merge alike, {reached} of them to what was diffed", cases.len());
    assert_eq!(different, Vec::<String>::new());
    assert!(merged > cases.len() / 2 && reached > merged / 2);
}

/// Swaps neighbours in lists here and there.
pub(crate) fn shuffle(dice: &mut Dice, value: &mut Value) {
    match value {
        Value::Object(object) => object.values_mut().for_each(|value| shuffle(dice, value)),
        Value::Array(items) => {
            if items.len() > 1 && dice.one_in(2) {
                let at = dice.below(items.len() - 1);
                items.swap(at, at + 1);
            }
            items.iter_mut().for_each(|item| shuffle(dice, item));
        }
        _ => {}
    }
}

/// A copy in which about one value in `chances` is another, of any type or (not wild) an empty one of its own.
pub(crate) fn mutated(dice: &mut Dice, value: &Value, chances: usize, wild: bool) -> Value {
    if dice.one_in(chances) && !wild {
        let empty = match value {
            Value::Object(_) => json!({}),
            Value::Array(_) => json!([]),
            Value::String(text) if text.contains('-') || text.len() < 3 => return value.clone(),
            Value::String(_) => json!(""),
            Value::Number(_) => json!(0),
            other => json!(*other == true),
        };
        return if dice.one_in(2) { empty } else { Value::Null };
    }
    if dice.one_in(chances) && wild {
        let others = [
            json!(null),
            json!(null),
            json!({}),
            json!([]),
            json!(""),
            json!(0),
            json!(false),
            json!("x"),
            json!(1.5),
            json!(true),
            json!(3_000_000_000_i64),
            json!([null]),
            json!({"a": null}),
            json!("1500m"),
            json!("2026-01-02T03:04:05.6+01:00"),
        ];
        return others[dice.below(others.len())].clone();
    }
    match value {
        Value::Object(object) => {
            let mut copy = Map::new();
            for (key, value) in object {
                if !dice.one_in(chances / 2) {
                    copy.insert(key.clone(), mutated(dice, value, chances, wild));
                }
            }
            if dice.one_in(chances) {
                copy.insert("extra".into(), json!({"a": 1}));
            }
            Value::Object(copy)
        }
        Value::Array(items) => items.iter().map(|item| mutated(dice, item, chances, wild)).collect(),
        scalar => scalar.clone(),
    }
}

/// A copy whose lists have up to three items, alike but for their texts and numbers.
pub(crate) fn multiplied(dice: &mut Dice, value: &Value) -> Value {
    match value {
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), multiplied(dice, value))).collect(),
        Value::Array(items) => {
            let mut copies = Vec::new();
            for item in items {
                let item = multiplied(dice, item);
                for number in 0..=dice.below(3) {
                    copies.push(varied(&item, number));
                }
            }
            Value::Array(copies)
        }
        scalar => scalar.clone(),
    }
}

fn varied(value: &Value, number: usize) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| {
                (key.clone(), if value.is_object() || value.is_array() { value.clone() } else { varied(value, number) })
            })
            .collect(),
        Value::String(text) if number > 0 => format!("{text}{number}").into(),
        Value::Number(text) if number > 0 && text.is_i64() => {
            json!(text.as_i64().unwrap() + i64::try_from(number).unwrap())
        }
        other => other.clone(),
    }
}

/// A patch for a value: parts of it, changed, with directives.
fn patched(dice: &mut Dice, value: &Value, chances: usize) -> Value {
    match value {
        Value::Object(object) => {
            let mut patch = Map::new();
            for (key, value) in object {
                let kept = dice.below(8);
                match (kept, value) {
                    (0, _) => drop(patch.insert(key.clone(), Value::Null)),
                    (1 | 2, _) => {
                        patch.insert(key.clone(), patched(dice, value, chances));
                        if let (Value::Array(items), true) = (value, dice.one_in(4)) {
                            patch.insert(format!("$setElementOrder/{key}"), ordered(dice, &patch[key], items));
                        }
                    }
                    (3, Value::Array(items)) if items.iter().all(Value::is_string) => {
                        let deleted: Vec<Value> = items.iter().filter(|_| dice.one_in(2)).cloned().collect();
                        patch.insert(format!("$deleteFromPrimitiveList/{key}"), deleted.into());
                    }
                    (3, Value::Object(_)) => drop(patch.insert(key.clone(), patched(dice, value, chances))),
                    _ => {}
                }
            }
            if dice.one_in(chances) {
                let directives = ["replace", "delete", "twist"];
                patch.insert("$patch".into(), directives[dice.below(3)].into());
            } else if dice.one_in(chances) {
                let mut kept: Vec<&String> = object.keys().filter(|_| dice.one_in(2)).collect();
                kept.extend(patch.keys().filter(|key| !key.starts_with('$')));
                patch.insert("$retainKeys".into(), json!(kept));
            }
            Value::Object(patch)
        }
        Value::Array(items) => {
            let mut patch: Vec<Value> = Vec::new();
            for item in items {
                if let Value::Object(object) = item {
                    let mut part = patched(dice, item, chances);
                    // The first scalars tend to be the merge key: keep them as they are.
                    for (key, value) in object.iter().filter(|(_, value)| !value.is_object() && !value.is_array()) {
                        if dice.below(20) > 0 {
                            part[key] = value.clone();
                        }
                    }
                    patch.push(part);
                } else if dice.one_in(2) {
                    patch.push(item.clone());
                }
            }
            patch.extend(dice.one_in(3).then(|| items.first().map(|item| varied(item, 7))).flatten());
            if dice.one_in(3) && patch.len() > 1 {
                patch.swap(0, 1);
            }
            Value::Array(patch)
        }
        scalar => varied(scalar, dice.below(3)),
    }
}

/// An order of the items of a patch and of the original.
fn ordered(dice: &mut Dice, patch: &Value, original: &[Value]) -> Value {
    let mut order: Vec<Value> = patch.as_array().cloned().unwrap_or_default();
    let more: Vec<Value> = original.iter().filter(|item| !order.contains(item) && dice.one_in(2)).cloned().collect();
    for item in more {
        let at = dice.below(order.len() + 1);
        order.insert(at, item);
    }
    let plain = |item: &Value| match item {
        Value::Object(object) => object
            .iter()
            .filter(|(_, value)| !value.is_object() && !value.is_array())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        scalar => scalar.clone(),
    };
    order.iter().map(plain).collect()
}
