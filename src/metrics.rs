//! What is counted and measured, and its text form for Prometheus.
//!
//! Names begin with `conveyor_`, units are base units; no run id is ever a label, so that the number of series stays
//! bounded.

mod component_usage;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub use component_usage::ComponentUsage;

/// One label that says what kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Kind {
    /// A word from a fixed set.
    pub kind: String,
}

/// A driver and how its work came out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DriverOutcome {
    /// The driver's name.
    pub driver: String,
    /// `succeeded`, `failed` or a kind of failure.
    pub outcome: String,
}

/// A driver and a kind of what it was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Refused {
    /// The driver's name.
    pub driver: String,
    /// `http`, `folders`, `env` or `secrets`.
    pub capability: String,
}

/// A driver whose component shadows remote instances, and whether both answered the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Compared {
    /// The driver's name.
    pub driver: String,
    /// Whether both answered the same.
    pub equal: bool,
}

/// A driver.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Driver {
    /// The driver's name.
    pub driver: String,
}

/// A route and how it answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The route's pattern, never the path itself.
    pub route: String,
    /// The HTTP status.
    pub status: u16,
}

type Durations<Label> = Family<Label, Histogram, fn() -> Histogram>;

/// Every metric; one of these for every server, so that two in one process do not mix.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Runs that were accepted.
    pub runs_accepted: Counter,
    /// Runs that ended, by status.
    pub runs_finished: Family<Kind, Counter>,
    /// Runs that have not ended, as the last sweep counted them.
    pub runs_active: Gauge,
    /// From acceptance to end.
    pub run_seconds: Histogram,
    /// Steps that were sent, again or for the first time.
    pub steps_dispatched: Counter,
    /// From dispatch to result, by driver and outcome.
    pub step_seconds: Durations<DriverOutcome>,
    /// Results that changed nothing, by reason.
    pub results_rejected: Family<Kind, Counter>,
    /// Transitions that lost a compare-and-swap and were decided again.
    pub conflicts: Counter,
    /// Events that wait for an engine worker.
    pub engine_queue: Gauge,
    /// Calls of components, by driver and outcome.
    pub component_seconds: Durations<DriverOutcome>,
    /// Calls of components that are under way.
    pub component_calls: Gauge,
    /// What was refused to components because it is not granted, by driver and kind.
    pub refused: Family<Refused, Counter>,
    /// What the calls of components took.
    pub component_usage: ComponentUsage,
    /// Calls of components that wait for their turn.
    pub component_queue: Gauge,
    /// 1 if the driver is tripped: its calls failed again and again, and fail at once now.
    pub component_tripped: Family<Driver, Gauge>,
    /// Attempts that both a component and the remote instances that it shadows answered.
    pub compared: Family<Compared, Counter>,
    /// How often drivers were tripped.
    pub component_trips: Family<Driver, Counter>,
    /// Transactions of the engine on the store.
    pub commit_seconds: Histogram,
    /// Publishes that failed; what they carried is owed and sent again.
    pub publish_failures: Counter,
    /// 1 if the bus can be reached.
    pub bus_up: Gauge,
    /// 1 if the store takes writes.
    pub store_up: Gauge,
    /// Log lines stored.
    pub log_lines: Counter,
    /// What was removed because it was old or one too many, by kind: `run`, `blob`, `driver_version`,
    /// `idempotency_key`.
    pub removed: Family<Kind, Counter>,
    /// HTTP requests, by route and status.
    pub requests: Durations<Request>,
    /// Open log streams.
    pub streams: Gauge<i64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// One thing under way or waiting on a gauge, until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Counted {
    /// One more on `gauge`.
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn durations() -> Histogram {
    // 0.5 ms to 65 s.
    Histogram::new(exponential_buckets(0.0005, 2.0, 18))
}

