//! What a component that shadows remote instances answered, beside what they answered.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Digest, DriverResult, RunId, Usage};

/// The most differences that are told.
const MOST: usize = 20;
/// The most characters of a value that are told.
const SHOWN: usize = 80;

/// One attempt of a step, answered by the remote instances of its driver and by the component that shadows them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Comparison {
    /// Of which run.
    #[schema(value_type = String)]
    pub run: RunId,
    /// Of which step.
    pub step: String,
    /// Counts from 1.
    pub attempt: u32,
    /// When they were compared.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The component.
    #[schema(value_type = Option<String>)]
    pub digest: Option<Digest>,
    /// Whether both answered the same.
    pub equal: bool,
    /// Where they differ: a field, what the component answered, and what counts.
    pub differences: Vec<String>,
    /// What the call of the component took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// Where an answer differs from the one that counts: by field, as JSON pointers below `data`.
#[must_use]
pub fn differences(counts: &DriverResult, other: &DriverResult) -> Vec<String> {
    let mut all = Vec::new();
    if counts.success != other.success {
        all.push(format!("success: {} instead of {}", other.success, counts.success));
    }
    // A failure's words are its own; those of a success are part of the answer.
    if counts.success && other.success && counts.message != other.message {
        all.push(differs("message", &Value::from(other.message.as_str()), &Value::from(counts.message.as_str())));
    }
    if counts.success && other.success {
        below("data", &counts.data, &other.data, &mut all);
    }
    all
}

fn below(path: &str, counts: &Value, other: &Value, all: &mut Vec<String>) {
    if counts == other || all.len() >= MOST {
        return;
    }
    match (counts, other) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for key in keys {
                let of = |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or_default();
                below(&format!("{path}/{key}"), &of(left), &of(right), all);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                below(&format!("{path}/{index}"), left, right, all);
            }
        }
        _ => all.push(differs(path, other, counts)),
    }
}

fn differs(path: &str, other: &Value, counts: &Value) -> String {
    let shown = |value: &Value| {
        let text = value.to_string();
        let cut: String = text.chars().take(SHOWN).collect();
        if cut.len() < text.len() { format!("{cut}…") } else { cut }
    };
    format!("{path}: {} instead of {}", shown(other), shown(counts))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_told_by_field() {
        let counts = DriverResult::success("built").with_data(json!({ "size": 3, "parts": ["a", "b"], "same": {} }));
        assert!(differences(&counts, &counts).is_empty());
        let other = DriverResult::success("built").with_data(json!({ "size": 4, "parts": ["a", "c"], "same": {} }));
        let told = ["data/parts/1: \"c\" instead of \"b\"", "data/size: 4 instead of 3"];
        assert_eq!(differences(&counts, &other), told);
        assert_eq!(differences(&counts, &DriverResult::failure("no")), ["success: false instead of true"]);
        assert!(differences(&DriverResult::failure("no"), &DriverResult::failure("never")).is_empty());
        let many = DriverResult::success("built").with_data(json!({ "list": vec![1; 50] }));
        let none = DriverResult::success("built").with_data(json!({ "list": vec![2; 50] }));
        assert_eq!(differences(&many, &none).len(), MOST);
    }
}
