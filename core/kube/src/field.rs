//! A value in a tree together with its path: what validation walks. The path is a chain on the stack and is printed only when
//! something is wrong there, so that valid objects pay for looking and for nothing else.

use std::fmt;

use triune_api::{Map, Value, field::FieldError, path::Path};

static NULL: Value = Value::Null;

/// A value, perhaps absent, and where it is. Absent reads as null.
#[derive(Clone, Copy)]
pub struct Field<'path, 'value> {
    value: &'value Value,
    path: Path<'path>,
}

impl<'path, 'value> Field<'path, 'value> {
    /// A field of a whole object, such as `spec`.
    pub fn of(object: &'value Value, names: &'path str) -> Field<'path, 'value> {
        Field { value: get(object, names), path: Path::new(names) }
    }

    /// A value known by itself under a path that is given.
    pub fn under(path: Path<'path>, value: &'value Value) -> Field<'path, 'value> {
        Field { value, path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path<'path> {
        &self.path
    }

    /// A field below; several names may be joined by dots.
    pub fn at<'a>(&'a self, names: &'a str) -> Field<'a, 'value> {
        Field { value: get(self.value, names), path: self.path.field(names) }
    }

    /// An item of a list.
    pub fn index(&self, index: usize) -> Field<'_, 'value> {
        Field { value: self.value.get(index).unwrap_or(&NULL), path: self.path.index(index) }
    }

    /// The value of a key in a map: `field[key]`.
    pub fn key<'a>(&'a self, key: &'a str) -> Field<'a, 'value> {
        Field { value: self.value.get(key).unwrap_or(&NULL), path: self.path.key(key) }
    }

    /// The items of a list.
    pub fn items<'a>(&'a self) -> impl ExactSizeIterator<Item = Field<'a, 'value>> {
        (0..self.len()).map(|index| self.index(index))
    }

    /// The entries of a map, as `field[key]`, sorted.
    pub fn entries<'a>(&'a self) -> impl Iterator<Item = (&'value str, Field<'a, 'value>)>
    where
        'value: 'a,
    {
        let entries = self.map().into_iter().flatten();
        entries.map(|(key, value)| (key.as_str(), Field { value, path: self.path.key(key) }))
    }

    /// The value; null if it is absent.
    pub fn value(&self) -> &'value Value {
        self.value
    }

    /// Whether there is something that is not null.
    pub fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// The text; "" if there is none.
    pub fn text(&self) -> &'value str {
        self.value.as_str().unwrap_or_default()
    }

    /// The integer; 0 if there is none.
    pub fn integer(&self) -> i64 {
        self.value.as_i64().unwrap_or_default()
    }

    /// The boolean; false if there is none.
    pub fn truth(&self) -> bool {
        self.value.as_bool().unwrap_or_default()
    }

    /// The map.
    pub fn map(&self) -> Option<&'value Map> {
        self.value.as_object()
    }

    /// How many items a list or entries a map has.
    pub fn len(&self) -> usize {
        match self.value {
            Value::Array(items) => items.len(),
            Value::Object(entries) => entries.len(),
            _ => 0,
        }
    }

    /// Whether there are no items or entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items of a list as texts.
    pub fn texts(&self) -> impl Iterator<Item = &'value str> + use<'value> {
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        items.iter().map(|item| item.as_str().unwrap_or_default())
    }

    /// A value must be given.
    pub fn required(&self, detail: &str) -> FieldError {
        FieldError::required(&self.to_string(), detail)
    }

    /// The value is malformed; it is shown as it is.
    pub fn invalid(&self, detail: impl Into<String>) -> FieldError {
        FieldError::invalid(&self.to_string(), self.value, detail)
    }

    /// The text is malformed; one that is absent is shown as "".
    pub fn invalid_text(&self, detail: impl Into<String>) -> FieldError {
        FieldError::invalid(&self.to_string(), &Value::from(self.text()), detail)
    }

    /// The number is malformed; one that is absent is shown as 0.
    pub fn invalid_integer(&self, detail: impl Into<String>) -> FieldError {
        FieldError::invalid(&self.to_string(), &Value::from(self.integer()), detail)
    }

    /// The field is malformed; another value is shown.
    pub fn invalid_as(&self, shown: &Value, detail: impl Into<String>) -> FieldError {
        FieldError::invalid(&self.to_string(), shown, detail)
    }

    /// The text is none of a closed set.
    pub fn not_supported(&self, supported: &[&str]) -> FieldError {
        FieldError::not_supported(&self.to_string(), &Value::from(self.text()), supported)
    }

    /// The value may occur once.
    pub fn duplicate(&self) -> FieldError {
        FieldError::duplicate(&self.to_string(), self.value)
    }

    /// The value is not permitted here.
    pub fn forbidden(&self, detail: impl Into<String>) -> FieldError {
        FieldError::forbidden(&self.to_string(), detail)
    }

    /// The text is too long.
    pub fn too_long(&self, bytes_max: usize) -> FieldError {
        FieldError::too_long(&self.to_string(), bytes_max)
    }

    /// The list is too long.
    pub fn too_many(&self, items_max: usize) -> FieldError {
        FieldError::too_many(&self.to_string(), self.len(), items_max)
    }

    /// One error of the text for each message.
    pub fn invalid_for(&self, messages: Vec<String>, errors: &mut Vec<FieldError>) {
        errors.extend(messages.into_iter().map(|message| self.invalid_text(message)));
    }

    /// A text that must be one of a few; unset is said to be required.
    pub fn required_one_of(&self, supported: &[&str], errors: &mut Vec<FieldError>) {
        match self.text() {
            "" => errors.push(self.required("")),
            _ => self.one_of(supported, errors),
        }
    }

    /// A text that must be one of a few; unset is none of them.
    pub fn one_of(&self, supported: &[&str], errors: &mut Vec<FieldError>) {
        if !supported.contains(&self.text()) {
            errors.push(self.not_supported(supported));
        }
    }

    /// A number that may not be negative.
    pub fn not_negative(&self, errors: &mut Vec<FieldError>) {
        if self.integer() < 0 {
            errors.push(self.invalid_integer("must be greater than or equal to 0"));
        }
    }

    /// That the value is what it was; null, absent, "" and empty lists and maps are the same.
    pub fn immutable(&self, old: &Value, errors: &mut Vec<FieldError>) {
        if self.value != old && !(nothing(self.value) && nothing(old)) {
            errors.push(self.invalid("field is immutable"));
        }
    }

    /// As [`Field::immutable`], for what the reference finds by the tags of the type: it does not show the value.
    pub fn fixed(&self, old: &Value, errors: &mut Vec<FieldError>) {
        if self.value != old && !(nothing(self.value) && nothing(old)) {
            errors.push(self.invalid_as(&Value::Null, "field is immutable"));
        }
    }
}

