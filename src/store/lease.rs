//! Who does what one node is enough for.
//!
//! A lease saves double work and nothing else: whoever holds one may be wrong about it, and what it does must be right
//! all the same. No clocks are compared. A node takes a lease over when it has seen it unchanged for as long as it
//! lasts.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Error, Revision, SharedStore, Write, keys};

/// A lease is renewed so many times while it lasts.
const RENEWALS: u32 = 4;

/// Tries to hold the lease of this name until told to stop, then gives it back; says whether it is held at the moment.
#[must_use]
pub fn hold(store: SharedStore, name: &str, lasts: Duration, stop: CancellationToken) -> watch::Receiver<bool> {
    let (held, receiver) = watch::channel(false);
    let owner = Bytes::from(uuid::Uuid::new_v4().to_string());
    let candidate = Candidate { store, key: keys::lease(name), owner, lasts, mine: None, seen: None };
    tokio::spawn(candidate.run(held, stop));
    receiver
}

struct Candidate {
    store: SharedStore,
    key: String,
    owner: Bytes,
    lasts: Duration,
    /// While it is ours: our last renewal, and when that was sent.
    mine: Option<(Revision, Instant)>,
    /// While it is another node's: its last renewal, and when we saw it first.
    seen: Option<(Revision, Instant)>,
}

impl Candidate {
    async fn run(mut self, held: watch::Sender<bool>, stop: CancellationToken) {
        let pause = self.lasts / RENEWALS;
        loop {
            let now = Instant::now();
            // A store that does not answer must not make us believe for longer than the others do.
            let turn = tokio::time::timeout(self.lasts, self.turn(now)).await;
            if let Ok(Err(error)) = turn {
                tracing::debug!(lease = self.key, %error, "a lease could not be renewed or taken");
            }
            if self.mine.is_some_and(|(_, renewed)| renewed.elapsed() > self.lasts) {
                self.mine = None;
            }
            let holds = self.mine.is_some();
            held.send_if_modified(|held| std::mem::replace(held, holds) != holds);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(now + pause) => {}
            }
        }
        if let Some((revision, _)) = self.mine {
            // If this is lost, the others wait until it has not been renewed for long enough.
            let _ = self.store.transact(vec![Write::delete(&self.key).if_revision(revision)]).await;
        }
    }

    async fn turn(&mut self, now: Instant) -> Result<(), Error> {
        if let Some((revision, _)) = self.mine {
            return self.write(now, Some(revision)).await;
        }
        let Some(entry) = self.store.get(&self.key).await? else { return self.write(now, None).await };
        let ours = entry.value == self.owner;
        match self.seen {
            Some((revision, since)) if revision == entry.revision => {
                if ours || since.elapsed() > self.lasts {
                    return self.write(now, Some(revision)).await;
                }
            }
            _ => self.seen = Some((entry.revision, now)),
        }
        Ok(())
    }

    /// Takes or renews it, if it is still as we know it.
    async fn write(&mut self, now: Instant, at: Option<Revision>) -> Result<(), Error> {
        let write = Write::put(&self.key, self.owner.clone());
        let write = at.map_or_else(|| write.clone().if_absent(), |at| write.clone().if_revision(at));
        match self.store.transact(vec![write]).await {
            Ok(revision) => {
                self.mine = Some((revision, now));
                self.seen = None;
                Ok(())
            }
            Err(Error::Conflict { .. }) => {
                self.mine = None;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::MemoryStore;
    use super::*;
    use crate::config;

    const LASTS: Duration = Duration::from_secs(2);

    async fn becomes(held: &mut watch::Receiver<bool>, wanted: bool) -> Duration {
        let begun = Instant::now();
        held.wait_for(|held| *held == wanted).await.unwrap();
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn one_holds_it_and_another_takes_it_over() {
        let store: SharedStore = Arc::new(MemoryStore::new(&config::Store::default()));
        let hold = |stop: &CancellationToken| super::hold(store.clone(), "work", LASTS, stop.clone());
        let (stop, other_stop) = (CancellationToken::new(), CancellationToken::new());
        let mut first = hold(&stop);
        becomes(&mut first, true).await;
        let mut second = hold(&other_stop);
        tokio::time::sleep(LASTS * 10).await;
        assert!(*first.borrow() && !*second.borrow());
        // Given back, it is taken at the next look.
        stop.cancel();
        assert!(becomes(&mut second, true).await <= LASTS);
        // Of a node that says nothing any more, it is taken when it has lasted.
        store.transact(vec![Write::put(keys::lease("work"), "a node that died")]).await.unwrap();
        becomes(&mut second, false).await;
        let waited = becomes(&mut second, true).await;
        assert!(waited > LASTS && waited < LASTS * 2, "{waited:?}");
    }
}
