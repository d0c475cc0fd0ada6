//! One step over many items.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::expression::{Expression, Scope, shown};
use super::{Invalid, check_name};

/// The most axes of a product.
const MAX_AXES: usize = 8;

/// The most bytes that the items of one matrix may have together, as JSON: they are a part of the run's record.
const MAX_ITEM_BYTES: usize = 256 << 10;

/// What a step fans out over: each item makes a step of its own, with the policy of the step that has the matrix. Their
/// results are gathered in the order of the items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// A list, whose elements are the items; or an object of lists, whose product is the items: each an object with one
    /// value for every key, the key that sorts last varying fastest. Instead of a list there may be a text: a CEL
    /// expression whose value is one, such as `results.scan.data.files`.
    pub over: Value,
    /// How many items may be under way at one time. Default no limit but the one on the number of items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<usize>,
}

/// A list as the pipeline gives it.
enum Source<'a> {
    Items(&'a [Value]),
    Expression(&'a str),
}

impl Matrix {
    /// Checks its shape and compiles its expressions.
    ///
    /// # Errors
    /// The first field that is wrong, by its path below `path`.
    pub fn validate(&self, path: &str) -> Result<(), Invalid> {
        if self.max_parallel == Some(0) {
            return Err(Invalid::field(format!("{path}.max_parallel"), "0 items at one time: 1 is the least"));
        }
        if let Value::Object(axes) = &self.over {
            if axes.is_empty() || axes.len() > MAX_AXES {
                let problem = format!("{} axes: 1 to {MAX_AXES} are possible", axes.len());
                return Err(Invalid::field(format!("{path}.over"), problem));
            }
            for (name, list) in axes {
                check_name(&format!("{path}.over.{name}"), name)?;
                check_source(&format!("{path}.over.{name}"), list)?;
            }
            return Ok(());
        }
        check_source(&format!("{path}.over"), &self.over)
    }

    /// Its expressions.
    pub fn expressions(&self) -> impl Iterator<Item = &str> {
        let lists: Vec<&Value> = match &self.over {
            Value::Object(axes) => axes.values().collect(),
            list => vec![list],
        };
        lists.into_iter().filter_map(Value::as_str)
    }

    /// The ids of steps whose results its expressions name.
    #[must_use]
    pub fn steps(&self) -> BTreeSet<String> {
        self.expressions().filter_map(|text| Some(Expression::compile(text).ok()?.steps())).flatten().collect()
    }

    /// The items, at most `most` of them.
    ///
    /// # Errors
    /// For people: an expression has no value or none that is a list, or there are too many or too large items.
    pub fn items(&self, scope: &Scope<'_>, most: usize) -> Result<Vec<Value>, String> {
        let too_many = |count: usize| format!("matrix: {count} items, {most} is the most (engine.fan_out)");
        let items = match &self.over {
            Value::Object(axes) => {
                let lists: Result<BTreeMap<&str, Vec<Value>>, String> =
                    axes.iter().map(|(name, list)| Ok((name.as_str(), list_of(list, scope)?))).collect();
                let lists = lists?;
                let count = lists.values().try_fold(1_usize, |count, list| count.checked_mul(list.len()));
                if count.is_none_or(|count| count > most) {
                    return Err(too_many(count.unwrap_or(usize::MAX)));
                }
                product(&lists)
            }
            list => list_of(list, scope)?,
        };
        if items.len() > most {
            return Err(too_many(items.len()));
        }
        let bytes: usize = items.iter().map(|item| item.to_string().len()).sum();
        if bytes > MAX_ITEM_BYTES {
            return Err(format!("matrix: the items have {bytes} bytes, {MAX_ITEM_BYTES} is the most"));
        }
        Ok(items)
    }
}

fn check_source(path: &str, list: &Value) -> Result<(), Invalid> {
    match source(list) {
        Some(Source::Items(_)) => Ok(()),
        Some(Source::Expression(text)) => {
            Expression::compile(text).map(drop).map_err(|error| Invalid::field(path, error.to_string()))
        }
        None => Err(Invalid::field(path, format!("{} is neither a list nor a CEL expression", shown(list)))),
    }
}

fn source(list: &Value) -> Option<Source<'_>> {
    match list {
        Value::Array(items) => Some(Source::Items(items)),
        Value::String(text) => Some(Source::Expression(text)),
        _ => None,
    }
}

fn list_of(list: &Value, scope: &Scope<'_>) -> Result<Vec<Value>, String> {
    match source(list) {
        Some(Source::Items(items)) => Ok(items.to_vec()),
        Some(Source::Expression(text)) => {
            let value = Expression::compile(text).and_then(|expression| expression.evaluate(scope));
            match value.map_err(|error| format!("matrix: {error}"))? {
                Value::Array(items) => Ok(items),
                other => Err(format!("matrix: the value of expression `{text}` is no list, but {}", shown(&other))),
            }
        }
        None => Err(format!("matrix: {} is neither a list nor an expression", shown(list))),
    }
}

fn product(lists: &BTreeMap<&str, Vec<Value>>) -> Vec<Value> {
    let mut items = vec![json!({})];
    for (name, list) in lists {
        let with = |item: &Value, value: &Value| {
            let mut item = item.clone();
            if let Some(fields) = item.as_object_mut() {
                fields.insert((*name).to_owned(), value.clone());
            }
            item
        };
        items = items.iter().flat_map(|item| list.iter().map(|value| with(item, value))).collect();
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Resource, SharedContext};

    fn items(over: Value, most: usize) -> Result<Vec<Value>, String> {
        let matrix = Matrix { over, max_parallel: None };
        matrix.validate("m").map_err(|error| error.to_string())?;
        let resource = Resource::new("app", "shop", json!({ "files": ["x", "y"] }));
        let shared = SharedContext::default();
        matrix.items(&Scope { resource: &resource, event: "create", shared: &shared }, most)
    }

    #[test]
    fn items_are_a_list_or_a_product_literal_or_from_an_expression() {
        assert_eq!(items(json!([1, "b"]), 9), Ok(vec![json!(1), json!("b")]));
        assert_eq!(items(json!("resource.spec.files"), 9), Ok(vec![json!("x"), json!("y")]));
        let product = items(json!({ "os": "resource.spec.files", "arch": [1, 2] }), 9).unwrap();
        let expected = [(1, "x"), (1, "y"), (2, "x"), (2, "y")];
        assert_eq!(product, expected.map(|(arch, os)| json!({ "arch": arch, "os": os })));
        assert_eq!(items(json!([]), 9), Ok(vec![]));
    }

    #[test]
    fn what_cannot_be_items_is_named() {
        let problem = |over: Value| items(over, 3).unwrap_err();
        assert!(problem(json!([1, 2, 3, 4])).contains("4 items, 3 is the most"));
        assert!(problem(json!({ "a": [1, 2], "b": [1, 2] })).contains("4 items"));
        assert!(problem(json!(7)).starts_with("m.over: 7"));
        assert!(problem(json!({ "a": { "b": 1 } })).starts_with("m.over.a: "));
        assert!(problem(json!("resource.spec.files +")).starts_with("m.over: expression"));
        assert!(problem(json!("resource.name")).contains("is no list"));
        assert!(problem(json!(["x".repeat(300_000)])).contains("bytes"));
    }
}