impl Metrics {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("conveyor"),
            runs_accepted: Counter::default(),
            runs_finished: Family::default(),
            runs_active: Gauge::default(),
            run_seconds: durations(),
            steps_dispatched: Counter::default(),
            step_seconds: Family::new_with_constructor(durations),
            results_rejected: Family::default(),
            conflicts: Counter::default(),
            engine_queue: Gauge::default(),
            component_seconds: Family::new_with_constructor(durations),
            component_calls: Gauge::default(),
            refused: Family::default(),
            component_usage: ComponentUsage::default(),
            component_queue: Gauge::default(),
            component_tripped: Family::default(),
            component_trips: Family::default(),
            compared: Family::default(),
            commit_seconds: durations(),
            publish_failures: Counter::default(),
            bus_up: Gauge::default(),
            store_up: Gauge::default(),
            log_lines: Counter::default(),
            removed: Family::default(),
            requests: Family::new_with_constructor(durations),
            streams: Gauge::default(),
        };
        metrics.register_engine();
        metrics.register_components();
        metrics.register_rest();
        metrics
    }

    /// The text form (OpenMetrics 1.0).
    #[must_use]
    pub fn render(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut page, &self.registry);
        page
    }

    /// A label of one word.
    #[must_use]
    pub fn kind(kind: &str) -> Kind {
        Kind { kind: kind.to_owned() }
    }

    fn register_engine(&mut self) {
        let registry = &mut self.registry;
        registry.register("runs_accepted", "Runs that were accepted", self.runs_accepted.clone());
        registry.register("runs_finished", "Runs that ended, by status", self.runs_finished.clone());
        registry.register(
            "runs_active",
            "Runs that have not ended, as the last sweep counted them",
            self.runs_active.clone(),
        );
        registry.register("run_duration_seconds", "From acceptance of a run to its end", self.run_seconds.clone());
        registry.register("steps_dispatched", "Steps sent to drivers", self.steps_dispatched.clone());
        registry.register("step_duration_seconds", "From dispatch of a step to its result", self.step_seconds.clone());
        registry.register("results_rejected", "Results that changed nothing, by reason", self.results_rejected.clone());
        registry.register(
            "store_conflicts",
            "Transitions decided again after a lost compare-and-swap",
            self.conflicts.clone(),
        );
        registry.register("engine_queue_depth", "Events that wait for an engine worker", self.engine_queue.clone());
        registry.register("store_commit_seconds", "Commits of run transitions", self.commit_seconds.clone());
        registry.register(
            "bus_publish_failures",
            "Publishes that failed and are sent again",
            self.publish_failures.clone(),
        );
    }

    fn register_components(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "component_call_seconds",
            "Calls of components, by driver and outcome",
            self.component_seconds.clone(),
        );
        registry.register("component_calls", "Calls of components under way", self.component_calls.clone());
        let text = "What was refused to components because it is not granted, by driver and kind";
        registry.register("capability_refused", text, self.refused.clone());
        registry.register(
            "component_queue",
            "Calls of components that wait for their turn",
            self.component_queue.clone(),
        );
        registry.register(
            "component_tripped",
            "1 if the driver is tripped because its calls failed again and again",
            self.component_tripped.clone(),
        );
        registry.register("component_trips", "How often drivers were tripped", self.component_trips.clone());
        let text = "Attempts that both a component and the remote instances that it shadows answered";
        registry.register("component_compared", text, self.compared.clone());
        self.component_usage.register(registry);
    }

    fn register_rest(&mut self) {
        let registry = &mut self.registry;
        registry.register("bus_up", "1 if the bus can be reached", self.bus_up.clone());
        registry.register("store_up", "1 if the store takes writes", self.store_up.clone());
        registry.register("log_lines", "Log lines stored", self.log_lines.clone());
        registry.register("retention_removed", "What was removed as too old or one too many", self.removed.clone());
        registry.register("http_request_duration_seconds", "HTTP requests, by route and status", self.requests.clone());
        registry.register("log_streams", "Open log streams", self.streams.clone());
    }
}
