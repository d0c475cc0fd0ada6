//! Reading: single entries, pages, and whole ranges.
//!
//! etcd knows one order only. To list backwards it would read all that is in the range and throw most of it away, so the
//! end of the range that is wanted is looked for first, by counting, which reads no values.

use std::collections::BTreeSet;

use etcd_client::{GetOptions, GetResponse, KeyValue, SortOrder, SortTarget};

use super::link::Link;
use super::{integer, number, revision};
use crate::store::range::KeyRange;
use crate::store::{Entry, Error, List, Page, Revision};

/// So many entries more than wanted may be read to list backwards.
const SURPLUS: u64 = 256;

/// The most steps of the search; each halves what is searched.
const STEPS: usize = 1_024;

/// The most keys read in one request when all of a range are read.
const PAGE: i64 = 1_000;

pub(super) async fn get(link: &Link, key: &str) -> Result<Option<Entry>, Error> {
    let mut answer = range(link, link.space.key(key), GetOptions::new()).await?;
    answer.take_kvs().into_iter().next().map(|found| entry(link, found)).transpose()
}

pub(super) async fn list(link: &Link, query: &List) -> Result<Page, Error> {
    let limit = query.limit.max(1) as u64;
    let keys = KeyRange::of_list(query);
    if keys.is_empty() {
        let state = range(link, link.space.beat(), GetOptions::new().with_count_only()).await?;
        return Ok(Page { entries: Vec::new(), cursor: None, revision: revision(state.header())? });
    }
    let (from, until) = link.space.range(&keys);
    let options = GetOptions::new().with_limit(integer(limit));
    if !query.descending {
        let answer = range(link, from, options.with_range(until)).await?;
        let state = revision(answer.header())?;
        return page(link, answer, state);
    }
    let (from, state) = tail(link, from, &until, limit).await?;
    let options = options.with_sort(SortTarget::Key, SortOrder::Descend).with_revision(integer(state.0));
    page(link, range(link, from, options.with_range(until)).await?, state)
}

/// The keys of a range, as they were at `state`; `None` if there are more than `most`.
pub(super) async fn keys_at(
    link: &Link,
    keys: &KeyRange,
    state: Revision,
    most: usize,
) -> Result<Option<BTreeSet<String>>, Error> {
    let (mut from, until) = link.space.range(keys);
    let mut found = BTreeSet::new();
    loop {
        let options = GetOptions::new().with_limit(PAGE).with_keys_only().with_revision(integer(state.0));
        let mut answer = range(link, from, options.with_range(until.clone())).await?;
        if found.len() + usize::try_from(answer.count()).unwrap_or(usize::MAX) > most {
            return Ok(None);
        }
        let more = answer.more();
        let mut last = Vec::new();
        for key in answer.take_kvs() {
            found.insert(link.space.name(key.key())?);
            last = key.key().to_vec();
        }
        if !more {
            return Ok(Some(found));
        }
        from = behind(last);
    }
}

/// All entries of a range as they are at one moment, with that moment; in the order of keys.
pub(super) async fn all(link: &Link, keys: &KeyRange) -> Result<(Vec<Entry>, Revision), Error> {
    let (mut from, until) = link.space.range(keys);
    let mut entries = Vec::new();
    let mut state = None;
    loop {
        let mut options = GetOptions::new().with_limit(PAGE).with_range(until.clone());
        if let Some(Revision(state)) = state {
            options = options.with_revision(integer(state));
        }
        let mut answer = range(link, from, options).await?;
        let first = revision(answer.header())?;
        let state = *state.get_or_insert(first);
        let more = answer.more();
        for found in answer.take_kvs() {
            entries.push(entry(link, found)?);
        }
        let Some(last) = entries.last().filter(|_| more) else { return Ok((entries, state)) };
        from = behind(link.space.key(&last.key));
    }
}

