//! Which runs of a pipeline do not go side by side.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::expression::{Expression, Scope, shown};
use super::{Invalid, Pipeline, Resource, ResourceEvent, RunId, SharedContext};

/// The longest name of a group, in bytes.
const MAX_GROUP: usize = 256;

/// The most runs of a group that may be under way.
const MAX_LIMIT: u32 = 1_000;

/// How many runs of one group may be under way, and what becomes of one too many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Concurrency {
    /// Text. A part such as `${resource.spec.env}` is a CEL expression over `resource`, `metadata` and `event` and stands
    /// for its value. Runs of all pipelines whose group becomes the same text count together.
    pub group: String,
    /// The most runs under way at one time, 1 to 1,000. Default 1. Of pipelines that differ, that of the run which wants to
    /// begin counts.
    #[serde(default = "one")]
    pub limit: u32,
    /// What becomes of a run that is one too many. Default `queue`.
    #[serde(default)]
    pub on_conflict: OnConflict,
}

/// What becomes of a run that is one too many in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// It waits; first come, first served.
    #[default]
    Queue,
    /// Those that are under way or waiting are cancelled, and it begins when they have ended.
    CancelRunning,
    /// It is refused.
    Reject,
}

/// The group that a run belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunGroup {
    /// The group, with the run's own values.
    pub name: String,
    /// The most runs under way for this one to begin.
    pub limit: u32,
    /// What becomes of this run if it is one too many.
    pub on_conflict: OnConflict,
}

/// Who has a slot in a group, and who waits for one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// The runs that are under way.
    pub holders: Vec<RunId>,
    /// Those that wait, the first that came at the front; maybe not all of them.
    pub waiting: Vec<RunId>,
}

impl Group {
    /// Whether a run may begin: it has a slot already, or one is free and nobody came before it.
    #[must_use]
    pub fn admits(&self, run: RunId, limit: u32) -> bool {
        let free = self.holders.len() < usize::try_from(limit).unwrap_or(usize::MAX);
        self.holders.contains(&run) || (free && self.waiting.first().is_none_or(|first| *first >= run))
    }
}

fn one() -> u32 {
    1
}

/// A piece of a group's text.
enum Part<'a> {
    Text(&'a str),
    Expression(Expression<'a>),
}

impl Concurrency {
    /// Checks the text and the limit.
    ///
    /// # Errors
    /// The first field that is wrong, by its JSON path.
    pub fn validate(&self) -> Result<(), Invalid> {
        if !(1..=MAX_LIMIT).contains(&self.limit) {
            let problem = format!("{}: 1 to {MAX_LIMIT} are possible", self.limit);
            return Err(Invalid::field("concurrency.limit", problem));
        }
        if self.group.trim().is_empty() {
            return Err(wrong("it is empty: runs of the same group do not go side by side".to_owned()));
        }
        parts(&self.group).map(drop)
    }

    /// The group of a run over a resource.
    ///
    /// # Errors
    /// The part of the group that has no value, or none that can stand in a text.
    pub fn of_run(&self, pipeline: &Pipeline, resource: &Resource, event: ResourceEvent) -> Result<RunGroup, Invalid> {
        let shared = SharedContext { metadata: pipeline.metadata.clone(), ..SharedContext::default() };
        let scope = Scope { resource, event: event.as_str(), shared: &shared };
        let mut name = String::new();
        for part in parts(&self.group)? {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Expression(expression) => {
                    let value = expression.evaluate(&scope).map_err(|error| wrong(error.to_string()))?;
                    name.push_str(&text_of(&value).ok_or_else(|| {
                        let problem = format!("{} of `{}` cannot stand in a text", shown(&value), self.group);
                        wrong(problem)
                    })?);
                }
            }
        }
        if name.trim().is_empty() || name.len() > MAX_GROUP || name.contains(char::is_control) {
            let problem =
                format!("{} of `{}` is no name: one line of 1 to {MAX_GROUP} bytes", shown(&name.into()), self.group);
            return Err(wrong(problem));
        }
        Ok(RunGroup { name, limit: self.limit, on_conflict: self.on_conflict })
    }
}

impl RunGroup {
    /// Why a run of the group waits while so many others are under way.
    #[must_use]
    pub fn queued(&self, under_way: usize) -> String {
        let runs = if under_way == 1 { "run" } else { "runs" };
        format!("queued: group \"{}\" has {under_way} {runs} under way", self.name)
    }
}

fn wrong(problem: String) -> Invalid {
    Invalid::field("concurrency.group", problem)
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn parts(group: &str) -> Result<Vec<Part<'_>>, Invalid> {
    let mut parts = Vec::new();
    let mut rest = group;
    while let Some((text, behind)) = rest.split_once("${") {
        let end = end_of(behind).ok_or_else(|| wrong(format!("`${{{behind}` has no end: a `}}` is missing")))?;
        let (expression, behind) = behind.split_at(end);
        let compiled = Expression::compile(expression.trim()).map_err(|error| wrong(error.to_string()))?;
        if compiled.needs_results() {
            return Err(wrong(format!("`{expression}`: a run has no results when its group is chosen")));
        }
        parts.extend([Part::Text(text), Part::Expression(compiled)]);
        rest = behind.strip_prefix('}').unwrap_or_default();
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

/// The place of the brace that ends an expression, which may have braces and quoted texts inside.
fn end_of(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    for (place, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(place),
            (None, '}') => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn concurrency(group: &str) -> Concurrency {
        Concurrency { group: group.to_owned(), limit: 1, on_conflict: OnConflict::Queue }
    }

    fn group(text: &str) -> Result<String, String> {
        let pipeline = Pipeline::new("ship", "app").meta("team", "belt");
        let resource = Resource::new("app", "shop", json!({ "env": "prod", "zone": 3, "tags": [] }));
        let concurrency = concurrency(text);
        let named =
            concurrency.validate().and_then(|()| concurrency.of_run(&pipeline, &resource, ResourceEvent::Create));
        named.map(|group| group.name).map_err(|error| error.to_string())
    }

    #[test]
    fn a_group_may_name_fields_of_the_resource() {
        for (text, name) in [
            ("deploy", "deploy"),
            ("deploy-${resource.spec.env}", "deploy-prod"),
            ("${metadata.team}/${resource.name}/${event} ${resource.spec.zone}", "belt/shop/create 3"),
            ("${ {'prod': 'p}'}[resource.spec.env] }!", "p}!"),
            ("$5 {}", "$5 {}"),
        ] {
            assert_eq!(group(text).as_deref(), Ok(name), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_group_is_said_by_its_path() {
        for (text, problem) in [
            (" ", "it is empty"),
            ("a${resource.name", "has no end"),
            ("${resource.}", "expression"),
            ("${results.build.success}", "no results"),
            ("${spec.env}", "no variable \"spec\""),
            ("${resource.spec.missing}", "missing"),
            ("${resource.spec.tags}", "[] of"),
            ("${resource.spec.env}\n", "one line"),
        ] {
            let error = group(text).unwrap_err();
            assert!(error.starts_with("concurrency.group: ") && error.contains(problem), "{text}: {error}");
        }
        for limit in [0, 1_001] {
            let error = Concurrency { limit, ..concurrency("g") }.validate().unwrap_err().to_string();
            assert!(error.starts_with("concurrency.limit: "), "{error}");
        }
        let unknown = serde_json::from_value::<Concurrency>(json!({ "group": "g", "mode": "queue" }));
        assert!(unknown.unwrap_err().to_string().contains("mode"));
    }
}
