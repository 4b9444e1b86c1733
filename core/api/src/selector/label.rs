//! Label selectors: `app=web,tier in (a,b),!old`, or the objects with `matchLabels` and `matchExpressions`.

use std::{collections::BTreeMap, fmt};

use serde_json::json;

use super::{SelectorError, check_length, label_parser};
use crate::{Value, field::FieldError, validation};

/// A label selector; the default selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    /// Sorted by key.
    requirements: Vec<LabelRequirement>,
    /// Selects nothing, whatever the requirements.
    nothing: bool,
}

/// What is asked of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// `=`
    Equals,
    /// `==`
    DoubleEquals,
    /// `!=`
    NotEquals,
    /// `in`
    In,
    /// `notin`
    NotIn,
    /// The key alone.
    Exists,
    /// `!` before the key.
    DoesNotExist,
    /// `>`, of integers.
    GreaterThan,
    /// `<`, of integers.
    LessThan,
}

/// One term of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRequirement {
    key: String,
    operator: Operator,
    /// Sorted.
    values: Vec<String>,
}

impl LabelSelector {
    /// Reads a selector.
    pub fn parse(text: &str) -> Result<LabelSelector, SelectorError> {
        check_length(text)?;
        Ok(LabelSelector::of(label_parser::parse(text)?))
    }

    /// Selects everything.
    pub fn everything() -> LabelSelector {
        LabelSelector::default()
    }

    /// Selects nothing.
    pub fn nothing() -> LabelSelector {
        LabelSelector { requirements: Vec::new(), nothing: true }
    }

    /// Of requirements, all of which must hold.
    pub fn of(mut requirements: Vec<LabelRequirement>) -> LabelSelector {
        requirements.sort_by(|left, right| left.key.cmp(&right.key));
        LabelSelector { requirements, nothing: false }
    }

    /// From a `LabelSelector` object (`matchLabels`, `matchExpressions`). An absent one selects nothing, an empty one
    /// everything.
    pub fn from_object(object: Option<&Value>) -> Result<LabelSelector, SelectorError> {
        let Some(object) = object.filter(|object| !object.is_null()) else { return Ok(LabelSelector::nothing()) };
        let mut requirements = Vec::new();
        for (key, value) in object.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_string();
            requirements.push(LabelRequirement::new(key, Operator::Equals, vec![value])?);
        }
        for expression in object.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            requirements.push(LabelRequirement::from_expression(expression)?);
        }
        Ok(LabelSelector::of(requirements))
    }

    /// From a plain map of labels (services, replication controllers), without validation. An empty map selects
    /// everything.
    pub fn from_map<K: Into<String>, V: Into<String>>(map: impl IntoIterator<Item = (K, V)>) -> LabelSelector {
        let of_pair = |(key, value): (K, V)| LabelRequirement {
            key: key.into(),
            operator: Operator::Equals,
            values: vec![value.into()],
        };
        LabelSelector::of(map.into_iter().map(of_pair).collect())
    }

    /// The terms, all of which must hold, sorted by key.
    pub fn requirements(&self) -> &[LabelRequirement] {
        &self.requirements
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_with(|key| labels.get(key).map(String::as_str))
    }

    /// As [`LabelSelector::matches`], over whatever can look up a label.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|requirement| requirement.matches(label(&requirement.key)))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                formatter.write_str(",")?;
            }
            requirement.fmt(formatter)?;
        }
        Ok(())
    }
}

