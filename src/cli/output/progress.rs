//! How far a long piece of work has come: a line that is drawn again and again on a terminal, one line for each phase
//! elsewhere. It goes to stderr, beside the data.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

use super::note;
use crate::migrate::{Phase, Progress};

/// Shows the steps of a piece of work.
pub(in crate::cli) struct Steps {
    bar: Option<ProgressBar>,
    last: Option<(Phase, String)>,
}

impl Steps {
    pub(in crate::cli) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            // The template is fixed text, so the plain style is never needed.
            let style = ProgressStyle::with_template("{spinner} {msg} {human_pos}{prefix} ({per_sec})");
            ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        Self { bar, last: None }
    }

    /// Shows how far it is now.
    pub(in crate::cli) fn show(&mut self, progress: Progress<'_>) {
        let verb = match progress.phase {
            Phase::Compare => "comparing",
            Phase::Copy => "copying",
            Phase::Verify => "reading back",
        };
        let is_new = self.last.as_ref().is_none_or(|(phase, part)| *phase != progress.phase || part != progress.part);
        if is_new {
            self.last = Some((progress.phase, progress.part.to_owned()));
        }
        let of_total = progress.total.map(|total| format!(" of {total}")).unwrap_or_default();
        match &self.bar {
            Some(bar) => {
                if is_new {
                    bar.reset();
                    bar.set_message(format!("{verb} {}", progress.part));
                }
                bar.set_prefix(of_total);
                bar.set_position(progress.done);
            }
            None if is_new => note(&format!("{verb} {}{of_total}", progress.part)),
            None => {}
        }
    }

    /// Takes the line off the screen.
    pub(in crate::cli) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
