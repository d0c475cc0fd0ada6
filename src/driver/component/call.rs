//! One call of a component, from the request to the result.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use wasmtime::{Engine, Store};

use super::bindings::conveyor::driver::driver_types::{DriverResult as Answer, Failure as Refusal, TargetResource};
use super::bindings::exports::conveyor::driver::reconciler::ReconcileRequest;
use super::border::Granted;
use super::compiled::Compiled;
use super::limits::{Bytes, HANDLES, Limits};
use super::output::Output;
use super::state::State;
use super::trap;
use crate::driver::{Failure, Request};
use crate::model::DriverResult;

/// Calls the component in a store of its own, within its bounds. Dropping the future ends the guest.
pub(super) async fn call(
    engine: &Engine,
    compiled: &Compiled,
    request: &Request,
    granted: Granted,
    limits: &Limits,
) -> Result<DriverResult, Failure> {
    let input = input(request)?;
    let secrets = granted.secrets.clone();
    let output = Output::new(request.log.clone(), limits, secrets.clone());
    let deadline = Instant::now() + limits.wall_time;
    let granted = Arc::new(granted);
    let mut store = store(engine, State::new(output.clone(), limits, granted.clone())?, limits);
    // The guest yields on every tick of the epoch, and a guest that waits in a host call is a future like any other: so
    // this ends both.
    let ended = tokio::select! {
        biased;
        ended = timeout_at(deadline, invoke(&mut store, compiled, &input)) => ended.map_err(|_| None),
        outgrown = granted.outgrown() => Err(Some(outgrown)),
    };
    let outcome = match ended {
        Ok(Ok(answer)) => answer.map_err(Failure::from).and_then(|answer| accept(answer, limits)),
        Ok(Err(error)) => Err(trap::failure(&error, &store.data().budget, limits, &output)),
        Err(Some(outgrown)) => Err(Failure::OutOfBudget(outgrown)),
        Err(None) => Err(Failure::OutOfBudget(format!("time: more than {} ms", limits.wall_time.as_millis()))),
    };
    drop(store);
    output.finish();
    // A reader of logs that is too slow costs the last lines, not the result.
    let _ = timeout_at(deadline, output.drain()).await;
    match outcome {
        Ok(result) => Ok(secrets.redacted_result(result)),
        Err(failure) => Err(secrets.redacted_failure(failure)),
    }
}

/// A fresh store with every bound set.
fn store(engine: &Engine, state: State, limits: &Limits) -> Store<State> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.budget);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    store.set_hostcall_fuel(limits.hostcall_bytes);
    store.set_max_component_handles(HANDLES);
    store
}

async fn invoke(
    store: &mut Store<State>,
    compiled: &Compiled,
    input: &ReconcileRequest,
) -> wasmtime::Result<Result<Answer, Refusal>> {
    let driver = compiled.driver().instantiate_async(&mut *store).await?;
    driver.conveyor_driver_reconciler().call_reconcile(&mut *store, input).await
}

/// The request in the words of the contract.
fn input(request: &Request) -> Result<ReconcileRequest, Failure> {
    let not_json = |error: serde_json::Error| Failure::Permanent(format!("the request has no JSON form: {error}"));
    let resource = &request.resource;
    Ok(ReconcileRequest {
        run_id: request.run.to_string(),
        step_id: request.step.clone(),
        attempt: request.attempt,
        event: request.event.clone(),
        target: TargetResource {
            id: resource.id.clone(),
            name: resource.name.clone(),
            resource_type: resource.resource.clone(),
            version: resource.version().to_string(),
            spec: serde_json::to_string(&resource.spec).map_err(not_json)?,
        },
        context: serde_json::to_string(&request.context).map_err(not_json)?,
    })
}

/// Checks what the driver answered.
fn accept(answer: Answer, limits: &Limits) -> Result<DriverResult, Failure> {
    let size = answer.message.len() + answer.data.len();
    if size > limits.result_bytes {
        return Err(Failure::Permanent(format!(
            "the driver answered {size} bytes; engine.result_bytes allows {}",
            Bytes(limits.result_bytes),
        )));
    }
    let data = if answer.data.trim().is_empty() { Ok(Value::Null) } else { serde_json::from_str(&answer.data) };
    let data =
        data.map_err(|error| Failure::Permanent(format!("the driver answered data that is not JSON: {error}")))?;
    Ok(DriverResult { success: answer.success, message: answer.message, data, blob: None })
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Retryable(reason) => Self::Retryable(reason),
            Refusal::Permanent(reason) => Self::Permanent(reason),
        }
    }
}
