//! What the calls of components took, by driver.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::Driver;
use crate::model::Usage;

type Seconds = Family<Driver, Counter<f64, AtomicU64>>;

/// What the calls of components took, by driver; of those that were not stopped from outside.
#[derive(Debug)]
pub struct ComponentUsage {
    /// Processor time, in seconds.
    pub cpu: Seconds,
    /// The part of it in the component itself, in seconds.
    pub guest: Seconds,
    /// Time in calls of the host, working or waiting, in seconds.
    pub host: Seconds,
    /// The most linear memory of each call, in bytes.
    pub memory: Family<Driver, Histogram, fn() -> Histogram>,
    /// Fuel that was burnt.
    pub fuel: Family<Driver, Counter>,
}

impl Default for ComponentUsage {
    fn default() -> Self {
        // 64 KiB, which is a page, to 1 GiB.
        let sizes: fn() -> Histogram = || Histogram::new(exponential_buckets(65_536.0, 4.0, 8));
        Self {
            cpu: Family::default(),
            guest: Family::default(),
            host: Family::default(),
            memory: Family::new_with_constructor(sizes),
            fuel: Family::default(),
        }
    }
}

impl ComponentUsage {
    /// Adds what one call of a driver took.
    pub fn add(&self, driver: &Driver, usage: &Usage) {
        let seconds = |us: u64| Duration::from_micros(us).as_secs_f64();
        self.cpu.get_or_create(driver).inc_by(seconds(usage.cpu_us));
        self.guest.get_or_create(driver).inc_by(seconds(usage.guest_us));
        self.host.get_or_create(driver).inc_by(seconds(usage.host_us));
        let bytes = u32::try_from(usage.memory_bytes >> 10).unwrap_or(u32::MAX);
        self.memory.get_or_create(driver).observe(f64::from(bytes) * 1_024.0);
        if let Some(fuel) = usage.fuel {
            self.fuel.get_or_create(driver).inc_by(fuel);
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("component_cpu_seconds", "Processor time of calls of components", self.cpu.clone());
        registry.register("component_guest_seconds", "The part of it in the component itself", self.guest.clone());
        registry.register("component_host_seconds", "Time in calls of the host, working or waiting", self.host.clone());
        registry.register("component_memory_bytes", "The most linear memory of each call", self.memory.clone());
        registry.register("component_fuel", "Fuel that components burnt", self.fuel.clone());
    }
}
