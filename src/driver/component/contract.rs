//! What the contract offers to guests, in each of its versions, and how a guest of each is called.

use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, Linker};

use super::bindings::{v1, v2};
use super::state::State;
use crate::driver::{Level, ValueError};
use crate::model::{RunEntry, RunValue, Unchanged};

pub(super) use v1::conveyor::driver::driver_types::{DriverResult as Answer, Failure as Refusal, TargetResource};
pub(super) use v1::exports::conveyor::driver::reconciler::ReconcileRequest;
use v2::conveyor::driver::run_values::{self, Entry, Error, Value};

/// The versions of the contract that the host speaks, and the interface that a component of each exports. The newest comes
/// first: it is the one that is called if a component exports several.
pub(super) const VERSIONS: [(&str, &str); 2] =
    [("0.2.0", "conveyor:driver/reconciler@0.2.0"), ("0.1.0", "conveyor:driver/reconciler@0.1.0")];

/// A linked component of one of the versions.
pub(super) enum Linked {
    V1(v1::DriverPre<State>),
    V2(v2::DriverPre<State>),
}

/// Offers what every version offers.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    v1::conveyor::driver::host_log::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    v2::conveyor::driver::host_log::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    v2::conveyor::driver::run_progress::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    run_values::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl Linked {
    pub(super) fn new(component: &Component, linker: &Linker<State>) -> wasmtime::Result<Self> {
        let [(_, second), _] = VERSIONS;
        let linked = linker.instantiate_pre(component)?;
        if component.get_export_index(None, second).is_some() {
            return v2::DriverPre::new(linked).map(Self::V2);
        }
        v1::DriverPre::new(linked).map(Self::V1)
    }

    /// The component.
    pub(super) fn component(&self) -> &Component {
        match self {
            Self::V1(driver) => driver.instance_pre().component(),
            Self::V2(driver) => driver.instance_pre().component(),
        }
    }

    /// Makes an instance and calls it.
    pub(super) async fn reconcile(
        &self,
        store: &mut Store<State>,
        request: &ReconcileRequest,
    ) -> wasmtime::Result<Result<Answer, Refusal>> {
        match self {
            Self::V1(driver) => {
                let driver = driver.instantiate_async(&mut *store).await?;
                driver.conveyor_driver_reconciler().call_reconcile(&mut *store, request).await
            }
            Self::V2(driver) => {
                let driver = driver.instantiate_async(&mut *store).await?;
                driver.conveyor_driver_reconciler().call_reconcile(&mut *store, request).await
            }
        }
    }
}

impl v1::conveyor::driver::host_log::Host for State {
    async fn log(&mut self, level: v1::conveyor::driver::host_log::Level, message: String) {
        use v1::conveyor::driver::host_log::Level as Said;
        let level = match level {
            Said::Debug => Level::Debug,
            Said::Info => Level::Info,
            Said::Warn => Level::Warn,
            Said::Error => Level::Error,
        };
        self.output.log(level, &message).await;
    }
}

impl v2::conveyor::driver::host_log::Host for State {
    async fn log(&mut self, level: v2::conveyor::driver::host_log::Level, message: String) {
        use v2::conveyor::driver::host_log::Level as Said;
        let level = match level {
            Said::Debug => Level::Debug,
            Said::Info => Level::Info,
            Said::Warn => Level::Warn,
            Said::Error => Level::Error,
        };
        self.output.log(level, &message).await;
    }
}

impl v2::conveyor::driver::run_progress::Host for State {
    async fn progress(&mut self, percent: u8, message: String) {
        self.output.progress(percent, &message).await;
    }
}

impl run_values::Host for State {
    async fn get(&mut self, key: String) -> Result<Option<Entry>, Error> {
        Ok(self.values.get(&key).await?.map(Entry::from))
    }

    async fn put(&mut self, key: String, value: Value, revision: Option<u64>) -> Result<u64, Error> {
        let value = match value {
            Value::Text(text) => RunValue::Text(self.output.redacted(text)),
            Value::Integer(number) => RunValue::Integer(number),
            Value::Number(number) => RunValue::Number(number),
            Value::Boolean(is) => RunValue::Boolean(is),
            Value::Json(text) => serde_json::from_str(&self.output.redacted(text))
                .map(RunValue::Json)
                .map_err(|error| Error::Refused(format!("the value is no JSON: {error}")))?,
        };
        Ok(self.values.put(&key, value, revision).await?)
    }

    async fn delete(&mut self, key: String, revision: Option<u64>) -> Result<(), Error> {
        self.values.delete(&key, revision).await?;
        Ok(())
    }

    async fn keys(&mut self, prefix: String) -> Result<Vec<String>, Error> {
        Ok(self.values.keys(&prefix).await?)
    }
}

impl From<RunEntry> for Entry {
    fn from(RunEntry { value, revision }: RunEntry) -> Self {
        let value = match value {
            RunValue::Text(text) => Value::Text(text),
            RunValue::Integer(number) => Value::Integer(number),
            RunValue::Number(number) => Value::Number(number),
            RunValue::Boolean(is) => Value::Boolean(is),
            RunValue::Json(json) => Value::Json(json.to_string()),
        };
        Self { value, revision }
    }
}

impl From<ValueError> for Error {
    fn from(error: ValueError) -> Self {
        match error {
            ValueError::Unchanged(Unchanged::Conflict(entry)) => Self::Conflict(entry.map(Entry::from)),
            ValueError::Unchanged(Unchanged::Refused(why)) => Self::Refused(why),
            ValueError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}
