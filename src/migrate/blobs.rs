//! The blobs, which are named by their content.

use std::collections::BTreeMap;

use super::{Error, Fingerprint, Options, Phase, Progress, Report, Side, Tally};
use crate::blob::Blobs;
use crate::model::Digest;

/// The word for this part.
const PART: &str = "blobs";

/// Copies the blobs that the target does not have. What only the target has stays: a blob that nobody names is removed
/// with time.
///
/// # Errors
/// If one of them does not answer, or a blob is damaged.
pub async fn copy(
    source: &dyn Blobs,
    target: &dyn Blobs,
    options: &Options,
    report: Report<'_>,
) -> Result<Tally, Error> {
    let all = list(source, Side::Source, options).await?;
    let there = list(target, Side::Target, options).await?;
    let mut tally = Tally {
        kind: PART.to_owned(),
        source: all.len() as u64,
        bytes: all.values().sum(),
        digest: content(&all),
        ..Tally::default()
    };
    let missing: Vec<&Digest> = all.keys().filter(|digest| !there.contains_key(digest)).collect();
    tally.missing = missing.len() as u64;
    tally.present = tally.source - tally.missing;
    if options.dry_run {
        return Ok(tally);
    }
    for (done, digest) in missing.into_iter().enumerate() {
        // The source has checked the bytes against the digest; the target names them by what they are.
        let bytes = source.get(digest).await.map_err(|error| Error::Blob(Side::Source, error))?;
        let bytes = bytes.ok_or_else(|| Error::Gone(digest.to_string()))?;
        target.put(bytes).await.map_err(|error| Error::Blob(Side::Target, error))?;
        report(Progress { phase: Phase::Copy, part: PART, done: done as u64 + 1, total: Some(tally.missing) });
    }
    let mut found = BTreeMap::new();
    for digest in all.keys() {
        // Read whole: that the name is there does not say that the bytes are.
        let bytes = target.get(digest).await.map_err(|error| Error::Blob(Side::Target, error))?;
        found.extend(bytes.map(|bytes| (digest.clone(), bytes.len() as u64)));
        report(Progress { phase: Phase::Verify, part: PART, done: found.len() as u64, total: Some(tally.source) });
    }
    tally.target = Some(found.len() as u64);
    tally.matches = Some(content(&found) == tally.digest);
    Ok(tally)
}

async fn list(blobs: &dyn Blobs, side: Side, options: &Options) -> Result<BTreeMap<Digest, u64>, Error> {
    let mut found = BTreeMap::new();
    loop {
        let after = found.keys().next_back().cloned();
        let page = blobs.list(after, options.bounds.page.max(1)).await.map_err(|error| Error::Blob(side, error))?;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page.into_iter().map(|info| (info.digest, info.size)));
    }
}

fn content(blobs: &BTreeMap<Digest, u64>) -> String {
    let mut content = Fingerprint::default();
    for (digest, size) in blobs {
        content.add(digest.as_str().as_bytes());
        content.add(&size.to_be_bytes());
    }
    content.finish()
}
