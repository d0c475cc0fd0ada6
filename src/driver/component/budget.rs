//! What one call has taken of memory and tables, counted as wasmtime asks for more.

use wasmtime::ResourceLimiter;

use super::limits::{Bytes, Limits};

/// Keeps count of what one call has taken, and remembers the first thing it was denied.
#[derive(Debug)]
pub(super) struct Budget {
    memory: Account,
    tables: Account,
    counts: Counts,
    denied: Option<String>,
}

/// How many of each thing there may be.
#[derive(Debug)]
struct Counts {
    instances: usize,
    tables: usize,
    memories: usize,
}

/// One thing that is counted.
#[derive(Debug)]
struct Account {
    taken: usize,
    limit: usize,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            memory: Account { taken: 0, limit: limits.memory_bytes },
            tables: Account { taken: 0, limit: limits.table_elements },
            counts: Counts { instances: limits.instances, tables: limits.tables, memories: limits.memories },
            denied: None,
        }
    }

    /// What the guest was denied first. It may have got along without; only a trap after it is blamed on it.
    pub(super) fn denied(&self) -> Option<&str> {
        self.denied.as_deref()
    }

    /// The linear memory that the call holds, which never shrinks, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.memory.taken
    }
}

impl Account {
    /// Takes what growth from `current` to `desired` needs. What is beyond the `maximum` is granted without being
    /// counted, because wasmtime refuses it next: there is no reliable way to give back what was counted in vain.
    fn take(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        let wanted = self.taken.saturating_add(desired.saturating_sub(current));
        if wanted > self.limit {
            return false;
        }
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.taken = wanted;
        }
        true
    }
}

impl ResourceLimiter for Budget {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let granted = self.memory.take(current, desired, maximum);
        if !granted {
            self.denied.get_or_insert_with(|| format!("memory: wanted more than {}", Bytes(self.memory.limit)));
        }
        Ok(granted)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let granted = self.tables.take(current, desired, maximum);
        if !granted {
            self.denied.get_or_insert_with(|| format!("tables: wanted more than {} elements", self.tables.limit));
        }
        Ok(granted)
    }

    fn instances(&self) -> usize {
        self.counts.instances
    }

    fn tables(&self) -> usize {
        self.counts.tables
    }

    fn memories(&self) -> usize {
        self.counts.memories
    }
}
