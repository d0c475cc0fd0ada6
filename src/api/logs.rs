//! Routes of run logs.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use utoipa::IntoParams;

use super::State;
use super::error::{ApiError, ErrorBody};
use super::extract::{Params, Payload, Segments};
use super::runs::run_id;
use crate::catalog::{Code, Error};
use crate::log::{Query, StoredLine};
use crate::model::{LogLine, RunHead, RunId};
use crate::store::{self, Watch, keys};

/// Which log lines.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// Of this run.
    pub runid: Option<String>,
    /// By this driver.
    pub driver: Option<String>,
    /// Of this pipeline.
    pub pipeline: Option<String>,
}

/// The log lines that fit all given conditions, oldest first.
#[utoipa::path(get, path = "/logs", tag = "logs", params(LogQuery),
    responses((status = 200, body = Vec<LogLine>), (status = "4XX", body = ErrorBody)))]
pub async fn list(
    Shared(state): Shared<State>,
    Params(query): Params<LogQuery>,
) -> Result<Json<Vec<LogLine>>, ApiError> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let query = Query {
        run: given(query.runid),
        driver: given(query.driver),
        pipeline: given(query.pipeline),
        after: 0,
        limit: state.catalog.config.log.query,
    };
    let lines = state.catalog.logs(query).await?;
    Ok(Json(lines.into_iter().map(|stored| stored.line).collect()))
}

/// Stores a line.
#[utoipa::path(post, path = "/logs", tag = "logs", request_body = LogLine,
    responses((status = 201, body = String), (status = "4XX", body = ErrorBody)))]
pub async fn append(
    Shared(state): Shared<State>,
    Payload(line): Payload<LogLine>,
) -> Result<(StatusCode, &'static str), ApiError> {
    state.catalog.append_log(line).await?;
    Ok((StatusCode::CREATED, "Created"))
}

/// A run's log as server-sent events: the stored lines, then the live ones with no gap between, until the run ends.
#[utoipa::path(get, path = "/logs/pipeline/{runid}", tag = "logs", params(("runid" = String, Path)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = "4XX", body = ErrorBody)))]
pub async fn follow(
    Shared(state): Shared<State>,
    Segments(run): Segments<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    open(state, run_id(&run)?, None).await
}

/// The same for the lines of one driver.
#[utoipa::path(get, path = "/logs/streams/{driver}/{runid}", tag = "logs",
    params(("driver" = String, Path), ("runid" = String, Path)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = "4XX", body = ErrorBody)))]
pub async fn follow_driver(
    Shared(state): Shared<State>,
    Segments((driver, run)): Segments<(String, String)>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    open(state, run_id(&run)?, Some(driver)).await
}

async fn open(
    state: State,
    run: RunId,
    driver: Option<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let permit = state.streams.clone().try_acquire_owned().map_err(|_| {
        let text = "as many log streams are open as api.streams allows: try again later";
        ApiError::from(Error::new(Code::Unavailable, text))
    })?;
    let (head, changes) = store::follow(state.catalog.store.as_ref(), &keys::run(run)).await.map_err(Error::from)?;
    // A run that is not there is a 404, not an endless stream.
    let head = head.ok_or_else(|| Error::new(Code::RunNotFound, format!("no run {run}")))?;
    let finished = is_finished(&head.key, &head.value);
    let heartbeat = Duration::from_millis(state.catalog.config.log.heartbeat_ms.max(100));
    state.catalog.metrics.streams.inc();
    let follower = Follower {
        newest: state.catalog.logs.newest(),
        query: Query { run: Some(run.to_string()), driver, pipeline: None, after: 0, limit: 1_000 },
        changes: Some(changes),
        ready: VecDeque::new(),
        until: finished.then(Instant::now),
        ended: None,
        last: false,
        state,
        _permit: permit,
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let line = follower.next().await?;
        let event = Event::default().id(line.position.to_string()).json_data(&line.line).unwrap_or_default();
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(heartbeat).text("heartbeat")))
}

/// Reads a log behind the last position it saw, and waits for newer lines; so nothing falls between stored and live.
struct Follower {
    state: State,
    newest: watch::Receiver<u64>,
    query: Query,
    changes: Option<Watch>,
    ready: VecDeque<StoredLine>,
    /// Set when the run has ended: until then late lines are waited for.
    until: Option<Instant>,
    /// When that time was over first.
    ended: Option<Instant>,
    /// And nothing is known to be on its way.
    last: bool,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(&mut self) -> Option<StoredLine> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                self.query.after = line.position;
                return Some(line);
            }
            // Marked as seen before the query: a line that comes during it wakes us again.
            self.newest.mark_unchanged();
            let lines = self.state.catalog.logs(self.query.clone()).await.ok()?;
            self.ready.extend(lines);
            if self.ready.is_empty() {
                if self.last {
                    return None;
                }
                self.wait().await;
            }
        }
    }

    /// Waits for a newer line, the run's end or, after that, the end of the time for late lines.
    async fn wait(&mut self) {
        let stop = self.state.stop.clone();
        if let Some(until) = self.until {
            // Lines of other runs wake us as well, so the time is looked at first: under load they never pause.
            let over = Instant::now() >= until;
            let late = tokio::time::timeout_at(until, self.newest.changed()).await;
            self.last = over || late.is_err() || stop.is_cancelled();
            if self.last && !stop.is_cancelled() {
                self.wait_for_stragglers().await;
            }
            return;
        }
        let grace = Duration::from_millis(self.state.catalog.config.log.grace_ms);
        tokio::select! {
            () = stop.cancelled() => self.last = true,
            _ = self.newest.changed() => {}
            ended = ended(&mut self.changes) => self.until = ended.then(|| Instant::now() + grace),
        }
    }
}

impl Follower {
    /// Waits on if lines are known to be on their way, but not for ever.
    async fn wait_for_stragglers(&mut self) {
        let config = &self.state.catalog.config.log;
        let ended = *self.ended.get_or_insert_with(Instant::now);
        if ended.elapsed() < Duration::from_millis(config.lag_ms)
            && self.state.catalog.logs.lags().await.unwrap_or(true)
        {
            self.last = false;
            self.until = Some(Instant::now() + Duration::from_millis(config.grace_ms.max(10)));
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.state.catalog.metrics.streams.dec();
    }
}

/// Waits for the next change of the run's head; says whether the run has ended.
async fn ended(changes: &mut Option<Watch>) -> bool {
    let Some(watch) = changes else { return true };
    let Some(Ok(change)) = watch.next().await else {
        // The stream cannot be followed any further, which is better said by its end than by silence.
        *changes = None;
        return true;
    };
    change.value.is_none_or(|value| is_finished(&change.key, &value))
}

/// Whether the head of a run says that it has ended.
fn is_finished(key: &str, head: &[u8]) -> bool {
    store::decode::<RunHead>(key, head).is_ok_and(|head| head.status.is_finished())
}
