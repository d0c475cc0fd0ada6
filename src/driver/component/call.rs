//! One call of a component, from the request to the result.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use wasmtime::{CallHook, Engine, Store, UpdateDeadline};

use super::border::Granted;
use super::compiled::Compiled;
use super::contract::{Answer, ReconcileRequest, Refusal, TargetResource};
use super::limits::{Bytes, Limits};
use super::output::Output;
use super::state::State;
use super::trap;
use super::turns::Turn;
use super::watch::{Times, Watch};
use crate::driver::{Failure, Request};
use crate::model::{DriverResult, Usage};

/// What one call needs.
pub(super) struct Call {
    /// Where it runs.
    pub engine: Engine,
    /// What is called.
    pub compiled: Compiled,
    /// What it is asked.
    pub request: Request,
    /// What it may reach.
    pub granted: Granted,
    /// Its bounds.
    pub limits: Arc<Limits>,
    /// Times it.
    pub watch: Watch,
    /// Given back when nothing is left of the guest.
    pub turn: Turn,
}

/// Calls the component in a store of its own, within its bounds, and says on the request's meter what that took. Dropping
/// the future ends the guest.
pub(super) async fn call(call: Call) -> Result<DriverResult, Failure> {
    let Call { engine, compiled, request, granted, limits, watch, turn } = call;
    let (request, limits) = (&request, limits.as_ref());
    let input = input(request)?;
    let secrets = granted.secrets.clone();
    let output = Output::new(request.log.clone(), limits, secrets.clone());
    let deadline = Instant::now() + limits.wall_time;
    let granted = Arc::new(granted);
    let mut store =
        store(&engine, State::new(output.clone(), limits, granted.clone(), watch.clone(), request)?, limits)?;
    // The guest yields on every tick of the epoch, and a guest that waits in a host call is a future like any other: so
    // this ends both.
    let work = watch.time(limits.cpu_time, compiled.linked().reconcile(&mut store, &input));
    let ended = tokio::select! {
        biased;
        ended = timeout_at(deadline, work) => match ended {
            Ok(ended) => ended.map_err(|too_long| format!("time: {too_long}")),
            Err(_) => Err(format!("time: more than {} ms", limits.wall_time.as_millis())),
        },
        outgrown = granted.outgrown() => Err(outgrown),
    };
    let outcome = match ended {
        Ok(Ok(answer)) => answer.map_err(Failure::from).and_then(|answer| accept(answer, limits)),
        Ok(Err(error)) => Err(trap::failure(&error, &store.data().budget, limits, &output)),
        Err(spent) => Err(Failure::OutOfBudget(spent)),
    };
    request.meter.record(usage(&store, watch.times(), limits));
    drop(store);
    // Its place in the pool is free.
    drop(turn);
    output.finish();
    // A reader of logs that is too slow costs the last lines, not the result.
    let _ = timeout_at(deadline, output.drain()).await;
    match outcome {
        Ok(result) => Ok(secrets.redacted_result(result)),
        Err(failure) => Err(secrets.redacted_failure(failure)),
    }
}

/// A fresh store with every bound set.
fn store(engine: &Engine, state: State, limits: &Limits) -> Result<Store<State>, Failure> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.budget);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|context| {
        context.data().watch.interrupted();
        Ok(UpdateDeadline::Yield(1))
    });
    store.call_hook(|context, hook| {
        match hook {
            CallHook::CallingHost => context.data().watch.in_host(true),
            CallHook::ReturningFromHost => context.data().watch.in_host(false),
            // What is passed to and from the guest is a part of the guest's time.
            CallHook::CallingWasm | CallHook::ReturningFromWasm => {}
        }
        Ok(())
    });
    store.set_hostcall_fuel(limits.hostcall_bytes);
    store.set_max_component_handles(limits.handles);
    if let Some(fuel) = limits.fuel {
        store.set_fuel(fuel).map_err(|error| Failure::NotCallable(format!("fuel cannot be metered: {error:#}")))?;
    }
    Ok(store)
}

fn usage(store: &Store<State>, times: Times, limits: &Limits) -> Usage {
    let us = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let left = || store.get_fuel().unwrap_or_default();
    Usage {
        cpu_us: us(times.cpu),
        guest_us: us(times.guest),
        host_us: us(times.host),
        memory_bytes: u64::try_from(store.data().budget.memory()).unwrap_or(u64::MAX),
        fuel: limits.fuel.map(|fuel| fuel.saturating_sub(left())),
    }
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
            "the driver answered {size} bytes; result_bytes allows {}",
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
