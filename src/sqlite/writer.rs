//! The writer thread: takes what is queued, commits it at once, answers, and begins again.
//!
//! Nothing waits for a group to fill: while one commit is under way the next group gathers by itself.

use rusqlite::Connection;
use tokio::sync::mpsc::Receiver;

use super::{Failure, Request, Work};

/// Works until the last sender is gone and the queue is empty.
pub(super) fn run<W: Work>(connection: &Connection, mut work: W, mut requests: Receiver<Request<W>>, group: usize) {
    let mut taken = Vec::with_capacity(group);
    let mut stale = false;
    while requests.blocking_recv_many(&mut taken, group) > 0 {
        let (jobs, waiting): (Vec<_>, Vec<_>) = taken.drain(..).map(|request| (request.job, request.answer)).unzip();
        // Who asked may have gone away meanwhile, so a send that fails is nobody's trouble.
        match commit(connection, &mut work, jobs, stale) {
            Ok(answers) => {
                stale = false;
                work.committed();
                for (waiting, answer) in waiting.into_iter().zip(answers) {
                    let _ = waiting.send(Ok(answer));
                }
            }
            Err(error) => {
                stale = true;
                let failure = Failure::from(error);
                tracing::warn!(%failure, jobs = waiting.len(), "a group of transactions was not written");
                roll_back(connection);
                for waiting in waiting {
                    let _ = waiting.send(Err(failure.clone()));
                }
            }
        }
    }
}

fn commit<W: Work>(
    connection: &Connection,
    work: &mut W,
    jobs: Vec<W::Job>,
    stale: bool,
) -> rusqlite::Result<Vec<W::Answer>> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    if stale {
        work.load(connection)?;
    }
    let answers = jobs.into_iter().map(|job| work.apply(connection, job)).collect::<Result<Vec<_>, _>>()?;
    work.finish(connection)?;
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(answers)
}

/// SQLite ends the transaction by itself on some errors and not on others.
fn roll_back(connection: &Connection) {
    if connection.is_autocommit() {
        return;
    }
    if let Err(error) = connection.execute_batch("ROLLBACK") {
        tracing::error!(%error, "a failed group of transactions could not be rolled back");
    }
}
