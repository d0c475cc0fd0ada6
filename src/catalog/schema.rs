//! Checks specs against the JSON Schemas of definitions. The validator has no resolvers: a `$ref` to a file or an address
//! is an error, never a read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{Code, Error};

/// The most violations that one answer lists.
const MAX_VIOLATIONS: usize = 10;

/// The most schemas that are kept compiled.
const KEPT: usize = 256;

/// Schemas that were compiled, by definition. Cheap to clone.
#[derive(Clone, Default)]
pub struct Schemas(Arc<Mutex<HashMap<String, Compiled>>>);

/// A schema and what was made of it.
struct Compiled {
    schema: Value,
    validator: Arc<Validator>,
}

impl Schemas {
    /// Checks a spec against the schema of a definition; the error lists what is wrong by JSON path.
    pub(super) fn check(&self, definition: &str, schema: &Value, spec: &Value) -> Result<(), Error> {
        let validator = self.of(definition, schema)?;
        check_spec(definition, &validator, spec)
    }

    fn of(&self, definition: &str, schema: &Value) -> Result<Arc<Validator>, Error> {
        let compiled = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = compiled().get(definition).filter(|known| known.schema == *schema) {
            return Ok(known.validator.clone());
        }
        let validator = Arc::new(compile(schema)?);
        let mut compiled = compiled();
        if compiled.len() >= KEPT {
            compiled.clear();
        }
        let known = Compiled { schema: schema.clone(), validator: validator.clone() };
        compiled.insert(definition.to_owned(), known);
        Ok(validator)
    }
}

/// Checks that a schema is one.
pub(super) fn check_schema(schema: &Value) -> Result<(), Error> {
    compile(schema).map(|_| ())
}

fn check_spec(definition: &str, validator: &Validator, spec: &Value) -> Result<(), Error> {
    let violations: Vec<(String, String)> = validator
        .iter_errors(spec)
        .take(MAX_VIOLATIONS)
        .map(|error| (format!("spec{}", error.instance_path()), shorten(&error.to_string())))
        .collect();
    let Some((path, problem)) = violations.first() else { return Ok(()) };
    let message = format!("Resource validation failed: {path}: {problem} (schema of definition \"{definition}\")");
    let listed: Vec<Value> =
        violations.iter().map(|(path, problem)| json!({ "path": path, "problem": problem })).collect();
    Err(Error::new(Code::SpecInvalid, message).with_details(json!({ "violations": listed })))
}

fn compile(schema: &Value) -> Result<Validator, Error> {
    // Without a `$schema` the dialect is 2020-12 (wire protocol 1.4).
    jsonschema::options().build(schema).map_err(|error| {
        let message = format!(
            "schema{}: it cannot be used as a JSON Schema: {}",
            error.instance_path(),
            shorten(&error.to_string())
        );
        Error::new(Code::Invalid, message)
    })
}

/// Violations quote the offending value, which may be the whole spec.
fn shorten(text: &str) -> String {
    const MOST: usize = 300;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    let start: String = text.chars().take(MOST).collect();
    format!("{start}…")
}
