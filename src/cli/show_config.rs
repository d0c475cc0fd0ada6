//! `conveyor config`: the configuration that `conveyor up` would run with.

use std::fmt::Write as _;

use serde_json::Value;

use super::output::{self, Format, Output};
use super::up::Up;
use super::{Error, Exit};
use crate::config::Config;

pub(super) fn run(up: Up, output: Output) -> Result<Exit, Error> {
    let config = up.configuration()?;
    let tree = serde_json::to_value(&config).unwrap_or_default();
    match output.format {
        Format::Json => output::value(&tree)?,
        Format::Table => output.line(to_toml(&config).trim_end())?,
    }
    Ok(Exit::Ok)
}

/// The whole configuration as `conveyor.toml` would say it.
#[must_use]
pub fn to_toml(config: &Config) -> String {
    let tree = serde_json::to_value(config).unwrap_or_default();
    let mut text = String::new();
    table(&mut text, "", &tree);
    text
}

/// Writing to a String cannot fail.
fn table(text: &mut String, path: &str, tree: &Value) {
    let entries = || tree.as_object().into_iter().flatten();
    // Plain values come first: after the header of an inner table they would belong to it. JSON's texts and numbers are
    // written the same way in TOML, and a setting that is null is one that is left out.
    for (key, value) in entries().filter(|(_, value)| !value.is_object()) {
        let start = if value.is_null() { "# " } else { "" };
        let value = if value.is_null() { "\"\"".to_owned() } else { inline(value) };
        let _ = writeln!(text, "{start}{key} = {value}");
    }
    for (key, value) in entries().filter(|(_, value)| value.is_object()) {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let _ = writeln!(text, "\n[{path}]");
        table(text, &path, value);
    }
}

/// A value in one line. What is null in an inner table is left out.
fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let fields: Vec<String> = fields.map(|(key, value)| format!("{key} = {}", inline(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        plain => plain.to_string(),
    }
}
