//! The messages that carry a run's effects. Pure: record in, message out.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use super::context::{earlier_results, shared_context};
use super::data::Loaded;
use super::machine::{Belt, Effect, Limits};
use crate::bus::{self, Place, subject};
use crate::config;
use crate::model::{
    CancelSignal, Digest, DriverMessage, Grant, PipelineEvent, Placement, Resource, Run, StepRecord, StepResult, keys,
};

/// What the core may know of the world: the time, and the places of drivers for resources of a type.
#[must_use]
pub fn belt(now: Timestamp, places: &BTreeMap<String, Place>, resource: &str, config: &config::Engine) -> Belt {
    let broadcast = subject::resources(resource);
    let (mut connected, mut placed, mut listening) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (name, place) in places {
        let (driver, placement) = Placement::of_place(name);
        let token = || place.token.clone();
        if place.takes(&broadcast) {
            listening.insert(driver.to_owned(), token());
        }
        if let Some(placement) = placement {
            if place.takes(&subject::driver(name, resource)) {
                // While a placement changes, both places may be there: the first in the order of names is taken.
                placed.entry(driver.to_owned()).or_insert((placement, token()));
            }
        } else if place.takes(&subject::driver(driver, resource)) {
            connected.insert(driver.to_owned(), token());
        }
    }
    Belt {
        now,
        connected,
        placed,
        listening,
        group: None,
        data: Loaded::default(),
        limits: Limits { fan_out: config.fan_out, result_bytes: config.result_bytes },
    }
}

/// The message for an effect; `None` if the record does not know its step.
pub fn message(run: &Run, effect: &Effect) -> Result<Option<bus::Message>, serde_json::Error> {
    match effect {
        Effect::Announce => announcement(run).map(Some),
        Effect::Dispatch { step, attempt, dispatch } => {
            let Some(record) = run.steps.get(*step) else { return Ok(None) };
            let subject = subject::driver(&station(record), &run.input.resource.resource);
            let id = dispatch_id(run, &record.id, *attempt, *dispatch);
            let grant = run.policy(*step).and_then(|policy| policy.grant.clone());
            let address = Address { subject, id, step: &record.id, attempt: *attempt, record: Some(record), grant };
            driver_message(run, &address).map(Some)
        }
        Effect::Broadcast => {
            let subject = subject::resources(&run.input.resource.resource);
            let id = dispatch_id(run, keys::EVERY_DRIVER, 1, 1);
            let address = Address { subject, id, step: keys::EVERY_DRIVER, attempt: 1, record: None, grant: None };
            driver_message(run, &address).map(Some)
        }
    }
}

/// The copy of a dispatch for a component that shadows the remote instances to which the dispatch goes.
pub fn shadow(run: &Run, effect: &Effect, places: &BTreeMap<String, Place>) -> Option<bus::Message> {
    let Effect::Dispatch { step, .. } = effect else { return None };
    let record = run.steps.get(*step).filter(|record| record.station.is_none())?;
    let station = Placement::Shadow.station(&record.driver)?;
    let subject = subject::driver(&station, &run.input.resource.resource);
    places.get(&station).filter(|place| place.takes(&subject))?;
    let message = message(run, effect).ok()??;
    Some(bus::Message { subject, id: format!("{}/shadow", message.id), ..message })
}

/// The name of the place to which a step goes.
fn station(record: &StepRecord) -> String {
    let placed = record.station.and_then(|placement| placement.station(&record.driver));
    placed.unwrap_or_else(|| record.driver.clone())
}

/// The signals, with their subjects, that tell drivers to stop attempts which ended without their word between two
/// states of a record.
#[must_use]
pub fn unwanted(before: &Run, after: &Run) -> Vec<(String, Bytes)> {
    let steps = before.steps.iter().zip(&after.steps);
    let given_up = steps.filter(|(before, after)| {
        let new = after.attempts.len() > before.attempts.len();
        before.attempt > 0 && new && after.attempts.last().is_some_and(|last| GIVEN_UP.contains(&last.outcome.as_str()))
    });
    let signals = given_up.filter_map(|(before, _)| {
        let (run_id, step) = (after.head.id.to_string(), before.id.clone());
        let signal = CancelSignal { run_id, step, attempt: before.attempt };
        Some((subject::cancel(&before.driver), json(&signal).ok()?))
    });
    signals.collect()
}

