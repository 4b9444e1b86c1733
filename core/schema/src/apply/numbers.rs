//! What becomes of the numbers of a merged configuration when the reference makes Go's structs of it: whole floats turn
//! into integers, and integers that do not fit lose their upper bits.

use serde_json::{Number, Value};

use crate::{
    TypeRef,
    facts::{Facts, Kind, ShapeIndex},
    walk::cursor,
};

/// Makes the numbers of an object fit its type.
///
/// # Errors
/// Fractions where the type has integers, in the reference's words.
pub(super) fn fit(declared: &TypeRef, object: &mut Value) -> Result<(), String> {
    fit_struct(&declared.facts, declared.index, object)
}

fn fit_struct(facts: &Facts, index: u32, value: &mut Value) -> Result<(), String> {
    let Value::Object(object) = value else { return Ok(()) };
    let mut fields = cursor(facts, facts.get(index));
    for (name, value) in object {
        if let Some(field) = fields.seek(name, |_| ()) {
            fit_shape(facts, field.shape, value)?;
        }
    }
    Ok(())
}

fn fit_shape(facts: &Facts, shape: ShapeIndex, value: &mut Value) -> Result<(), String> {
    let (pointee, _) = facts.pointee(shape);
    match (pointee.kind, value) {
        (Kind::Struct(index), value) => fit_struct(facts, index, value),
        (Kind::List(items), Value::Array(list)) => list.iter_mut().try_for_each(|item| fit_shape(facts, items, item)),
        (Kind::Map(values), Value::Object(map)) => {
            map.values_mut().try_for_each(|value| fit_shape(facts, values, value))
        }
        (Kind::Integer(bits), Value::Number(number)) => {
            let fitting =
                fit_integer(number, bits).ok_or_else(|| format!("cannot convert float64 to {}", pointee.go_type))?;
            *number = fitting;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// None if it has a fraction.
#[allow(clippy::cast_possible_truncation, reason = "what does not fit loses its upper bits")]
fn fit_integer(number: &Number, bits: u8) -> Option<Number> {
    let integer = match (number.as_i64(), number.as_f64()) {
        (Some(integer), _) => integer,
        (None, Some(float)) if float.trunc() == float => float as i64,
        _ => return None,
    };
    Some(
        match bits {
            8 => i64::from(integer as i8),
            16 => i64::from(integer as i16),
            32 => i64::from(integer as i32),
            _ => integer,
        }
        .into(),
    )
}
