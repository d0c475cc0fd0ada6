//! A run while it is watched: one live line a step on a terminal, one line a change elsewhere.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::text::{clean, elapsed, log_line, mark, remark};
use super::{Format, Output};
use crate::cli::client::RunDetail;
use crate::model::{LogLine, RunStatus, StepRecord, StepStatus};

/// Shows a run while it goes on.
pub struct View {
    output: Output,
    live: Option<Live>,
    run: Option<(RunStatus, String)>,
    steps: HashMap<String, (StepStatus, u32, String)>,
}

/// The lines on a terminal that are drawn again and again.
struct Live {
    lines: MultiProgress,
    bars: HashMap<String, ProgressBar>,
    frame: usize,
}

impl View {
    /// A view that has shown nothing yet.
    #[must_use]
    pub fn new(output: Output) -> Self {
        let live = (output.terminal && output.format == Format::Table).then(|| Live {
            lines: MultiProgress::with_draw_target(ProgressDrawTarget::stdout()),
            bars: HashMap::new(),
            frame: 0,
        });
        Self { output, live, run: None, steps: HashMap::new() }
    }

    /// Shows where the run stands now.
    pub(in crate::cli) fn update(&mut self, run: &RunDetail, now: Timestamp) -> io::Result<()> {
        if self.output.format == Format::Json {
            return Ok(());
        }
        let head = &run.head;
        // Why it has not begun is news as well.
        let waits = if head.status == RunStatus::Pending { head.message.clone() } else { String::new() };
        let state = (head.status, waits);
        if self.run.as_ref() != Some(&state) && !head.status.is_finished() {
            let colon = if state.1.is_empty() { "" } else { ": " };
            let text = format!("run {} {}: {}{colon}{}", head.id, head.status.as_str(), subject(run), state.1);
            self.say(&text)?;
        }
        self.run = Some(state);
        match &mut self.live {
            Some(live) => live.draw(&run.steps, now),
            None => self.changes(&run.steps, now)?,
        }
        if head.status.is_finished() {
            self.end(run, now)?;
        }
        Ok(())
    }

    /// Shows a log line.
    pub(in crate::cli) fn log(&mut self, line: &LogLine) -> io::Result<()> {
        if self.output.format == Format::Json { Ok(()) } else { self.say(&log_line(line)) }
    }

    fn say(&self, text: &str) -> io::Result<()> {
        match &self.live {
            Some(live) => live.lines.println(clean(text)),
            None => self.output.line(text),
        }
    }

    fn changes(&mut self, steps: &[StepRecord], now: Timestamp) -> io::Result<()> {
        for step in steps {
            let state = (step.status, step.attempt, remark(step).to_owned());
            let known = self.steps.insert(step.id.clone(), state.clone());
            // That a step has not begun is no news.
            let news = known.map_or(step.status != StepStatus::Pending, |known| known != state);
            if news {
                self.output.line(&format!("step {}", line(step, now)))?;
            }
        }
        Ok(())
    }

    fn end(&mut self, run: &RunDetail, now: Timestamp) -> io::Result<()> {
        if let Some(live) = self.live.take() {
            // The lines stay on the screen as they are now.
            live.bars.values().for_each(ProgressBar::abandon);
        }
        let head = &run.head;
        let message = if head.message.is_empty() { String::new() } else { format!(": {}", head.message) };
        let time = elapsed(Some(head.created_at), head.finished_at, now);
        self.output.line(&format!("run {} {} after {time}{message}", head.id, head.status.as_str()))
    }
}

impl Live {
    fn draw(&mut self, steps: &[StepRecord], now: Timestamp) {
        self.frame = self.frame.wrapping_add(1);
        for step in steps {
            let lines = &self.lines;
            let bar = self.bars.entry(step.id.clone()).or_insert_with(|| lines.add(ProgressBar::new_spinner()));
            bar.set_style(style(step.status));
            bar.set_prefix(mark(step.status, self.frame).to_string());
            bar.set_message(clean(&line(step, now)).replace('\n', " "));
            bar.tick();
        }
    }
}

/// One line about a step. Writing to a String cannot fail.
fn line(step: &StepRecord, now: Timestamp) -> String {
    let mut text = format!("{} ({}) {}", step.id, step.driver, step.status.as_str());
    if step.attempt > 1 {
        let _ = write!(text, ", attempt {}", step.attempt);
    }
    if step.started_at.is_some() {
        let _ = write!(text, ", {}", elapsed(step.started_at, step.finished_at, now));
    }
    let remark = remark(step);
    if !remark.is_empty() {
        let _ = write!(text, ": {remark}");
    }
    text
}

fn subject(run: &RunDetail) -> String {
    let head = &run.head;
    let pipeline = head.pipeline.as_ref().map(|name| format!(" on pipeline {name}")).unwrap_or_default();
    format!("{} of {}/{}{pipeline}", head.event.as_str(), head.resource.resource, head.resource.name)
}

fn style(status: StepStatus) -> ProgressStyle {
    let colour = match status {
        StepStatus::Pending | StepStatus::Skipped => "dim",
        StepStatus::Waiting | StepStatus::Cancelled => "yellow",
        StepStatus::Running => "cyan",
        StepStatus::Succeeded => "green",
        StepStatus::Failed => "red",
    };
    // The template is fixed text, so the plain style is never needed.
    ProgressStyle::with_template(&format!("{{prefix:.{colour}}} {{wide_msg}}"))
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}