/// Where a range has to begin so that it holds a little more than `limit` entries, and the state that was looked at.
async fn tail(link: &Link, from: Vec<u8>, until: &[u8], limit: u64) -> Result<(Vec<u8>, Revision), Error> {
    let count = |from: Vec<u8>, at: Option<Revision>| {
        let options = GetOptions::new().with_range(until).with_count_only();
        range(link, from, at.map_or(options.clone(), |at| options.with_revision(integer(at.0))))
    };
    let whole = count(from.clone(), None).await?;
    let state = revision(whole.header())?;
    let (mut low, mut high, mut held) = (from, until.to_vec(), number(whole.count()));
    for _ in 0..STEPS {
        if held <= limit.saturating_add(SURPLUS) {
            break;
        }
        let Some(middle) = middle(&low, &high) else { break };
        let behind = number(count(middle.clone(), Some(state)).await?.count());
        if behind > limit {
            (low, held) = (middle, behind);
        } else {
            high = middle;
        }
    }
    Ok((low, state))
}

/// A text about half way between two; `None` if there is none.
fn middle(low: &[u8], high: &[u8]) -> Option<Vec<u8>> {
    let length = low.len().max(high.len()) + 1;
    let digit = |text: &[u8], place: usize| u16::from(text.get(place).copied().unwrap_or(0));
    // The sum, from the last digit to the first, and then half of it.
    let mut sum = vec![0_u16; length];
    let mut carry = 0;
    for (place, sum) in sum.iter_mut().enumerate().rev() {
        let added = digit(low, place) + digit(high, place) + carry;
        (*sum, carry) = (added % 256, added / 256);
    }
    let mut rest = carry;
    let mut half = Vec::with_capacity(length);
    for sum in sum {
        let halved = rest * 256 + sum;
        half.push(u8::try_from(halved / 2).ok()?);
        rest = halved % 2;
    }
    // Without the zeros at its end it stays as short as it can be.
    while half.last() == Some(&0) {
        half.pop();
    }
    (low < half.as_slice() && half.as_slice() < high).then_some(half)
}

async fn range(link: &Link, from: Vec<u8>, options: GetOptions) -> Result<GetResponse, Error> {
    let request = |mut kv: etcd_client::KvClient| {
        let (from, options) = (from.clone(), options.clone());
        async move { kv.get(from, Some(options)).await }
    };
    link.read(request).await
}

fn page(link: &Link, mut answer: GetResponse, revision: Revision) -> Result<Page, Error> {
    let more = answer.more();
    let entries = answer.take_kvs().into_iter().map(|found| entry(link, found));
    let entries = entries.collect::<Result<Vec<Entry>, Error>>()?;
    let cursor = entries.last().filter(|_| more).map(|entry| entry.key.clone());
    Ok(Page { entries, cursor, revision })
}

fn entry(link: &Link, found: KeyValue) -> Result<Entry, Error> {
    let revision = Revision(number(found.mod_revision()));
    let (key, value) = found.into_key_value();
    Ok(Entry { key: link.space.name(&key)?, value: value.into(), revision })
}

/// The least key behind a key.
fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

#[cfg(test)]
mod tests {
    use super::middle;

    #[test]
    fn the_middle_lies_between_and_comes_near_to_any_text() {
        assert_eq!(middle(b"a", b"c"), Some(b"b".to_vec()));
        assert_eq!(middle(b"a", b"b"), Some(b"a\x80".to_vec()));
        assert_eq!(middle(b"a", b"a\0"), None);
        assert_eq!(middle(&[255], &[255, 255]), Some(vec![255, 127, 128]));
        let (mut low, mut high) = (b"/conveyor/runs/".to_vec(), b"/conveyor/runs0".to_vec());
        let wanted: &[u8] = b"/conveyor/runs/0199c8e0-7d5a-7000-8000-1234567890ab";
        // A bit of the 37 characters that are to be found with each step.
        for _ in 0..320 {
            let found = middle(&low, &high).unwrap();
            if found.as_slice() <= wanted {
                low = found;
            } else {
                high = found;
            }
        }
        assert!(low.as_slice() <= wanted && high.starts_with(wanted), "{low:?} {high:?}");
    }
}
