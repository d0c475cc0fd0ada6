//! What a program is told: of its surroundings as much as it may see, and the request.

use std::ffi::OsString;

use serde_json::{Value, json};

use crate::driver::Request;

/// A variable that a program may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// As it is in this process, if it is there.
    Inherited(String),
    /// With this value.
    Set(String, String),
}

impl Allowed {
    /// What every program sees: enough to find other programs, its user's folder and its language.
    pub const BASE: [&str; 9] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];
}

impl std::str::FromStr for Allowed {
    type Err = String;

    /// Reads `NAME` or `NAME=VALUE`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        if name.is_empty() || name.contains('\0') {
            return Err("NAME or NAME=VALUE is expected".to_owned());
        }
        Ok(match value {
            Some(value) => Self::Set(name.to_owned(), value.to_owned()),
            None => Self::Inherited(name.to_owned()),
        })
    }
}

/// The variables that are let through.
pub(super) fn allowed(more: &[Allowed]) -> Vec<(String, OsString)> {
    let here = |name: &str| std::env::var_os(name).map(|value| (name.to_owned(), value));
    let base = Allowed::BASE.into_iter().filter_map(here);
    let more = more.iter().filter_map(|allowed| match allowed {
        Allowed::Inherited(name) => here(name),
        Allowed::Set(name, value) => Some((name.clone(), value.into())),
    });
    base.chain(more).collect()
}

/// The request, as a program reads it on standard input: one JSON object, in the words of the wire protocol.
pub(super) fn body(request: &Request) -> Vec<u8> {
    let body = json!({
        "run_id": request.run,
        "step": request.step,
        "attempt": request.attempt,
        "event": request.event,
        "resource": request.resource,
        "context": request.context,
    });
    let mut text = body.to_string().into_bytes();
    text.push(b'\n');
    text
}

/// The request as environment variables. Fields of the spec and of the pipeline's metadata stand as `CONVEYOR_SPEC_` and
/// `CONVEYOR_METADATA_` with their names in capitals, where every other character is `_`; lists and objects do not, and
/// neither does what is larger than `most` bytes.
pub(super) fn of_request(request: &Request, most: usize) -> Vec<(String, String)> {
    let resource = &request.resource;
    let mut all: Vec<(String, String)> = [
        ("RUN", request.run.to_string()),
        ("STEP", request.step.clone()),
        ("ATTEMPT", request.attempt.to_string()),
        ("EVENT", request.event.clone()),
        ("RESOURCE", resource.resource.clone()),
        ("NAME", resource.name.clone()),
        ("VERSION", resource.version().to_string()),
        ("PIPELINE", request.context.pipeline.clone()),
    ]
    .map(|(name, value)| (format!("CONVEYOR_{name}"), value))
    .into();
    all.extend(request.context.item.as_ref().map(|item| ("CONVEYOR_ITEM".to_owned(), text(item))));
    let fields = resource.spec.as_object().into_iter().flatten();
    let plain = fields.filter(|(_, value)| !value.is_object() && !value.is_array() && !value.is_null());
    all.extend(plain.map(|(key, value)| (variable("CONVEYOR_SPEC_", key), text(value))));
    let metadata = request.context.metadata.iter();
    all.extend(metadata.map(|(key, value)| (variable("CONVEYOR_METADATA_", key), value.clone())));
    // No system takes a NUL in a variable.
    all.retain(|(_, value)| value.len() <= most && !value.contains('\0'));
    all
}

/// `template` with the request's own run, step and attempt, made safe for a path.
pub(super) fn expand(template: &str, request: &Request) -> String {
    let step: String =
        request.step.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let expanded = template.replace("{run}", &request.run.to_string()).replace("{step}", &step);
    expanded.replace("{attempt}", &request.attempt.to_string())
}

fn variable(prefix: &str, key: &str) -> String {
    let plain = key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    prefix.chars().chain(plain).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::driver::{LogSink, Meter, SharedValues, Tape, UseLog};
    use crate::model::{Resource, RunId, SharedContext};

    fn request(spec: Value) -> Request {
        Request {
            run: RunId::new(Timestamp::UNIX_EPOCH),
            step: "../up".to_owned(),
            attempt: 2,
            event: "create".to_owned(),
            resource: Resource::new("app", "shop", spec),
            context: SharedContext { metadata: [("team".to_owned(), "belt".to_owned())].into(), ..Default::default() },
            digest: None,
            grant: None,
            values: SharedValues::default(),
            tape: Tape::default(),
            uses: UseLog::default(),
            log: LogSink::channel(1).0,
            meter: Meter::default(),
        }
    }

    #[test]
    fn what_is_plain_and_small_becomes_a_variable() {
        let spec =
            json!({ "git-url": "u", "depth": 3, "list": [1], "none": null, "nul": "a\0b", "long": "x".repeat(50) });
        let all = of_request(&request(spec), 40);
        let value = |name: &str| all.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(value("CONVEYOR_SPEC_GIT_URL"), Some("u"));
        assert_eq!(value("CONVEYOR_SPEC_DEPTH"), Some("3"));
        assert_eq!(value("CONVEYOR_METADATA_TEAM"), Some("belt"));
        assert_eq!((value("CONVEYOR_NAME"), value("CONVEYOR_ATTEMPT")), (Some("shop"), Some("2")));
        for absent in ["LIST", "NONE", "NUL", "LONG"] {
            assert_eq!(value(&format!("CONVEYOR_SPEC_{absent}")), None);
        }
    }

    #[test]
    fn a_step_cannot_lead_out_of_the_folder() {
        let request = request(Value::Null);
        assert_eq!(expand("w/{run}/{step}-{attempt}", &request), format!("w/{}/___up-2", request.run));
    }
}
