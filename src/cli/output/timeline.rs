//! When the steps of a run were at work, as a picture of letters.

use jiff::Timestamp;

use super::text::{elapsed, mark};
use crate::model::StepRecord;

/// Letters that stand for the whole run.
const WIDTH: u8 = 40;

/// A line for each step: its id, the part of the run in which it was at work, and how long that was.
#[must_use]
pub fn timeline(steps: &[StepRecord], now: Timestamp) -> Vec<String> {
    let end_of = |step: &StepRecord| step.finished_at.unwrap_or(now);
    let begun = || steps.iter().filter_map(|step| Some((step.started_at?, end_of(step))));
    let begin = begun().map(|(start, _)| start).min().unwrap_or(now);
    let whole = begun().map(|(_, end)| end).max().unwrap_or(now).duration_since(begin).as_nanos().max(1);
    let names = steps.iter().map(|step| step.id.chars().count()).max().unwrap_or(0);
    let line = |step: &StepRecord| {
        let at = |time: Timestamp| {
            let part = time.duration_since(begin).as_nanos() * i128::from(WIDTH) / whole;
            usize::try_from(part).unwrap_or(0)
        };
        // What took no time to speak of was there all the same.
        let before = step.started_at.map_or(0, |start| at(start).min(usize::from(WIDTH) - 1));
        let during = step.started_at.map_or(0, |_| at(end_of(step)).saturating_sub(before).max(1));
        let bar = format!("{}{}", " ".repeat(before), "█".repeat(during));
        let took = elapsed(step.started_at, step.finished_at, now);
        format!("  {:names$}  {bar:width$}  {} {took}", step.id, mark(step.status, 0), width = usize::from(WIDTH))
    };
    steps.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_stand_where_they_were_at_work() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let step = |id: &str, from: i64, to: i64| -> StepRecord {
            let at = |milliseconds: i64| start + milliseconds.milliseconds();
            let fields = json!({ "id": id, "driver": "d", "attempt": 1, "status": "succeeded", "started_at": at(from), "finished_at": at(to) });
            serde_json::from_value(fields).unwrap()
        };
        let lines = timeline(&[step("a", 0, 500), step("long", 500, 1_000), step("b", 1_000, 1_000)], start);
        let expected = [
            format!("  a     {}{}  ✓ 500ms", "█".repeat(20), " ".repeat(20)),
            format!("  long  {}{}  ✓ 500ms", " ".repeat(20), "█".repeat(20)),
            format!("  b     {}█  ✓ 0ms", " ".repeat(39)),
        ];
        assert_eq!(lines, expected);
        assert!(timeline(&[], start).is_empty());
    }
}
