//! The lines of the logs, in their order.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Error, Fingerprint, Options, Phase, Progress, Report, Side, Tally};
use crate::log::{Logs, NewLine, Query, StoredLine};

/// The word for this part.
const PART: &str = "logs";
/// How often a batch is appended before it is given up.
const TRIES: u32 = 5;
/// The pause between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Copies all lines, in their order. A target that already has the first of them, from a copy that was interrupted,
/// gets the rest.
///
/// # Errors
/// [`Error::OtherLines`] if the target has other lines: those of two logs have no common order.
pub async fn copy(source: &dyn Logs, target: &dyn Logs, options: &Options, report: Report<'_>) -> Result<Tally, Error> {
    let (mut tally, present_until) = compare(source, target, options, report).await?;
    if options.dry_run {
        return Ok(tally);
    }
    if tally.foreign > 0 {
        return Err(Error::OtherLines(tally.foreign));
    }
    append(Walk::new(source, Side::Source, options, present_until), target, &tally, report).await?;
    let (mut content, mut count) = (Fingerprint::default(), 0);
    let mut walk = Walk::new(target, Side::Target, options, 0);
    while let Some(line) = walk.next().await? {
        add(&mut content, &line);
        count += 1;
        report(Progress { phase: Phase::Verify, part: PART, done: count, total: Some(tally.source) });
    }
    tally.target = Some(count);
    tally.matches = Some(content.finish() == tally.digest);
    Ok(tally)
}

/// Goes through both, and also says how far in the source the target has got.
async fn compare(
    source: &dyn Logs,
    target: &dyn Logs,
    options: &Options,
    report: Report<'_>,
) -> Result<(Tally, u64), Error> {
    let mut of_source = Walk::new(source, Side::Source, options, 0);
    let mut of_target = Walk::new(target, Side::Target, options, 0);
    let (mut content, mut tally, mut until) = (Fingerprint::default(), Tally::default(), 0);
    let mut other = of_target.next().await?;
    let mut agree = true;
    while let Some(line) = of_source.next().await? {
        tally.source += 1;
        tally.bytes += add(&mut content, &line);
        agree = agree && other.as_ref().is_some_and(|other| other.line == line.line);
        if agree {
            tally.present += 1;
            until = line.position;
            other = of_target.next().await?;
        }
        report(Progress { phase: Phase::Compare, part: PART, done: tally.source, total: None });
    }
    while other.is_some() {
        tally.foreign += 1;
        other = of_target.next().await?;
    }
    PART.clone_into(&mut tally.kind);
    tally.missing = tally.source - tally.present;
    tally.digest = content.finish();
    Ok((tally, until))
}

/// Appends the rest. A line is named by the log that it comes from and where it stood there, so that the same batch may
/// be appended again.
async fn append(mut from: Walk<'_>, target: &dyn Logs, tally: &Tally, report: Report<'_>) -> Result<(), Error> {
    let mut done = 0;
    while from.fill().await? {
        let lines = std::mem::take(&mut from.ahead);
        done += lines.len() as u64;
        let log = &tally.digest;
        let named = |stored: StoredLine| NewLine { id: format!("{log}/{}", stored.position), line: stored.line };
        let lines: Vec<NewLine> = lines.into_iter().map(named).collect();
        let mut left = TRIES;
        while let Err(error) = target.append(lines.clone()).await {
            // A log on servers may still be on its way there.
            left -= 1;
            if left == 0 {
                return Err(Error::Log(Side::Target, error));
            }
            tokio::time::sleep(PAUSE).await;
        }
        report(Progress { phase: Phase::Copy, part: PART, done, total: Some(tally.missing) });
    }
    Ok(())
}

/// Adds a line to what names the content, and gives its size.
fn add(content: &mut Fingerprint, stored: &StoredLine) -> u64 {
    let line = &stored.line;
    let fields = [&line.runid, &line.driver, &line.pipeline, &line.step, &line.timestamp, &line.level, &line.message];
    let mut size = 0;
    for field in fields {
        content.add(field.as_bytes());
        size += field.len() as u64;
    }
    size
}

/// Goes through a log, a page at a time.
struct Walk<'a> {
    logs: &'a dyn Logs,
    side: Side,
    limit: usize,
    after: u64,
    ahead: VecDeque<StoredLine>,
}

impl<'a> Walk<'a> {
    fn new(logs: &'a dyn Logs, side: Side, options: &Options, after: u64) -> Self {
        Self { logs, side, limit: options.bounds.page.max(1), after, ahead: VecDeque::new() }
    }

    /// Reads on if there is nothing ahead; false behind the last line.
    async fn fill(&mut self) -> Result<bool, Error> {
        if self.ahead.is_empty() {
            let query = Query { after: self.after, limit: self.limit, ..Query::default() };
            let lines = self.logs.query(query).await.map_err(|error| Error::Log(self.side, error))?;
            self.after = lines.last().map_or(self.after, |last| last.position);
            self.ahead.extend(lines);
        }
        Ok(!self.ahead.is_empty())
    }

    async fn next(&mut self) -> Result<Option<StoredLine>, Error> {
        self.fill().await?;
        Ok(self.ahead.pop_front())
    }
}
