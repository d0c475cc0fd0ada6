//! The drivers' places: the consumers of the stream of messages, kept current by the server's advisories.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, Message};
use futures_util::{FutureExt, Stream as FutureStream, StreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Mutex, watch};

use super::super::{Error, Place, Stream};
use super::link::ask;

/// The places, and the one listing of them at a time.
#[derive(Debug)]
pub(super) struct Places {
    shown: watch::Sender<Arc<BTreeMap<String, Place>>>,
    /// Two listings at once could end in the other order and show the older one.
    turn: Mutex<()>,
}

impl Default for Places {
    fn default() -> Self {
        Self { shown: watch::Sender::new(Arc::default()), turn: Mutex::default() }
    }
}

impl Places {
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<BTreeMap<String, Place>>> {
        self.shown.subscribe()
    }

    /// Lists the consumers again. Without an answer the last known places stay.
    pub(super) async fn refresh(&self, context: &Context) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let places = list(context).await?;
        self.shown.send_if_modified(|shown| {
            let changed = **shown != places;
            if changed {
                *shown = Arc::new(places);
            }
            changed
        });
        Ok(())
    }

    /// Subscribes to what the server tells about consumers that come and go. It outlives the connection.
    pub(super) async fn listen(
        &self,
        client: &Client,
    ) -> Result<impl FutureStream<Item = Message> + Send + Unpin + use<>, Error> {
        let mut advisories = Vec::new();
        for what in ["CREATED", "DELETED"] {
            let subject = format!("$JS.EVENT.ADVISORY.CONSUMER.{what}.{}.*", Stream::Messages.name());
            let advisory = client.subscribe(subject).await;
            advisories.push(advisory.map_err(|error| Error::Unavailable(error.to_string()))?);
        }
        Ok(stream::select_all(advisories))
    }

    /// Lists the consumers after each advisory; after many at once, once.
    pub(super) async fn follow(&self, context: &Context, mut advisories: impl FutureStream<Item = Message> + Unpin) {
        while advisories.next().await.is_some() {
            while let Some(Some(_)) = advisories.next().now_or_never() {}
            if let Err(error) = self.refresh(context).await {
                tracing::debug!(%error, "the drivers' places could not be listed");
            }
        }
    }
}

/// A page of the answer, as much of it as is used: drivers may make consumers of any shape.
#[derive(Deserialize)]
struct Page {
    total: usize,
    consumers: Option<Vec<Listed>>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    /// The server keeps it through updates and restarts, so it is in the token of the place.
    created: String,
    config: Filters,
}

#[derive(Deserialize)]
struct Filters {
    filter_subject: Option<String>,
    filter_subjects: Option<Vec<String>>,
}

async fn list(context: &Context) -> Result<BTreeMap<String, Place>, Error> {
    let mut places = BTreeMap::new();
    let mut offset = 0;
    let answers = stream_of_answers(context).await?;
    loop {
        let subject = format!("CONSUMER.LIST.{}", Stream::Messages.name());
        let page = match ask::<Page>(context, subject, &json!({ "offset": offset })).await? {
            Ok(page) => page,
            Err(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => return Ok(BTreeMap::new()),
            Err(error) => return Err(Error::Unavailable(format!("the consumers cannot be listed: {error}"))),
        };
        let consumers = page.consumers.unwrap_or_default();
        offset += consumers.len();
        let last = consumers.is_empty() || offset >= page.total;
        places.extend(consumers.into_iter().map(|listed| listed.into_place(&answers)));
        if last {
            return Ok(places);
        }
    }
}

/// When the stream of results was made. With an earlier one the answers that nobody had taken are gone, although the
/// places are still there and will not answer again: so it is a part of their tokens.
async fn stream_of_answers(context: &Context) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Made {
        created: String,
    }
    let name = Stream::Pipeline.name();
    match ask::<Made>(context, format!("STREAM.INFO.{name}"), &json!({})).await? {
        Ok(made) => Ok(made.created),
        Err(error) => Err(Error::Unavailable(format!("stream \"{name}\" cannot be read: {error}"))),
    }
}

impl Listed {
    fn into_place(self, answers: &str) -> (String, Place) {
        let mut filters = self.config.filter_subjects.unwrap_or_default();
        filters.extend(self.config.filter_subject.filter(|filter| !filter.is_empty()));
        if filters.is_empty() {
            // A consumer without a filter takes the whole stream.
            filters.push(">".to_owned());
        }
        (self.name, Place { token: format!("{}/{answers}", self.created), filters })
    }
}
