//! Which runs a list shows.

use jiff::Timestamp;

use super::Error;
use crate::model::{RunHead, RunId, RunStatus, check_label, check_name};
use crate::store::keys;

/// Which runs; all given conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFilter {
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// That stand so.
    pub status: Option<RunStatus>,
    /// About this resource: `TYPE/NAME`, or `NAME` of any type.
    pub resource: Option<String>,
    /// Created then or later.
    pub since: Option<Timestamp>,
    /// Created before then.
    pub until: Option<Timestamp>,
    /// With all these labels, each a key and a value.
    pub labels: Vec<(String, String)>,
    /// With this text in the name of the pipeline or the resource, the message, the id, or a label written `key=value`;
    /// upper and lower case are the same.
    pub text: Option<String>,
}

impl RunFilter {
    /// Checks what is asked for; what passes can be a part of a key.
    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(pipeline) = &self.pipeline {
            check_name("pipeline", pipeline)?;
        }
        match self.resource.as_deref().map(|resource| resource.split_once('/').ok_or(resource)) {
            Some(Ok((kind, name))) => {
                check_name("resource", kind)?;
                check_name("resource", name)?;
            }
            Some(Err(name)) => check_name("resource", name)?,
            None => {}
        }
        Ok(self.labels.iter().try_for_each(|(key, value)| check_label(key, value))?)
    }

    /// Whether a run fits.
    #[must_use]
    pub fn takes(&self, head: &RunHead) -> bool {
        let about = |wanted: &str| match wanted.split_once('/') {
            Some((kind, name)) => head.resource.resource == kind && head.resource.name == name,
            None => head.resource.name == wanted,
        };
        self.pipeline.as_ref().is_none_or(|pipeline| head.pipeline.as_ref() == Some(pipeline))
            && self.status.is_none_or(|status| head.status == status)
            && self.resource.as_deref().is_none_or(about)
            && self.since.is_none_or(|since| head.created_at >= since)
            && self.until.is_none_or(|until| head.created_at < until)
            && self.labels.iter().all(|(key, value)| head.labels.get(key) == Some(value))
            && self.text.as_deref().is_none_or(|text| mentions(head, &text.to_lowercase()))
    }

    /// Whether a run may fit, by the JSON of its head: reading a head takes longer than looking through its text.
    pub(super) fn may_take(&self, head: &[u8]) -> bool {
        let Some(text) = &self.text else { return true };
        // Elsewhere the JSON may spell the text in another way.
        let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'=');
        if text.is_empty() || !text.as_bytes().iter().all(plain) || !head.is_ascii() {
            return true;
        }
        head.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
    }

    /// The ids that the time leaves: not less than the first, less than the second.
    pub(super) fn ids(&self) -> (RunId, RunId) {
        let least = self.since.map_or(RunId::LEAST, RunId::least);
        // The last millisecond may be wanted in part.
        let below = self.until.and_then(|until| until.checked_add(jiff::SignedDuration::from_millis(1)).ok());
        (least, below.map_or(RunId::GREATEST, RunId::least))
    }

    /// The indexes that hold every run that fits.
    pub(super) fn indexes(&self) -> Vec<String> {
        let mut prefixes: Vec<String> = self.active().into_iter().collect();
        prefixes.extend(self.status.filter(|status| status.is_finished()).map(keys::index_status));
        let name = self.resource.as_deref().map(|resource| resource.split_once('/').map_or(resource, |(_, name)| name));
        prefixes.extend(name.map(keys::index_resource));
        prefixes.extend(self.pipeline.as_deref().map(keys::index_pipeline));
        prefixes.extend(self.labels.iter().map(|(key, value)| keys::index_label(key, value)));
        prefixes
    }

    /// The runs under way, if only some of them fit.
    pub(super) fn active(&self) -> Option<String> {
        self.status.filter(|status| !status.is_finished()).map(|_| keys::ACTIVE.to_owned())
    }
}

fn mentions(head: &RunHead, text: &str) -> bool {
    let has = |place: &str| place.to_lowercase().contains(text);
    has(&head.resource.name)
        || head.pipeline.as_deref().is_some_and(has)
        || has(&head.message)
        || has(&head.id.to_string())
        || head.labels.iter().any(|(key, value)| has(&format!("{key}={value}")))
}
