//! Values that the steps of one run share, as one record: pure, so that whoever stores it only compares and swaps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The longest key, in bytes.
const MAX_KEY: usize = 256;

/// What a shared value can be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", content = "value", rename_all = "lowercase")]
pub enum RunValue {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any number.
    Number(f64),
    /// Yes or no.
    Boolean(bool),
    /// Anything else.
    Json(Value),
}

/// A value and its revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunEntry {
    /// The value.
    #[serde(flatten)]
    pub value: RunValue,
    /// Counts up with every change of any value of the run, and is never used twice.
    pub revision: u64,
}

/// The values that the steps of one run share, by key.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct RunValues {
    /// The newest revision.
    pub revision: u64,
    /// The values.
    pub entries: BTreeMap<String, RunEntry>,
}

/// Why a value was not changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unchanged {
    /// The revision was another one.
    #[error("the value was changed by another step; what is there now has revision {}", .0.as_ref().map_or(0, |entry| entry.revision))]
    Conflict(Option<RunEntry>),
    /// It cannot be kept.
    #[error("{0}")]
    Refused(String),
}

impl RunValues {
    /// Gives a key a value, and answers its revision; with `expected` only if that is the key's revision now, where 0 is
    /// that of a key without a value.
    ///
    /// # Errors
    /// [`Unchanged`].
    pub fn put(&mut self, key: &str, value: RunValue, expected: Option<u64>) -> Result<u64, Unchanged> {
        check_key(key)?;
        if matches!(value, RunValue::Number(number) if !number.is_finite()) {
            return Err(Unchanged::Refused("a number must be finite, or it has no JSON".to_owned()));
        }
        self.expect(key, expected)?;
        self.revision += 1;
        self.entries.insert(key.to_owned(), RunEntry { value, revision: self.revision });
        Ok(self.revision)
    }

    /// Takes the value of a key away; whether there was one.
    ///
    /// # Errors
    /// [`Unchanged`].
    pub fn delete(&mut self, key: &str, expected: Option<u64>) -> Result<bool, Unchanged> {
        check_key(key)?;
        self.expect(key, expected)?;
        let removed = self.entries.remove(key).is_some();
        self.revision += u64::from(removed);
        Ok(removed)
    }

    fn expect(&self, key: &str, expected: Option<u64>) -> Result<(), Unchanged> {
        let now = self.entries.get(key);
        let revision = now.map_or(0, |entry| entry.revision);
        if expected.is_some_and(|expected| expected != revision) {
            return Err(Unchanged::Conflict(now.cloned()));
        }
        Ok(())
    }
}

fn check_key(key: &str) -> Result<(), Unchanged> {
    if key.is_empty() || key.len() > MAX_KEY {
        let problem = format!("a key has 1 to {MAX_KEY} bytes, and this one has {}", key.len());
        return Err(Unchanged::Refused(problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_used_once_and_guards_its_value() {
        let mut values = RunValues::default();
        let text = |text: &str| RunValue::Text(text.to_owned());
        assert_eq!(values.put("lock", text("a"), Some(0)), Ok(1));
        let held = RunEntry { value: text("a"), revision: 1 };
        assert_eq!(values.put("lock", text("b"), Some(0)), Err(Unchanged::Conflict(Some(held))));
        assert_eq!(values.put("lock", text("b"), Some(1)), Ok(2));
        assert_eq!(values.put("count", RunValue::Integer(1), None), Ok(3));
        assert!(values.delete("lock", Some(1)).is_err());
        assert_eq!(values.delete("lock", Some(2)), Ok(true));
        assert_eq!(values.delete("lock", None), Ok(false));
        // A key that comes back does not come back with a revision that somebody may still hold.
        assert_eq!(values.put("lock", text("c"), Some(0)), Ok(5));
        assert!(values.put("", text(""), None).is_err());
        assert!(values.put(&"k".repeat(257), text(""), None).is_err());
        assert!(values.put("number", RunValue::Number(f64::NAN), None).is_err());
    }

    #[test]
    fn values_are_plain_json() {
        let mut values = RunValues::default();
        values.put("count", RunValue::Integer(3), None).unwrap();
        let json = serde_json::json!({
            "revision": 1, "entries": { "count": { "type": "integer", "value": 3, "revision": 1 } }
        });
        assert_eq!(serde_json::to_value(&values).unwrap(), json);
        assert_eq!(serde_json::from_value::<RunValues>(json).unwrap(), values);
    }
}
