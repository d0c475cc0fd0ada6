//! What one driver may use: its own bounds, the operator's most, and what follows from both.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Invalid;

/// Bounds of the calls of one driver that is a component. What is left out is as configured for all drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DriverLimits {
    /// Linear memory of one call, all its memories together, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Tables of one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tables: Option<u64>,
    /// Elements of all tables of one call together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_elements: Option<u64>,
    /// Core instances of one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<u64>,
    /// Handles to host resources that one call may hold at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handles: Option<u64>,
    /// Wall-clock time of one call, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_time_ms: Option<u64>,
    /// Processor time of one call, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_time_ms: Option<u64>,
    /// Fuel of one call, about one unit for each instruction. A driver without it is not metered, and faster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Bytes that one host call may copy out of the component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostcall_bytes: Option<u64>,
    /// Random bytes that one host call may ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_bytes: Option<u64>,
    /// Log lines of one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_lines: Option<u64>,
    /// Bytes of all log lines of one call together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
    /// Bytes of the result of one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_bytes: Option<u64>,
    /// Calls at one time, of all nodes together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u64>,
}

/// The bounds of one driver as they are set, as they hold, and as they may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitsView {
    /// What was set for this driver.
    pub own: DriverLimits,
    /// What holds for its calls.
    pub effective: DriverLimits,
    /// The most that may be set: `component.maximum` of the configuration.
    pub maximum: DriverLimits,
}

impl DriverLimits {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Every bound with its name, in the order in which they are documented.
    #[must_use]
    pub fn named(&self) -> [(&'static str, Option<u64>); 14] {
        [
            ("memory_bytes", self.memory_bytes),
            ("tables", self.tables),
            ("table_elements", self.table_elements),
            ("instances", self.instances),
            ("handles", self.handles),
            ("wall_time_ms", self.wall_time_ms),
            ("cpu_time_ms", self.cpu_time_ms),
            ("fuel", self.fuel),
            ("hostcall_bytes", self.hostcall_bytes),
            ("random_bytes", self.random_bytes),
            ("log_lines", self.log_lines),
            ("log_bytes", self.log_bytes),
            ("result_bytes", self.result_bytes),
            ("concurrency", self.concurrency),
        ]
    }

    /// Checks that each bound is at least 1 and within `maximum`.
    ///
    /// # Errors
    /// The first that is not, by its JSON path, with what is allowed.
    pub fn validate(&self, maximum: &Self) -> Result<(), Invalid> {
        for ((name, own), (_, most)) in self.named().into_iter().zip(maximum.named()) {
            let Some(own) = own else { continue };
            if own == 0 {
                let problem = "0 lets nothing run: give at least 1, or leave it out for the default of all drivers";
                return Err(Invalid::field(format!("limits.{name}"), problem));
            }
            if let Some(most) = most.filter(|most| own > *most) {
                let problem = format!(
                    "{own} is more than component.maximum.{name} allows, which is {most}: give less, or let the operator allow more"
                );
                return Err(Invalid::field(format!("limits.{name}"), problem));
            }
        }
        Ok(())
    }

    /// What holds for a driver: its own bound where it has one, else the `default`, and never more than the `maximum`.
    #[must_use]
    pub fn over(&self, default: &Self, maximum: &Self) -> Self {
        let least = |wanted: Option<u64>, most: Option<u64>| match (wanted, most) {
            (Some(wanted), Some(most)) => Some(wanted.min(most)),
            (wanted, _) => wanted,
        };
        self.zip(default, Option::or).zip(maximum, least)
    }

    /// Joins two sets of bounds, one bound after the other.
    #[must_use]
    pub fn zip(&self, other: &Self, join: impl Fn(Option<u64>, Option<u64>) -> Option<u64>) -> Self {
        let join = |bound: fn(&Self) -> Option<u64>| join(bound(self), bound(other));
        Self {
            memory_bytes: join(|limits| limits.memory_bytes),
            tables: join(|limits| limits.tables),
            table_elements: join(|limits| limits.table_elements),
            instances: join(|limits| limits.instances),
            handles: join(|limits| limits.handles),
            wall_time_ms: join(|limits| limits.wall_time_ms),
            cpu_time_ms: join(|limits| limits.cpu_time_ms),
            fuel: join(|limits| limits.fuel),
            hostcall_bytes: join(|limits| limits.hostcall_bytes),
            random_bytes: join(|limits| limits.random_bytes),
            log_lines: join(|limits| limits.log_lines),
            log_bytes: join(|limits| limits.log_bytes),
            result_bytes: join(|limits| limits.result_bytes),
            concurrency: join(|limits| limits.concurrency),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bytes: u64) -> DriverLimits {
        DriverLimits { memory_bytes: Some(bytes), ..DriverLimits::default() }
    }

    #[test]
    fn a_driver_has_its_own_bound_or_the_default_and_never_more_than_the_maximum() {
        let none = DriverLimits::default();
        for (own, default, maximum, holds) in [
            (none, memory(64), memory(1_024), Some(64)),
            (memory(128), memory(64), memory(1_024), Some(128)),
            (memory(2), memory(64), memory(1_024), Some(2)),
            (memory(4_096), memory(64), memory(1_024), Some(1_024)),
            (none, memory(64), memory(32), Some(32)),
            (memory(5), none, none, Some(5)),
            (none, none, memory(1_024), None),
        ] {
            assert_eq!(own.over(&default, &maximum).memory_bytes, holds);
        }
    }

    #[test]
    fn every_bound_is_checked_by_its_name_and_taken_over() {
        // Each bound has a number of its own, so that none can pass for another.
        let names = DriverLimits::default().named().map(|(name, _)| name);
        let numbers = names.iter().zip(1_u64..).map(|(name, number)| ((*name).to_owned(), number.into()));
        let all = serde_json::Value::Object(numbers.collect());
        let all: DriverLimits = serde_json::from_value(all).unwrap();
        let expected: Vec<_> = names.into_iter().zip((1..).map(Some)).collect();
        assert_eq!(all.named().to_vec(), expected);
        assert_eq!(DriverLimits::default().over(&all, &all), all);
        for name in names {
            let too_much: DriverLimits = serde_json::from_value(serde_json::json!({ name: 99 })).unwrap();
            let refused = too_much.validate(&all).unwrap_err().to_string();
            assert!(
                refused.starts_with(&format!("limits.{name}: 99 is more than component.maximum.{name} allows")),
                "{refused}"
            );
            let nothing: DriverLimits = serde_json::from_value(serde_json::json!({ name: 0 })).unwrap();
            assert!(nothing.validate(&all).unwrap_err().to_string().starts_with(&format!("limits.{name}: 0 ")));
        }
        all.validate(&all).unwrap();
    }
}
