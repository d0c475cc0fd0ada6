//! What `apply` reads: documents of YAML or JSON, each a resource definition, a pipeline or a resource.
//!
//! A document is read twice: first its `kind`, then all of it as that kind, straight from the text, so that every
//! error knows its line and no field is taken silently.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Concurrency, Step};

/// The most bytes of one file. The server takes 1 MiB a document by default.
pub const MAX_BYTES: usize = 16 << 20;

/// What a document describes, in the order in which documents are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A type of resource.
    ResourceDefinition,
    /// Drivers in their order.
    Pipeline,
    /// What moves on the belt.
    Resource,
}

impl Kind {
    /// The word in a manifest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ResourceDefinition => "ResourceDefinition",
            Self::Pipeline => "Pipeline",
            Self::Resource => "Resource",
        }
    }
}

/// One document, read and checked for unknown fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it describes.
    pub kind: Kind,
    /// The name of what it describes.
    pub name: String,
    /// The type of resource; empty for a definition, whose name is the type.
    pub resource: String,
    /// What is sent to the server.
    pub body: Value,
}

impl Document {
    /// For people: `pipeline ship`, `resource lockfile/own`.
    #[must_use]
    pub fn label(&self) -> String {
        match self.kind {
            Kind::ResourceDefinition => format!("definition {}", self.name),
            Kind::Pipeline => format!("pipeline {}", self.name),
            Kind::Resource => format!("resource {}/{}", self.resource, self.name),
        }
    }
}

/// What is wrong with a file, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A document cannot be read.
    #[error("document {number}{}: {problem}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Document {
        /// Counted from 1, empty documents apart.
        number: usize,
        /// Line of the file, counted from 1, where it is known.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
    },
    /// There is no document in it.
    #[error("it holds no document")]
    Empty,
    /// It is too long.
    #[error("it has {0} bytes: {MAX_BYTES} is the most")]
    TooLong(usize),
}

/// Reads every document of `text`.
///
/// # Errors
/// The first document that is wrong.
pub fn parse(text: &str) -> Result<Vec<Document>, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::TooLong(text.len()));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (slices, format) =
        json_documents(text).map_or_else(|| (yaml_documents(text), Format::Yaml), |s| (s, Format::Json));
    if slices.is_empty() {
        return Err(Error::Empty);
    }
    let read = |(index, slice): (usize, &Slice<'_>)| {
        slice.read(format).map_err(|(line, problem)| Error::Document {
            number: index + 1,
            line: line.map(|line| line + slice.lines_before),
            problem,
        })
    };
    slices.iter().enumerate().map(read).collect()
}

#[derive(Clone, Copy)]
enum Format {
    Yaml,
    Json,
}

/// The text of one document and how many lines of the file stand before it.
struct Slice<'a> {
    text: &'a str,
    lines_before: usize,
}

type Refusal = (Option<usize>, String);

#[derive(Deserialize)]
struct Head {
    kind: Kind,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DefinitionBody {
    #[serde(rename = "kind", skip_serializing)]
    _kind: IgnoredAny,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    schema: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PipelineBody {
    #[serde(rename = "kind", skip_serializing)]
    _kind: IgnoredAny,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    resource: String,
    steps: Vec<Step>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline: Option<SignedDuration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concurrency: Option<Concurrency>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceBody {
    #[serde(rename = "kind", skip_serializing)]
    _kind: IgnoredAny,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    name: String,
    resource: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pipeline: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    spec: Value,
}

impl Slice<'_> {
    fn read(&self, format: Format) -> Result<Document, Refusal> {
        let Head { kind } = self.typed(format)?;
        let (name, resource, body) = match kind {
            Kind::ResourceDefinition => {
                let definition: DefinitionBody = self.typed(format)?;
                (definition.name.clone(), String::new(), serde_json::to_value(definition))
            }
            Kind::Pipeline => {
                let pipeline: PipelineBody = self.typed(format)?;
                (pipeline.name.clone(), pipeline.resource.clone(), serde_json::to_value(pipeline))
            }
            Kind::Resource => {
                let resource: ResourceBody = self.typed(format)?;
                (resource.name.clone(), resource.resource.clone(), serde_json::to_value(resource))
            }
        };
        let body = body.map_err(|error| (None, error.to_string()))?;
        Ok(Document { kind, name, resource, body })
    }

    fn typed<T: DeserializeOwned>(&self, format: Format) -> Result<T, Refusal> {
        match format {
            Format::Json => serde_json::from_str(self.text).map_err(|error| {
                let text = error.to_string();
                // The line within the document would contradict the line within the file.
                let problem = text.split(" at line ").next().unwrap_or_default().to_owned();
                (Some(error.line()), problem)
            }),
            Format::Yaml => serde_saphyr::from_str_with_options(self.text, limits()).map_err(|error| {
                let line = error.location().and_then(|location| usize::try_from(location.line()).ok());
                let formatter = serde_saphyr::UserMessageFormatter;
                let text = error.without_snippet().render_with_formatter(&formatter);
                let problem = text.split(" at line ").next().unwrap_or_default().to_owned();
                (line, problem)
            }),
        }
    }
}

/// Bounds against documents that are small in a file and large in memory.
fn limits() -> serde_saphyr::Options {
    let mut options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_events: 500_000,
            max_total_scalar_bytes: 32 << 20,
        },
        // As in YAML 1.2: the country code `no` is a text.
        strict_booleans: true,
        with_snippet: false,
    };
    options.alias_limits.max_total_replayed_events = 100_000;
    options
}

/// The values of a text that is nothing but JSON, or none if it is something else.
fn json_documents(text: &str) -> Option<Vec<Slice<'_>>> {
    // A YAML document may begin with a brace too; only a text that is JSON throughout is taken for JSON.
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let mut slices = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let mut start = 0;
    while let Some(value) = stream.next() {
        value.ok()?;
        slices.push(slice(text, start, stream.byte_offset()));
        start = stream.byte_offset();
    }
    Some(slices)
}

/// The documents between the markers. At the beginning of a line, `---` and `...` are markers wherever they stand,
/// within block and quoted scalars too (YAML 1.2, 9.1.2).
fn yaml_documents(text: &str) -> Vec<Slice<'_>> {
    let mut slices = Vec::new();
    let (mut start, mut offset) = (0, 0);
    for line in text.split_inclusive('\n') {
        if is_marker(line, "---") || is_marker(line, "...") {
            slices.push(slice(text, start, offset));
            // The rest of the line of `---` may begin the document.
            start = offset + 3;
        }
        offset += line.len();
    }
    slices.push(slice(text, start, offset));
    slices.retain(|slice| !is_blank(slice.text));
    slices
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// Nothing but comments and directives.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#') || line.starts_with('%'))
}

fn slice(text: &str, start: usize, end: usize) -> Slice<'_> {
    let before = text.get(..start).unwrap_or_default();
    Slice { text: text.get(start..end).unwrap_or_default(), lines_before: before.matches('\n').count() }
}
