//! Follows the log of a run over outages of the connection.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Error;
use super::client::Client;
use super::sse::Frames;
use crate::model::LogLine;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// How long the server has been away, and how long it may be.
#[derive(Debug)]
pub struct Outage {
    since: Option<Instant>,
    patience: Duration,
}

impl Outage {
    /// No outage so far.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self { since: None, patience }
    }

    /// The server answered.
    pub fn over(&mut self) {
        self.since = None;
    }

    /// The server did not answer.
    ///
    /// # Errors
    /// `error`, if another try makes no sense or the outage has lasted for too long.
    pub fn goes_on(&mut self, error: Error) -> Result<(), Error> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if error.is_transient() && since.elapsed() < self.patience { Ok(()) } else { Err(error) }
    }
}

/// Which lines were handed on. A stream that is opened again replays the log from its beginning, not always in the same
/// order, so that equal lines are counted.
#[derive(Debug, Default)]
pub struct Shown {
    ever: HashMap<LineKey, usize>,
    here: HashMap<LineKey, usize>,
}

type LineKey = (String, String, String, String);

impl Shown {
    /// A new stream begins.
    pub fn reopen(&mut self) {
        self.here.clear();
    }

    /// Whether `line` is one that was not handed on yet.
    pub fn is_new(&mut self, line: &LogLine) -> bool {
        let key = (line.driver.clone(), line.step.clone(), line.timestamp.clone(), line.message.clone());
        let here = self.here.entry(key.clone()).or_default();
        *here += 1;
        let ever = self.ever.entry(key).or_default();
        let new = *here > *ever;
        *ever = (*ever).max(*here);
        new
    }
}

/// Hands on every log line of the run, each once, until it has ended or nobody listens any more.
///
/// # Errors
/// The server was away for longer than `patience`, or refuses.
pub async fn follow(
    client: Client,
    run: String,
    lines: mpsc::Sender<LogLine>,
    patience: Duration,
) -> Result<(), Error> {
    let mut shown = Shown::default();
    let mut outage = Outage::new(patience);
    while !lines.is_closed() {
        match once(&client, &run, &lines, &mut shown, &mut outage).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => outage.goes_on(error)?,
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// One stream, until it ends. Whether the run has ended with it.
async fn once(
    client: &Client,
    run: &str,
    lines: &mpsc::Sender<LogLine>,
    shown: &mut Shown,
    outage: &mut Outage,
) -> Result<bool, Error> {
    let mut response = client.stream(&["logs", "pipeline", run]).await?;
    let mut frames = Frames::default();
    shown.reopen();
    while let Some(chunk) = response.chunk().await.map_err(|error| client.failed(&error))? {
        outage.over();
        for event in frames.push(&chunk) {
            // What is not a log line is of a later version of the server.
            let Ok(line) = serde_json::from_str::<LogLine>(&event) else { continue };
            if shown.is_new(&line) && lines.send(line).await.is_err() {
                return Ok(true);
            }
        }
    }
    Ok(client.run(run).await?.head.status.is_finished())
}
