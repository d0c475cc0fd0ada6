//! The entries that were written or read last, so that most reads of one key need no query and no other thread.
//!
//! It is exact: this process alone writes to the database. While a write of a key is under way the key is not answered from
//! here, and a query of it answers from the database whether or not the commit has happened; what a query found is kept
//! only if no write of the key began meanwhile.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::store::{Change, Entry, Revision, Write};

/// What an entry takes up beyond its key and value, in bytes.
const EACH: usize = 96;

/// A value larger than this part of the bound is not kept.
const SHARE: usize = 32;

/// The entries, those that were not used for long going first.
#[derive(Debug)]
pub(super) struct Recent {
    state: Mutex<State>,
    most: usize,
}

/// Two generations: what is used is brought into the younger one, and when that is full the older one goes.
#[derive(Debug, Default)]
struct State {
    young: HashMap<String, Slot>,
    old: HashMap<String, Slot>,
    /// Of the younger generation.
    bytes: usize,
    /// Keys with a write under way; they are in neither generation.
    writing: HashSet<String>,
    /// The number of the last question.
    asked: u64,
}

#[derive(Debug)]
enum Slot {
    /// This is what the database has; `None` if the key has no entry.
    Known(Option<(Bytes, Revision)>),
    /// The query of this number is under way, and no write began since.
    Asked(u64),
}

/// What is known of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The entry, or that there is none.
    Known(Option<Entry>),
    /// The database has to be asked; the answer is told under this number.
    Ask(u64),
}

impl Recent {
    /// Room for so many bytes of keys and values.
    pub(super) fn new(most: usize) -> Self {
        Self { state: Mutex::default(), most }
    }

    pub(super) fn get(&self, key: &str) -> Found {
        let mut state = self.lock();
        if let Some(slot) = state.old.remove(key) {
            state.put(key.to_owned(), slot, self.most);
        }
        match state.young.get(key) {
            Some(Slot::Known(known)) => return Found::Known(known.as_ref().map(|known| entry(key, known))),
            // Whoever asked first tells the answer.
            Some(Slot::Asked(_)) => return Found::Ask(0),
            None if state.writing.contains(key) => return Found::Ask(0),
            None => {}
        }
        state.asked += 1;
        let number = state.asked;
        state.put(key.to_owned(), Slot::Asked(number), self.most);
        Found::Ask(number)
    }

    /// What the query of this number found.
    pub(super) fn answered(&self, number: u64, key: &str, found: Option<&Entry>) {
        let mut state = self.lock();
        // Only if it is still that question: a write since, or a later question, would know better.
        if !matches!(state.slot(key), Some(Slot::Asked(asked)) if *asked == number) {
            return;
        }
        let known = found.map(|entry| (entry.value.clone(), entry.revision));
        state.know(key.to_owned(), known, self.most);
    }

    /// A transaction is about to write these.
    pub(super) fn writing(&self, writes: &[Write]) {
        let mut state = self.lock();
        for write in writes {
            state.remove(&write.key);
            state.writing.insert(write.key.clone());
        }
    }

    /// All that was being written is committed.
    pub(super) fn written(&self, changes: impl Iterator<Item = Change>) {
        let mut state = self.lock();
        state.writing.clear();
        for Change { key, value, revision } in changes {
            state.know(key, value.map(|value| (value, revision)), self.most);
        }
    }

    /// Nobody knows what was written.
    pub(super) fn forget(&self) {
        let mut state = self.lock();
        *state = State { asked: state.asked, ..State::default() };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn slot(&self, key: &str) -> Option<&Slot> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    fn know(&mut self, key: String, known: Option<(Bytes, Revision)>, most: usize) {
        if known.as_ref().is_some_and(|(value, _)| value.len() > most / SHARE) {
            self.remove(&key);
        } else {
            self.put(key, Slot::Known(known), most);
        }
    }

    fn put(&mut self, key: String, slot: Slot, most: usize) {
        let size = size(&key, &slot);
        if self.bytes + size > most / 2 {
            self.old = mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.remove(&key);
        self.bytes += size;
        self.young.insert(key, slot);
    }

    fn remove(&mut self, key: &str) {
        if let Some(slot) = self.young.remove(key) {
            self.bytes -= size(key, &slot);
        }
        self.old.remove(key);
    }
}

fn size(key: &str, slot: &Slot) -> usize {
    let value = if let Slot::Known(Some((value, _))) = slot { value.len() } else { 0 };
    EACH + key.len() + value
}

fn entry(key: &str, (value, revision): &(Bytes, Revision)) -> Entry {
    Entry { key: key.to_owned(), value: value.clone(), revision: *revision }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: &str, revision: u64) -> Entry {
        Entry { key: "k".into(), value: Bytes::copy_from_slice(text.as_bytes()), revision: Revision(revision) }
    }

    fn put(key: &str, value: &str, revision: u64) -> Change {
        Change { key: key.to_owned(), value: Some(value.to_owned().into()), revision: Revision(revision) }
    }

    fn ask(recent: &Recent) -> u64 {
        let Found::Ask(number) = recent.get("k") else { panic!("nobody can know it") };
        number
    }

    #[test]
    fn an_answer_that_a_write_overtook_is_not_kept() {
        let recent = Recent::new(1 << 20);
        let early = ask(&recent);
        recent.writing(&[Write::put("k", "new")]);
        recent.answered(early, "k", Some(&known("old", 1)));
        let meanwhile = ask(&recent);
        recent.answered(meanwhile, "k", Some(&known("old", 1)));
        ask(&recent);
        recent.written([put("k", "new", 2)].into_iter());
        recent.answered(early, "k", Some(&known("old", 1)));
        assert_eq!(recent.get("k"), Found::Known(Some(known("new", 2))));
        recent.forget();
        let late = ask(&recent);
        recent.answered(late, "k", None);
        assert_eq!(recent.get("k"), Found::Known(None));
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let recent = Recent::new(8 << 10);
        recent.written([put("k", "used", 1)].into_iter());
        for number in 0..1_000 {
            recent.written([put(&format!("other-{number}"), "x", 2)].into_iter());
            assert_eq!(recent.get("k"), Found::Known(Some(known("used", 1))));
        }
        let state = recent.lock();
        assert!(state.young.len() + state.old.len() < 100, "{} entries", state.young.len() + state.old.len());
    }
}
