//! Threads for guests that compute. A call begins where it is asked for, which is fastest for the many that are short; one
//! that a tick finds computing goes on here, so that however many there are, whoever asked has its threads for itself.

use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::Poll;

use rustix::process::nice;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::host::LoadError;
use super::watch::Watch;

/// How far guests stand back behind the rest of the program when there are not processors enough for both.
const STAND_BACK: i32 = 5;

/// The threads, started when they are needed first.
#[derive(Debug)]
pub(super) struct Threads {
    count: usize,
    runtime: OnceLock<Option<Runtime>>,
}

/// Ends the work when nobody waits for it any more.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Threads {
    /// So many threads; 0 is one for each processor.
    pub(super) fn new(count: usize) -> Self {
        Self { count, runtime: OnceLock::new() }
    }

    /// Does the work of one call: on the caller's thread until a tick interrupts it there, then on one of these.
    ///
    /// # Errors
    /// [`LoadError::Stopping`] if the host is dropped meanwhile.
    pub(super) async fn run<W>(&self, watch: &Watch, work: W) -> Result<W::Output, LoadError>
    where
        W: Future<Output: Send> + Send + 'static,
    {
        let mut work = Box::pin(work);
        if let Some(done) = until_interrupted(watch, &mut work).await {
            return Ok(done);
        }
        match self.runtime() {
            None => Ok(work.await),
            Some(runtime) => match (&mut AbortOnDrop(runtime.spawn(work)).0).await {
                Ok(done) => Ok(done),
                // Whoever called it deals with it as if it had never been moved.
                Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                Err(_) => Err(LoadError::Stopping),
            },
        }
    }

    fn runtime(&self) -> Option<&Runtime> {
        let start = || {
            let mut builder = Builder::new_multi_thread();
            if self.count > 0 {
                builder.worker_threads(self.count);
            }
            let built = builder.thread_name("component-guest").enable_all().on_thread_start(stand_back).build();
            built
                .inspect_err(|error| tracing::warn!(%error, "no threads for components, they compute among others"))
                .ok()
        };
        self.runtime.get_or_init(start).as_ref()
    }
}

impl Drop for Threads {
    /// Whoever drops the host may be asynchronous, and must not wait for guests to end.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take().flatten() {
            runtime.shutdown_background();
        }
    }
}

fn stand_back() {
    // A politeness to the rest of the program, which it can do without.
    let _ = nice(STAND_BACK);
}

/// Polls the work until it is done, or `None` once a tick has interrupted it.
async fn until_interrupted<W: Future>(watch: &Watch, work: &mut Pin<Box<W>>) -> Option<W::Output> {
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if watch.is_interrupted() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
