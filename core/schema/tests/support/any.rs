//! Objects of any type, drawn from the facts: every field of a type comes up, in values that are at the edge of what its
//! shape holds.

use serde_json::{Map, Value, json};
use triune_schema::{
    Facts, TypeRef,
    facts::{Field, Kind, ShapeIndex},
};

/// Structs nest this deep at most; below there are only scalars.
const DEPTH_MAX: usize = 7;

/// Draws numbers: SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    /// Less than `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ mixed >> 31) % bound as u64) as usize
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// An object of a type in normal form, without `apiVersion` and `kind`.
pub fn any_object(declared: &TypeRef, dice: &mut Dice) -> Value {
    let mut object = any_struct(&declared.facts, declared.index, dice, 0);
    if let Some(map) = object.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
    }
    declared.normalise(&mut object);
    object
}

fn any_struct(facts: &Facts, index: u32, dice: &mut Dice, depth: usize) -> Value {
    let declared = facts.get(index);
    let fields: Vec<&Field> = facts.json_fields(declared).collect();
    let mut object = Map::new();
    for field in fields {
        // Kinds within others have a type in JSON only.
        if declared.is_kind && matches!(&*field.name, "apiVersion" | "kind") {
            continue;
        }
        // Wide types are filled less, so that objects stay small.
        if (dice.below(10) < 4 || depth < 2)
            && let Some(value) = any_value(facts, field.shape, dice, depth)
        {
            object.insert(field.name.to_string(), value);
        }
    }
    Value::Object(object)
}

fn any_value(facts: &Facts, shape: ShapeIndex, dice: &mut Dice, depth: usize) -> Option<Value> {
    let texts = ["", "a", "kube-system", "x: y # z", "\"q\" \\ /\n\t", "é😀\u{1}\u{7f}", "null", "1", "true", " ~"];
    Some(match facts.pointee(shape).0.kind {
        Kind::String => json!(dice.of(&texts)),
        Kind::Bool => json!(dice.below(2) == 1),
        Kind::Integer(32) => json!(dice.of(&[0, 1, -1, 127, 128, i32::MAX, i32::MIN])),
        Kind::Integer(64) => json!(dice.of(&[0, 1, -1, 16_383, 16_384, i64::MAX, i64::MIN])),
        Kind::Integer(_) => json!(dice.below(100)),
        Kind::Float => json!(dice.of(&[0.5, -2.25, 1e21])),
        Kind::Bytes => json!(dice.of(&["", "AA==", "AQID", "//79"])),
        Kind::Quantity => json!(dice.of(&["0", "100m", "1Gi", "1500m", "0.5", "12e6", "-3"])),
        Kind::IntOrString => dice.of(&[json!(0), json!(-7), json!(i32::MAX), json!(""), json!("50%")]),
        Kind::Time => dice.of(&[json!(null), json!("2026-11-24T08:00:00Z"), json!("1969-12-31T23:59:59Z")]),
        Kind::MicroTime => dice.of(&[json!(null), json!("2026-11-24T08:00:00.000001Z")]),
        Kind::Raw => dice.of(&[json!({}), json!({"f:a": {".": {}}, "b": [1, null, "é\n", 1.5]}), json!({"kind": "X"})]),
        _ if depth >= DEPTH_MAX => return None,
        Kind::SchemaOrBool(index) => {
            let schema = any_struct(facts, index, dice, depth + 1);
            dice.of(&[json!(true), json!(false), schema])
        }
        Kind::SchemaOrArray(index) => {
            let schema = any_struct(facts, index, dice, depth + 1);
            dice.of(&[schema.clone(), json!([schema])])
        }
        Kind::SchemaOrStrings(index) => {
            let schema = any_struct(facts, index, dice, depth + 1);
            dice.of(&[json!(["a", ""]), schema])
        }
        Kind::Struct(index) => any_struct(facts, index, dice, depth + 1),
        // Protobuf does not tell an empty list or map from none.
        Kind::List(items) => {
            let count = 1 + dice.below(2);
            Value::Array((0..count).map(|_| any_value(facts, items, dice, depth + 1)).collect::<Option<Vec<Value>>>()?)
        }
        Kind::Map(values) => {
            let count = 1 + dice.below(2);
            let key = |dice: &mut Dice| dice.of(&["a", "b.example/c", "é"]).to_string();
            let entries = (0..count).map(|_| Some((key(dice), any_value(facts, values, dice, depth + 1)?)));
            Value::Object(entries.collect::<Option<Map<String, Value>>>()?)
        }
        Kind::Any | Kind::Pointer(_) => return None,
    })
}
