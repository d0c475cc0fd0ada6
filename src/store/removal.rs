//! How the record of a run that has ended leaves the store: steps, input, index entries and references with the head, in
//! as few transactions as their bounds allow.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Entry, Error, List, Revision, Store, Write, index, keys};
use crate::model::{Digest, RunHead, RunId};

/// The most writes of one transaction that removes or indexes runs: within the bounds of every backend, and short enough
/// for a step to wait behind it.
pub(super) const WRITES: usize = 96;

/// Removes runs that have ended, each with its head last, so that a removal that was cut short is begun again.
///
/// # Errors
/// [`Error::Conflict`] if a head is not there any more as it was read: then some of the runs may be there still.
pub async fn remove(store: &dyn Store, runs: &[(RunHead, Revision)]) -> Result<(), Error> {
    let mut transaction = Vec::new();
    for (head, revision) in runs {
        let mut writes = steps(store, head.id).await?;
        // The head goes in one transaction with what makes no sense without it.
        let mut rest = vec![
            Write::delete(keys::run(head.id)).if_revision(*revision),
            Write::delete(keys::run_input(head.id)),
            Write::delete(keys::run_values(head.id)),
            Write::delete(keys::active(head.id)),
        ];
        rest.extend(index::entries(head).into_iter().map(Write::delete));
        while writes.len() + rest.len() > WRITES {
            let some = writes.split_off(writes.len().saturating_sub(WRITES));
            store.transact(some).await?;
        }
        if transaction.len() + writes.len() + rest.len() > WRITES {
            store.transact(std::mem::take(&mut transaction)).await?;
        }
        transaction.append(&mut writes);
        transaction.append(&mut rest);
    }
    if !transaction.is_empty() {
        store.transact(transaction).await?;
    }
    Ok(())
}

/// Removes the steps of a run that was never created.
pub async fn remove_steps(store: &dyn Store, run: RunId) -> Result<(), Error> {
    for writes in steps(store, run).await?.chunks(WRITES) {
        store.transact(writes.to_vec()).await?;
    }
    Ok(())
}

/// The removal of a run's steps, of what they keep alive, and of what their calls got from outside.
async fn steps(store: &dyn Store, run: RunId) -> Result<Vec<Write>, Error> {
    let mut keys = BTreeSet::new();
    for prefix in [keys::run_steps(run), keys::transcripts(run)] {
        let mut query = List::prefix(prefix, 100);
        loop {
            let page = store.list(query.clone()).await?;
            for entry in page.entries {
                references(&entry, run, &mut keys);
                keys.insert(entry.key);
            }
            if page.cursor.is_none() {
                break;
            }
            query = query.after(page.cursor);
        }
    }
    Ok(keys.into_iter().map(Write::delete).collect())
}

/// The keys by which a step keeps blobs.
fn references(step: &Entry, run: RunId, keys: &mut BTreeSet<String>) {
    const NAME: &[u8] = b"\"blob\"";
    // Few results are so large that they lie in a blob.
    if step.value.windows(NAME.len()).any(|part| part == NAME)
        && let Ok(step) = serde_json::from_slice(&step.value)
    {
        collect(&step, run, keys);
    }
}

fn collect(value: &Value, run: RunId, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let digest = fields.get("blob").and_then(|blob| blob.get("digest")?.as_str()?.parse::<Digest>().ok());
            keys.extend(digest.map(|digest| format!("{}{run}", keys::blob_refs(&digest))));
            fields.values().for_each(|value| collect(value, run, keys));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, run, keys)),
        _ => {}
    }
}
