//! Expressions of pipelines, in the Common Expression Language (CEL).
//!
//! An expression may name four variables: `resource` (with `id`, `name`, `resource`, `metadata`, `spec`), `metadata` (the
//! pipeline's), `event` (`create`, `update` or `delete`) and `results` (the results of earlier steps by step id, each
//! with `success`, `message`, `data` and `driver`). It reads nothing else and changes nothing.
//!
//! What one costs is bounded before it is evaluated: by its length, by the macros in it that walk a list, and by the
//! length of the longest list or map that they could walk.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::{Context, Program, Value as Cel};
use serde_json::Value;

use super::{Resource, SharedContext};

/// The longest expression, in bytes.
pub const MAX_EXPRESSION: usize = 1_024;

/// The most macros that walk a list (`all`, `exists`, `exists_one`, `map`, `filter`) in one expression.
const MAX_MACROS: u32 = 2;

/// The most elements that the macros of one expression may walk, as the longest list to the power of the macros.
const MAX_WALK: usize = 1_000_000;

/// The variables.
const VARIABLES: [&str; 4] = ["resource", "metadata", "event", "results"];

/// The names of CEL's types, which are values as well.
const TYPES: [&str; 10] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// Why an expression cannot be used or has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expression `{expression}`, column {column}: {problem}")]
pub struct ExpressionError {
    /// The whole expression.
    pub expression: String,
    /// Where the trouble is, in characters, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: String,
}

/// An expression that can be evaluated.
#[derive(Debug)]
pub struct Expression<'a> {
    text: &'a str,
    program: Program,
}

/// What an expression is evaluated over.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The resource of the run.
    pub resource: &'a Resource,
    /// Why the run was started.
    pub event: &'a str,
    /// The pipeline's metadata and the results so far.
    pub shared: &'a SharedContext,
}

impl<'a> Expression<'a> {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, and where: its syntax, a variable that is not there, or a bound.
    pub fn compile(text: &'a str) -> Result<Self, ExpressionError> {
        if text.len() > MAX_EXPRESSION {
            let problem = format!("it has {} bytes, {MAX_EXPRESSION} is the most", text.len());
            return Err(error(text, 0, problem));
        }
        let program = Program::compile(text).map_err(|errors| syntax(text, &errors))?;
        let compiled = Self { text, program };
        if let Some((node, name)) = stranger(compiled.program.expression(), &mut Vec::new()) {
            let problem = format!("there is no variable \"{name}\": there are {}", VARIABLES.join(", "));
            return Err(compiled.error_at(node, problem));
        }
        let macros = macros(compiled.program.expression());
        if macros > MAX_MACROS {
            let problem = format!("{macros} macros walk lists (all, exists, map, filter): {MAX_MACROS} is the most");
            return Err(error(text, 0, problem));
        }
        Ok(compiled)
    }

    /// The ids of steps whose results it names as `results.ID` or `results["ID"]`.
    #[must_use]
    pub fn steps(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        named_results(self.program.expression(), &mut found);
        found
    }

    /// Whether it needs the results of steps at all.
    #[must_use]
    pub fn needs_results(&self) -> bool {
        self.program.references().has_variable("results")
    }

    /// Its value, as JSON.
    ///
    /// # Errors
    /// Where it has none, and why.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, ExpressionError> {
        let variables = self.variables(scope);
        let macros = macros(self.program.expression());
        let longest = variables.iter().map(|(_, value)| longest(value)).max().unwrap_or(0);
        if longest.checked_pow(macros).is_none_or(|walked| walked > MAX_WALK) {
            let problem = format!("a list or map of {longest} elements is too long for its {macros} macros");
            return Err(error(self.text, 0, problem));
        }
        let mut context = Context::default();
        for (name, value) in &variables {
            context.add_variable_from_value(*name, to_cel(value));
        }
        let expression = self.program.expression();
        let value = Cel::resolve(expression, &context).map_err(|why| {
            let (at, why) = culprit(expression, &context).unwrap_or((expression.id, why));
            self.error_at(at, why.to_string())
        })?;
        value.json().map_err(|_| self.error_at(expression.id, "the value cannot be written as JSON".to_owned()))
    }

    /// Its value, which must be true or false.
    ///
    /// # Errors
    /// Where it has none, and why.
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, ExpressionError> {
        match self.evaluate(scope)? {
            Value::Bool(value) => Ok(value),
            other => Err(error(self.text, 0, format!("its value is neither true nor false, but {}", shown(&other)))),
        }
    }

    fn variables(&self, scope: &Scope<'_>) -> Vec<(&'static str, Value)> {
        let references = self.program.references();
        let value = |name: &str| match name {
            "resource" => serde_json::to_value(scope.resource),
            "metadata" => serde_json::to_value(&scope.shared.metadata),
            "results" => serde_json::to_value(&scope.shared.results),
            _ => Ok(Value::from(scope.event)),
        };
        let named = VARIABLES.into_iter().filter(|name| references.has_variable(name));
        // All of these are plain data, which can always be written.
        named.map(|name| (name, value(name).unwrap_or_default())).collect()
    }

    fn error_at(&self, node: u64, problem: String) -> ExpressionError {
        let start = self.program.source_info().offset_for(node).map_or(0, |(start, _)| start as usize);
        error(self.text, start, problem)
    }
}