fn nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

fn get<'a>(value: &'a Value, names: &str) -> &'a Value {
    names.split('.').try_fold(value, |value, name| value.get(name)).unwrap_or(&NULL)
}

/// `spec.ports[0].name`, `data[key]`
impl fmt::Display for Field<'_, '_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_follow_values() {
        let object = json!({"spec": {"ports": [{"name": "a"}, {"name": "b"}], "limits": {"x": 1}}});
        let spec = Field::of(&object, "spec");
        let names: Vec<String> =
            spec.at("ports").items().map(|port| format!("{}={}", port.at("name"), port.at("name").text())).collect();
        assert_eq!(names, ["spec.ports[0].name=a", "spec.ports[1].name=b"]);
        let limits = spec.at("limits");
        let entries: Vec<String> = limits.entries().map(|(key, at)| format!("{key} {at} {}", at.integer())).collect();
        assert_eq!(entries, ["x spec.limits[x] 1"]);
        assert_eq!(spec.at("a.b").required("").to_string(), "spec.a.b: Required value");
        assert_eq!(spec.at("a").invalid_text("bad").to_string(), r#"spec.a: Invalid value: "": bad"#);
        assert_eq!(spec.at("ports").index(7).value(), &Value::Null);
    }

    #[test]
    fn nothing_is_nothing_whatever_its_form() {
        let check = |old: Value, new: Value, changed: bool| {
            let mut errors = Vec::new();
            Field::under(Path::new("x"), &new).immutable(&old, &mut errors);
            assert_eq!(!errors.is_empty(), changed, "{old} {new}");
        };
        check(json!(null), json!([]), false);
        check(json!("a"), json!("a"), false);
        check(json!("a"), json!(null), true);
        check(json!(false), json!(null), true);
    }
}
