//! What was measured, as a table of Markdown: each figure with its floor, the ratio, and the target of the ratio.

use std::time::Duration;

/// What was measured of one thing that is done again and again.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    pub p50: Duration,
    pub p99: Duration,
}

impl Latency {
    /// Of samples in any order.
    pub fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort();
        let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize];
        Self { p50: at(0.5), p99: at(0.99) }
    }
}

/// What a ratio or a figure should be.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    None,
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    fn text(self, value: f64) -> String {
        let met = |met: bool| if met { "met" } else { "missed" };
        match self {
            Self::None => String::new(),
            Self::AtMost(most) => format!("≤ {most}: {}", met(value <= most)),
            Self::AtLeast(least) => format!("≥ {least}: {}", met(value >= least)),
        }
    }
}

#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<[String; 5]>,
}

impl Table {
    /// A duration with nothing to be compared to.
    pub fn latency(&mut self, what: impl Into<String>, latency: Latency) {
        self.row([what.into(), span(latency), String::new(), String::new(), String::new()]);
    }

    /// A duration beside its floor.
    pub fn slower(&mut self, what: impl Into<String>, latency: Latency, floor: Duration, target: Target) {
        let ratio = latency.p50.as_secs_f64() / floor.as_secs_f64();
        let floor = format!("{} ms", ms(floor));
        self.row([what.into(), span(latency), floor, format!("{ratio:.2}"), target.text(ratio)]);
    }

    /// How often in a second, beside how often at best.
    pub fn rate(&mut self, what: impl Into<String>, rate: f64, floor: Option<f64>, target: Target) {
        let ratio = floor.map(|floor| rate / floor);
        let floor = floor.map(|floor| format!("{floor:.0} /s")).unwrap_or_default();
        let shown = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        let target = ratio.map(|ratio| target.text(ratio)).unwrap_or_default();
        self.row([what.into(), format!("{rate:.0} /s"), floor, shown, target]);
    }

    /// A figure with its unit; the target is of the figure itself.
    pub fn figure(&mut self, what: impl Into<String>, value: f64, unit: &str, target: Target) {
        self.row([what.into(), format!("{value:.1} {unit}"), String::new(), String::new(), target.text(value)]);
    }

    fn row(&mut self, row: [String; 5]) {
        eprintln!("{}", row.join(" | "));
        self.rows.push(row);
    }

    pub fn print(&self) {
        println!("\n| measured | p50 (p99) or figure | floor | ratio | target |\n|---|---|---|---|---|");
        for row in &self.rows {
            println!("| {} |", row.join(" | "));
        }
    }
}

fn span(latency: Latency) -> String {
    format!("{} ({}) ms", ms(latency.p50), ms(latency.p99))
}

fn ms(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64() * 1_000.0)
}