/// A value as a message shows it.
#[must_use]
pub fn shown(value: &Value) -> String {
    const MOST: usize = 80;
    let text = value.to_string();
    let cut: String = text.chars().take(MOST).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

/// A problem at a byte of the expression.
fn error(text: &str, byte: usize, problem: String) -> ExpressionError {
    let column = text.char_indices().take_while(|(at, _)| *at < byte).count() + 1;
    ExpressionError { expression: text.to_owned(), column, problem }
}

fn syntax(text: &str, errors: &cel::ParseErrors) -> ExpressionError {
    let Some(first) = errors.errors.first() else { return error(text, 0, "it is no expression".to_owned()) };
    let (line, column) = (first.pos.0.max(1), first.pos.1.max(1));
    let lines = usize::try_from(line).unwrap_or(1) - 1;
    let before: usize = text.split_inclusive('\n').take(lines).map(|line| line.chars().count()).sum();
    let column = before + usize::try_from(column).unwrap_or(1);
    ExpressionError { expression: text.to_owned(), column, problem: first.msg.clone() }
}

/// The innermost part of an expression that has no value, and why.
fn culprit(expression: &IdedExpr, context: &Context<'_, '_>) -> Option<(u64, cel::ExecutionError)> {
    let why = Cel::resolve(expression, context).err()?;
    // A macro's inside knows variables that are not there outside.
    let inside =
        if let Expr::Comprehension(walk) = &expression.expr { vec![&walk.iter_range] } else { parts(expression) };
    // Of a name with dots, the last one is what is missing.
    let inner = inside.into_iter().find_map(|part| culprit(part, context));
    Some(inner.unwrap_or((expression.id, why)))
}

/// The direct parts of an expression.
fn parts(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(walk) => {
            vec![&walk.iter_range, &walk.accu_init, &walk.loop_cond, &walk.loop_step, &walk.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Map(map) => map.entries.iter().flat_map(|entry| of_entry(&entry.expr)).collect(),
        Expr::Struct(fields) => fields.entries.iter().flat_map(|entry| of_entry(&entry.expr)).collect(),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
    }
}

fn of_entry(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

/// The first name that is neither a variable, nor a type, nor bound by a macro around it.
fn stranger<'a>(expression: &'a IdedExpr, bound: &mut Vec<&'a str>) -> Option<(u64, &'a str)> {
    match &expression.expr {
        Expr::Ident(name) => {
            let name = name.as_str();
            let known = VARIABLES.contains(&name) || TYPES.contains(&name) || bound.contains(&name);
            (!known).then_some((expression.id, name))
        }
        Expr::Comprehension(walk) => {
            let outside = [&walk.iter_range, &walk.accu_init].into_iter().find_map(|part| stranger(part, bound));
            if outside.is_some() {
                return outside;
            }
            let depth = bound.len();
            bound.extend([walk.iter_var.as_str(), walk.accu_var.as_str()]);
            bound.extend(walk.iter_var2.as_deref());
            let inside = [&walk.loop_cond, &walk.loop_step, &walk.result];
            let found = inside.into_iter().find_map(|part| stranger(part, bound));
            bound.truncate(depth);
            found
        }
        _ => parts(expression).into_iter().find_map(|part| stranger(part, bound)),
    }
}

fn macros(expression: &IdedExpr) -> u32 {
    let own = u32::from(matches!(expression.expr, Expr::Comprehension(_)));
    own + parts(expression).into_iter().map(macros).sum::<u32>()
}

fn named_results(expression: &IdedExpr, found: &mut BTreeSet<String>) {
    let is_results = |expression: &IdedExpr| matches!(&expression.expr, Expr::Ident(name) if name == "results");
    match &expression.expr {
        Expr::Select(select) if is_results(&select.operand) => {
            found.insert(select.field.clone());
        }
        Expr::Call(call) if call.func_name == "_[_]" => {
            if let [of, IdedExpr { expr: Expr::Literal(cel::common::ast::LiteralValue::String(id)), .. }] =
                &call.args[..]
                && is_results(of)
            {
                found.insert(id.inner().to_owned());
            }
        }
        _ => {}
    }
    for part in parts(expression) {
        named_results(part, found);
    }
}

/// The length of the longest list or map in a value.
fn longest(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(longest).max().unwrap_or(0).max(items.len()),
        Value::Object(fields) => fields.values().map(longest).max().unwrap_or(0).max(fields.len()),
        _ => 1,
    }
}

/// JSON in CEL's types. Whole numbers are `int`, as people write them in expressions.
fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Cel::Int(whole),
            None => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::from(text.as_str()),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => {
            let fields: HashMap<String, Cel> = fields.iter().map(|(key, value)| (key.clone(), to_cel(value))).collect();
            Cel::from(fields)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::StepResult;

    fn evaluate(text: &str) -> Result<Value, ExpressionError> {
        let spec = json!({ "env": "prod", "replicas": 3, "tags": ["a", "b"], "share": 0.5 });
        let resource = Resource::new("app", "shop", spec);
        let mut shared = SharedContext::default();
        shared.metadata.insert("team".into(), "belt".into());
        let result =
            StepResult { success: true, data: json!({ "sha": "ab12", "files": [1, 2] }), ..StepResult::default() };
        shared.results.insert("build".into(), result);
        Expression::compile(text)?.evaluate(&Scope { resource: &resource, event: "create", shared: &shared })
    }

    #[test]
    fn expressions_see_the_resource_the_metadata_the_event_and_earlier_results() {
        for (text, expected) in [
            ("resource.spec.env == 'prod' && resource.spec.replicas > 2", json!(true)),
            ("resource.spec.replicas + 1", json!(4)),
            ("resource.spec.share * 2.0", json!(1.0)),
            ("metadata.team + '/' + resource.name", json!("belt/shop")),
            ("event in ['create', 'update']", json!(true)),
            ("results.build.success && size(results.build.data.sha) == 4", json!(true)),
            ("has(results.test)", json!(false)),
            ("resource.spec.tags.map(tag, tag + '!')", json!(["a!", "b!"])),
            ("{'n': results[\"build\"].data.files}", json!({ "n": [1, 2] })),
        ] {
            assert_eq!(evaluate(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn errors_name_the_expression_and_the_column() {
        for (text, column, says) in [
            ("resource.spec.env ==", 21, "EOF"),
            ("resorce.spec.env == 'x'", 1, "no variable \"resorce\""),
            ("true && results.test.success", 16, "No such key: test"),
            ("resource.spec.replicas == 3 && resource.spec.env + 1 == 'x'", 50, ""),
            ("'é' == resource.spec.nothing", 21, "No such key: nothing"),
        ] {
            let error = evaluate(text).unwrap_err();
            assert!(error.problem.contains(says), "{text}: {error}");
            assert_eq!(error.column, column, "{error}");
        }
    }

    #[test]
    fn what_an_expression_may_cost_is_bounded() {
        let deep = format!("{}true{}", "(".repeat(500), ")".repeat(500));
        let nots = "!".repeat(1_000) + "true";
        let three = "[1].all(a, [1].all(b, [1].all(c, true)))";
        for text in [deep.as_str(), nots.as_str(), three, &"1+".repeat(600)] {
            assert!(Expression::compile(text).is_err() || evaluate(text).is_ok(), "{text}");
        }
        assert!(Expression::compile(three).unwrap_err().problem.contains("2 is the most"));
        let resource = Resource::new("app", "shop", json!({ "long": vec![0; 2_000] }));
        let shared = SharedContext::default();
        let scope = Scope { resource: &resource, event: "create", shared: &shared };
        let once = Expression::compile("resource.spec.long.all(a, a == 0)").unwrap();
        assert_eq!(once.holds(&scope), Ok(true));
        let twice = Expression::compile("resource.spec.long.all(a, resource.spec.long.all(b, a == b))").unwrap();
        assert!(twice.holds(&scope).unwrap_err().problem.contains("too long"));
    }

    #[test]
    fn the_steps_that_an_expression_names_are_known() {
        let steps = |text| Expression::compile(text).unwrap().steps();
        let named = steps("results.build.success || has(results.lint.data) || results['unit-test'].success");
        assert_eq!(named, ["build", "lint", "unit-test"].map(str::to_owned).into());
        assert!(steps("results.all(id, results[id].success)").is_empty());
    }
}
