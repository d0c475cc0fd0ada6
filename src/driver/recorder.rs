//! Writes what drivers used, and what their calls got from outside, to the store, where others find it: a little of it at a time, and not
//! more often than needed, since every call may have used something.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::{Capabilities, Config};
use crate::model::{Transcript, Uses};
use crate::store::{self, SharedStore, Store, Write, keys};

/// How often a lost compare-and-swap is tried again before the next round.
const TRIES: usize = 8;

/// Transcripts that wait to be written; beyond them, the oldest are lost.
const TRANSCRIPTS: usize = 1_000;
/// Transcripts written by one transaction, and their bytes together: every store takes so much at one time.
const TOGETHER: (usize, usize) = (50, 512 << 10);
/// How long transcripts wait for others to be written with.
const GATHER: Duration = Duration::from_millis(50);

/// What the drivers of this process used since it was last written, and what they got from outside. Cheap to clone; all
/// clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorder {
    uses: Arc<Mutex<BTreeMap<String, Uses>>>,
    transcripts: Arc<Mutex<VecDeque<Write>>>,
    came: Arc<Notify>,
}

impl Recorder {
    /// Adds what a call of `driver` used.
    pub(super) fn add(&self, driver: &str, uses: Uses, config: &Capabilities) {
        if uses.is_empty() {
            return;
        }
        let mut waiting = self.waiting();
        merge(waiting.entry(driver.to_owned()).or_default(), uses, config);
    }

    /// Adds what an attempt got from outside; `key` is where that is written.
    pub(super) fn transcribe(&self, key: String, transcript: &Transcript) {
        let Ok(value) = store::encode(transcript) else { return };
        let mut waiting = self.transcripts.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= TRANSCRIPTS {
            waiting.pop_front();
        }
        waiting.push_back(Write::put(key, value));
        self.came.notify_one();
    }

    /// Writes now and then, and once more when it is told to stop.
    pub(super) async fn run(self, store: SharedStore, config: Arc<Config>, stop: CancellationToken) {
        let config = &config.capabilities;
        let pause = Duration::from_millis(config.use_flush_ms.max(10));
        let mut beat = tokio::time::interval(pause);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = beat.tick() => self.flush(store.as_ref(), config).await,
                () = self.came.notified() => {
                    tokio::time::sleep(GATHER).await;
                    self.write_transcripts(store.as_ref()).await;
                }
            }
        }
        self.flush(store.as_ref(), config).await;
        self.write_transcripts(store.as_ref()).await;
    }

    /// What cannot be written now is lost: it is worth no more than that.
    async fn write_transcripts(&self, store: &dyn Store) {
        loop {
            let writes = self.next_transcripts();
            if writes.is_empty() {
                return;
            }
            if let Err(error) = store.transact(writes).await {
                tracing::debug!(%error, "transcripts of calls cannot be written now");
            }
        }
    }

    fn next_transcripts(&self) -> Vec<Write> {
        let mut waiting = self.transcripts.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut next, mut bytes) = (Vec::new(), 0);
        while let Some(write) = waiting.front() {
            bytes += write.value.as_ref().map_or(0, bytes::Bytes::len);
            if next.len() >= TOGETHER.0 || (bytes > TOGETHER.1 && !next.is_empty()) {
                break;
            }
            next.extend(waiting.pop_front());
        }
        next
    }

    async fn flush(&self, store: &dyn Store, config: &Capabilities) {
        let waiting = mem::take(&mut *self.waiting());
        for (driver, uses) in waiting {
            if let Err(error) = write(store, config, &driver, uses.clone()).await {
                tracing::debug!(driver, %error, "what a driver used cannot be written now");
                self.add(&driver, uses, config);
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Uses>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds to what is stored, of this node and of others. A driver that is gone used nothing.
async fn write(store: &dyn Store, config: &Capabilities, driver: &str, uses: Uses) -> Result<(), store::Error> {
    let key = keys::uses(driver);
    for _ in 0..TRIES {
        if store.get(&keys::driver(driver)).await?.is_none() {
            return Ok(());
        }
        let before = store::read::<Uses>(store, &key).await?;
        let (mut stored, revision) = before.map_or_else(|| (Uses::default(), None), |(found, at)| (found, Some(at)));
        merge(&mut stored, uses.clone(), config);
        let put = Write::put(key.clone(), store::encode(&stored)?);
        let put = match revision {
            Some(revision) => put.if_revision(revision),
            None => put.if_absent(),
        };
        match store.transact(vec![put]).await {
            Err(store::Error::Conflict { .. }) => {}
            written => return written.map(drop),
        }
    }
    Err(store::Error::Unavailable("others write at the same time".to_owned()))
}

fn merge(into: &mut Uses, new: Uses, config: &Capabilities) {
    let age = SignedDuration::from_millis(i64::try_from(config.use_ms).unwrap_or(i64::MAX));
    let oldest = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN);
    into.merge(new, oldest, config.uses);
}