impl LabelRequirement {
    /// Checks key, number of values and values as the reference does.
    pub fn new(key: &str, operator: Operator, mut values: Vec<String>) -> Result<LabelRequirement, SelectorError> {
        let mut errors: Vec<FieldError> = Vec::new();
        let key_errors = validation::qualified_name(key);
        if !key_errors.is_empty() {
            errors.push(FieldError::invalid("key", &json!(key), key_errors.join("; ")));
        }
        let one = values.len() == 1;
        let complaint = match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                "for 'in', 'notin' operators, values set can't be empty"
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if !one => {
                "exact-match compatibility requires one single value"
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                "values set must be empty for exists and does not exist"
            }
            Operator::GreaterThan | Operator::LessThan if !one => {
                "for 'Gt', 'Lt' operators, exactly one value is required"
            }
            _ => "",
        };
        if !complaint.is_empty() {
            errors.push(FieldError::invalid("values", &json!(values), complaint));
        }
        for (index, value) in values.iter().enumerate() {
            if matches!(operator, Operator::GreaterThan | Operator::LessThan) && value.parse::<i64>().is_err() {
                let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                errors.push(FieldError::invalid(&format!("values[{index}]"), &json!(value), detail));
            }
        }
        for (index, value) in values.iter().enumerate() {
            let value_errors = validation::label_value(value);
            if !value_errors.is_empty() {
                let path = format!("values[{index}][{key}]");
                errors.push(FieldError::invalid(&path, &json!(value), value_errors.join("; ")));
            }
        }
        if errors.is_empty() {
            values.sort_unstable();
            return Ok(LabelRequirement { key: key.into(), operator, values });
        }
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Err(SelectorError(if let [one] = texts.as_slice() { one.clone() } else { format!("[{}]", texts.join(", ")) }))
    }

    fn from_expression(expression: &Value) -> Result<LabelRequirement, SelectorError> {
        let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
        let operator = match text("operator") {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => return Err(SelectorError(format!("{other:?} is not a valid label selector operator"))),
        };
        let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
        let values = values.map(|value| value.as_str().unwrap_or_default().to_string()).collect();
        LabelRequirement::new(text("key"), operator, values)
    }

    /// The label's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is asked of it.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// Sorted.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    fn matches(&self, label: Option<&str>) -> bool {
        let among = |value: &str| self.values.binary_search_by(|candidate| candidate.as_str().cmp(value)).is_ok();
        let number = |text: &str| text.parse::<i64>().ok();
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => label.is_some_and(among),
            Operator::NotIn | Operator::NotEquals => !label.is_some_and(among),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let wanted = self.values.first().and_then(|value| number(value));
                match (label.and_then(number), wanted) {
                    (Some(label), Some(wanted)) if self.operator == Operator::GreaterThan => label > wanted,
                    (Some(label), Some(wanted)) => label < wanted,
                    _ => false,
                }
            }
        }
    }
}

impl fmt::Display for LabelRequirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            Operator::Equals => write!(formatter, "{key}={values}"),
            Operator::DoubleEquals => write!(formatter, "{key}=={values}"),
            Operator::NotEquals => write!(formatter, "{key}!={values}"),
            Operator::In => write!(formatter, "{key} in ({values})"),
            Operator::NotIn => write!(formatter, "{key} notin ({values})"),
            Operator::Exists => formatter.write_str(key),
            Operator::DoesNotExist => write!(formatter, "!{key}"),
            Operator::GreaterThan => write!(formatter, "{key}>{values}"),
            Operator::LessThan => write!(formatter, "{key}<{values}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect()
    }

    #[test]
    fn matches_labels() {
        let object = labels(&[("app", "web"), ("n", "5"), ("empty", "")]);
        let check = |text: &str, expect: bool| {
            assert_eq!(LabelSelector::parse(text).unwrap().matches(&object), expect, "{text}");
        };
        check("", true);
        check("app=web", true);
        check("app==web", true);
        check("app!=web", false);
        check("gone!=web", true);
        check("gone=", false);
        check("empty=", true);
        check("app in (a,web)", true);
        check("app in (a,b)", false);
        check("app notin (a,b)", true);
        check("gone notin (a)", true);
        check("app", true);
        check("!app", false);
        check("!gone", true);
        check("n>4,n<6", true);
        check("n>5", false);
        check("app>1", false);
        check("gone<1", false);
        check("app=web,gone", false);
    }

    #[test]
    fn objects_become_selectors() {
        let check = |object: Value, expect: &str| {
            let got = LabelSelector::from_object(Some(&object));
            assert_eq!(got.map_or_else(|error| error.to_string(), |found| found.to_string()), expect, "{object}");
        };
        check(json!({}), "");
        check(json!({"matchLabels": {"b": "1", "a": "2"}}), "a=2,b=1");
        let expressions = json!({"matchLabels": {"z": "1"}, "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["y", "x"]}, {"key": "b", "operator": "DoesNotExist"},
            {"key": "c", "operator": "NotIn", "values": ["x"]}, {"key": "d", "operator": "Exists", "values": []}]});
        check(expressions, "a in (x,y),!b,c notin (x),d,z=1");
        check(
            json!({"matchExpressions": [{"key": "a", "operator": "in"}]}),
            r#""in" is not a valid label selector operator"#,
        );
        check(
            json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
        );
        assert!(!LabelSelector::from_object(None).unwrap().matches(&labels(&[])));
        assert!(!LabelSelector::nothing().is_empty());
        assert_eq!(LabelSelector::from_map([("b", "1"), ("a", "2")]).to_string(), "a=2,b=1");
    }
}
