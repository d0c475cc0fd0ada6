//! Which drivers act on a resource, and in which order.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::policy::check_duration;
use super::{Invalid, Step, check_name};

/// The most steps a pipeline may have.
pub const MAX_STEPS: usize = 256;

/// Steps for the resources of one type, in the order in which they run, and metadata that all of them share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Unique.
    #[serde(default)]
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Free text, never interpreted.
    #[serde(default)]
    pub version: String,
    /// The type of resource it takes: the name of a resource definition.
    #[serde(default)]
    pub resource: String,
    /// At least one; they run in this order.
    #[serde(default, deserialize_with = "null_as_default")]
    pub steps: Vec<Step>,
    /// Shared with every step.
    #[serde(default, deserialize_with = "null_as_default")]
    pub metadata: BTreeMap<String, String>,
    /// How long a run may take in all, such as `"1h"`; steps marked `finally` apart. Default no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub deadline: Option<SignedDuration>,
}

impl Pipeline {
    /// A pipeline without steps yet.
    #[must_use]
    pub fn new(name: impl Into<String>, resource: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            version: String::new(),
            resource: resource.into(),
            steps: Vec::new(),
            metadata: BTreeMap::new(),
            deadline: None,
        }
    }

    /// Adds a step at the end.
    #[must_use]
    pub fn step(mut self, id: impl Into<String>, driver: impl Into<String>) -> Self {
        self.steps.push(Step { id: id.into(), driver: driver.into(), ..Step::default() });
        self
    }

    /// Adds a shared value.
    #[must_use]
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Gives every step without an id one: the Go original treats ids as decoration, so its clients may leave them out.
    #[must_use]
    pub fn with_step_ids(mut self) -> Self {
        let mut taken: HashSet<String> = self.steps.iter().map(|step| step.id.clone()).collect();
        for step in self.steps.iter_mut().filter(|step| step.id.is_empty()) {
            let base = if step.approval.is_some() { "approval" } else { step.driver.as_str() };
            let mut id = base.to_owned();
            let mut number = 2;
            while !taken.insert(id.clone()) {
                id = format!("{base}-{number}");
                number += 1;
            }
            step.id = id;
        }
        self
    }

    /// Checks names, and that there is a step and that their ids differ.
    ///
    /// # Errors
    /// The first field that is wrong, by its JSON path.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_name("name", &self.name)?;
        check_name("resource", &self.resource)?;
        if self.steps.is_empty() {
            return Err(Invalid::field("steps", "a pipeline needs at least one step"));
        }
        if self.steps.len() > MAX_STEPS {
            return Err(Invalid::field("steps", format!("{} steps: {MAX_STEPS} is the most", self.steps.len())));
        }
        let mut seen = HashSet::new();
        for (index, step) in self.steps.iter().enumerate() {
            check_name(&format!("steps[{index}].id"), &step.id)?;
            if !seen.insert(step.id.as_str()) {
                let problem = format!("\"{}\" is the id of an earlier step: ids must differ", step.id);
                return Err(Invalid::field(format!("steps[{index}].id"), problem));
            }
            step.validate(index)?;
        }
        if let Some(deadline) = self.deadline {
            check_duration("deadline", deadline)?;
        }
        if self.steps.iter().all(|step| step.finally) {
            return Err(Invalid::field("steps", "every step is marked finally: at least one must not be"));
        }
        self.validate_needs()?;
        self.validate_references()
    }

    /// For each step the places of the steps it needs. Steps marked `finally` need all that are not, which is not listed.
    #[must_use]
    pub fn needs(&self) -> Vec<Vec<usize>> {
        let places: BTreeMap<&str, usize> =
            self.steps.iter().enumerate().map(|(place, step)| (step.id.as_str(), place)).collect();
        if self.steps.iter().any(|step| step.needs.is_some()) {
            let place = |id: &String| places.get(id.as_str()).copied();
            return self.steps.iter().map(|step| step.needs.iter().flatten().filter_map(place).collect()).collect();
        }
        let before = |place: usize, finally: bool| {
            let earlier = |other: &usize| self.steps.get(*other).is_some_and(|step| step.finally == finally);
            (0..place).rev().find(earlier).into_iter().collect()
        };
        self.steps.iter().enumerate().map(|(place, step)| before(place, step.finally)).collect()
    }

    fn validate_needs(&self) -> Result<(), Invalid> {
        for (index, step) in self.steps.iter().enumerate() {
            for (number, id) in step.needs.iter().flatten().enumerate() {
                let path = format!("steps[{index}].needs[{number}]");
                let Some(needed) = self.steps.iter().find(|other| other.id == *id) else {
                    return Err(Invalid::field(path, format!("no step has the id \"{id}\"")));
                };
                if needed.finally != step.finally {
                    let problem = format!("\"{id}\" and \"{}\" are not both marked finally or both not", step.id);
                    return Err(Invalid::field(path, problem));
                }
            }
        }
        self.validate_no_cycle()
    }

    /// The places of all steps that are done when the step at `place` begins.
    fn before(&self, place: usize) -> BTreeSet<usize> {
        let needs = self.needs();
        let finally = self.steps.get(place).is_some_and(|step| step.finally);
        let all = self.steps.iter().enumerate().filter(|(_, step)| finally && !step.finally).map(|(other, _)| other);
        let mut found: BTreeSet<usize> = all.collect();
        let mut open = vec![place];
        while let Some(next) = open.pop() {
            let new: Vec<usize> =
                needs.get(next).into_iter().flatten().copied().filter(|&need| found.insert(need)).collect();
            open.extend(new);
        }
        found
    }

    /// An expression may only name results that are there when it is evaluated.
    fn validate_references(&self) -> Result<(), Invalid> {
        for (index, step) in self.steps.iter().enumerate() {
            for (field, id) in step.references() {
                let path = format!("steps[{index}].{field}");
                let Some(named) = self.steps.iter().position(|other| other.id == id) else {
                    return Err(Invalid::field(path, format!("results.{id}: no step has the id \"{id}\"")));
                };
                if !self.before(index).contains(&named) {
                    let problem = format!(
                        "results.{id}: step \"{id}\" need not be done before \"{}\": name it in needs",
                        step.id
                    );
                    return Err(Invalid::field(path, problem));
                }
            }
        }
        Ok(())
    }

    /// Takes away steps whose needs are gone, until none is left or none can be taken.
    fn validate_no_cycle(&self) -> Result<(), Invalid> {
        let needs = self.needs();
        let mut left: Vec<usize> = (0..self.steps.len()).collect();
        loop {
            let free =
                |place: &usize| needs.get(*place).is_none_or(|needs| needs.iter().all(|need| !left.contains(need)));
            let rest: Vec<usize> = left.iter().copied().filter(|place| !free(place)).collect();
            if rest.is_empty() {
                return Ok(());
            }
            if rest.len() == left.len() {
                let ids: Vec<&str> =
                    rest.iter().filter_map(|&place| self.steps.get(place)).map(|step| step.id.as_str()).collect();
                let index = rest.first().copied().unwrap_or_default();
                let problem = format!("a cycle: none of {} can begin", ids.join(", "));
                return Err(Invalid::field(format!("steps[{index}].needs"), problem));
            }
            left = rest;
        }
    }
}