/// How attempts end that nobody reported on.
const GIVEN_UP: [&str; 3] = ["timeout", "cancelled", "lost"];

struct Address<'a> {
    subject: String,
    id: String,
    step: &'a str,
    attempt: u32,
    /// Of the step, if the message is for one driver.
    record: Option<&'a StepRecord>,
    /// What the step leaves of its driver's grant.
    grant: Option<Grant>,
}

fn announcement(run: &Run) -> Result<bus::Message, serde_json::Error> {
    let event = PipelineEvent {
        event: run.head.event.as_str().to_owned(),
        run_id: run.head.id.to_string(),
        resource: run.input.resource.clone(),
        driverresult: StepResult::default(),
    };
    let id = format!("{}/init", run.head.id);
    Ok(bus::Message { subject: subject::PIPELINE_INIT.to_owned(), id, payload: json(&event)? })
}

fn driver_message(run: &Run, address: &Address<'_>) -> Result<bus::Message, serde_json::Error> {
    let message = DriverMessage {
        event: run.head.event.as_str().to_owned(),
        payload: serde_json::to_string(&payload(run, address))?,
        id: message_id(&address.id),
        run_id: run.head.id.to_string(),
        step: address.step.to_owned(),
        attempt: address.attempt,
        context: Some(shared_context(run, address.record)),
        digests: pinned(run, address.step),
        grant: address.grant.clone(),
    };
    Ok(bus::Message { subject: address.subject.clone(), id: address.id.clone(), payload: json(&message)? })
}

/// The resource as the driver sees it. Its metadata carries, as strings, what SDK drivers must echo and what steps share.
fn payload(run: &Run, address: &Address<'_>) -> Resource {
    let mut resource = run.input.resource.clone();
    let metadata = &mut resource.metadata;
    metadata.insert(keys::RUN.to_owned(), run.head.id.to_string());
    metadata.insert(keys::STEP.to_owned(), address.step.to_owned());
    metadata.insert(keys::ATTEMPT.to_owned(), address.attempt.to_string());
    if let Some(matrix) = address.record.and_then(|record| record.matrix.as_ref()) {
        metadata.insert(keys::ITEM.to_owned(), matrix.item.to_string());
    }
    for (key, value) in run.input.pipeline.iter().flat_map(|pipeline| &pipeline.metadata) {
        metadata.insert(format!("{}{key}", keys::PIPELINE), value.clone());
    }
    // In the order of the steps: of a driver that acts twice, the later result stands.
    for (step, result) in earlier_results(run) {
        if let Ok(text) = serde_json::to_string(&result) {
            metadata.insert(format!("{}{}", keys::DRIVER_RESULT, step.driver), text);
        }
    }
    resource
}

fn pinned(run: &Run, step: &str) -> BTreeMap<String, Digest> {
    let addressed = |record: &&Arc<StepRecord>| step == keys::EVERY_DRIVER || record.id == step;
    let digests =
        run.steps.iter().filter(addressed).filter_map(|record| Some((&record.driver, record.digest.as_ref()?)));
    digests.map(|(driver, digest)| (driver.clone(), digest.clone())).collect()
}

/// `run/step/attempt`, and for a dispatch that is sent anew because its place was lost, a number behind it: the first
/// id would be taken for a duplicate.
fn dispatch_id(run: &Run, step: &str, attempt: u32, dispatch: u32) -> String {
    let id = format!("{}/{step}/{attempt}", run.head.id);
    if dispatch > 1 { format!("{id}#{dispatch}") } else { id }
}

/// 24 lowercase hex digits (wire protocol 1.5).
fn message_id(dispatch: &str) -> String {
    Digest::of(dispatch.as_bytes()).hex().chars().take(24).collect()
}

fn json<T: Serialize>(value: &T) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(value).map(Bytes::from)
}