/// Go writes an empty list or map as `null`.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_without_an_id_are_given_one() -> Result<(), Invalid> {
        let pipeline = Pipeline::new("ship", "app").step("", "status").step("", "status").step("status-2", "build");
        let pipeline = pipeline.with_step_ids();
        pipeline.validate()?;
        let ids: Vec<&str> = pipeline.steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(ids, ["status", "status-3", "status-2"]);
        Ok(())
    }

    #[test]
    fn problems_are_named_by_their_path() {
        let problem = |pipeline: Pipeline| pipeline.validate().map_err(|error| error.to_string()).unwrap_err();
        assert!(problem(Pipeline::new("ship", "app")).starts_with("steps: "));
        assert!(problem(Pipeline::new("ship", "app").step("a", "b").step("a", "b")).starts_with("steps[1].id: "));
        assert!(problem(Pipeline::new("ship", "app").step("a", "B")).starts_with("steps[0].driver \"B\""));
    }

    fn graph(needs: &[&[&str]]) -> Pipeline {
        let mut pipeline = Pipeline::new("ship", "app");
        for (place, needs) in needs.iter().enumerate() {
            let needs = Some(needs.iter().map(|&id| id.to_owned()).collect());
            pipeline.steps.push(Step { id: format!("s{place}"), driver: "d".into(), needs, ..Step::default() });
        }
        pipeline
    }

    #[test]
    fn graphs_are_checked_for_cycles_and_strangers() {
        let problem = |needs: &[&[&str]]| graph(needs).validate().map_err(|error| error.to_string());
        assert_eq!(problem(&[&[], &["s0"], &["s0"], &["s1", "s2"]]), Ok(()));
        assert_eq!(graph(&[&["s1"], &[]]).needs(), [vec![1], vec![]]);
        let cycle = problem(&[&[], &["s2"], &["s1"]]).unwrap_err();
        assert!(cycle.starts_with("steps[1].needs: ") && cycle.contains("s1, s2"), "{cycle}");
        assert!(problem(&[&["s0"]]).unwrap_err().contains("cycle"));
        assert!(problem(&[&[], &["s9"]]).unwrap_err().starts_with("steps[1].needs[0]: "));
        assert_eq!(Pipeline::new("p", "app").step("a", "d").step("b", "d").needs(), [vec![], vec![0]]);
    }

    #[test]
    fn an_expression_may_only_name_results_that_are_there() {
        let mut pipeline = graph(&[&[], &["s0"], &["s1"], &[]]);
        pipeline.steps[2].when = Some("results.s0.success && results.s1.success".into());
        assert_eq!(pipeline.validate(), Ok(()));
        pipeline.steps[2].when = Some("results.s3.success".into());
        let problem = pipeline.validate().unwrap_err().to_string();
        assert!(problem.starts_with("steps[2].when: results.s3: step \"s3\" need not be done before"), "{problem}");
        pipeline.steps[2].finally = true;
        pipeline.steps[2].needs = None;
        assert_eq!(pipeline.validate(), Ok(()), "a last step comes after all others");
    }

    #[test]
    fn unknown_fields_and_impossible_values_are_refused() {
        let step = |policy: &str| -> Result<(), String> {
            let text = format!(r#"{{"name":"p","resource":"app","steps":[{{"id":"a","driver":"d",{policy}}}]}}"#);
            let pipeline: Pipeline = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            pipeline.validate().map_err(|error| error.to_string())
        };
        assert_eq!(step(r#""timeout":"90s","retry":{"max_attempts":3,"backoff":{"initial":"2s"}}"#), Ok(()));
        assert!(step(r#""colour":"red""#).unwrap_err().contains("colour"));
        assert!(step(r#""timeout":"-1s""#).unwrap_err().starts_with("steps[0].timeout: "));
        assert!(step(r#""retry":{"max_attempts":0}"#).unwrap_err().starts_with("steps[0].retry.max_attempts: "));
        let jitter = step(r#""retry":{"max_attempts":2,"backoff":{"jitter":3}}"#);
        assert!(jitter.unwrap_err().starts_with("steps[0].retry.backoff.jitter: "));
        assert!(step(r#""finally":true"#).unwrap_err().starts_with("steps: "));
        assert!(step(r#""when":"resource.spec.a =="#).is_err());
        let when = step(r#""when":"resource.spec.a == ""#);
        assert!(
            when.as_ref().unwrap_err().starts_with("steps[0].when: expression `resource.spec.a == `, column "),
            "{when:?}"
        );
        assert!(step(r#""when":"results.b.success""#).unwrap_err().starts_with("steps[0].when: results.b: no step"));
        assert!(step(r#""matrix":{"over":3}"#).unwrap_err().starts_with("steps[0].matrix.over: "));
        assert!(step(r#""approval":{}"#).unwrap_err().starts_with("steps[0].driver: "));
    }
}
