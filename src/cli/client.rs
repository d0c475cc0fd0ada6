//! A thin client of the HTTP API.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Error;
use crate::causes::chain;
use crate::model::{Pipeline, RunHead, StepRecord};

const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(30);
/// A component is compiled before the answer to its upload comes.
const UPLOAD: Duration = Duration::from_mins(5);
/// The server gives a sign of life on its streams every 15 s by default.
const SILENCE: Duration = Duration::from_mins(1);
/// How much of an answer that is not JSON is shown.
const EXCERPT: usize = 300;

/// A client of one server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// For answers that come bit by bit.
    streams: reqwest::Client,
    base: Url,
    /// Sent with every change as its idempotency key.
    key: Option<String>,
}

/// A run as `GET /runs/{id}` answers it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RunDetail {
    /// What lists show.
    #[serde(flatten)]
    pub head: RunHead,
    /// The pipeline as it was when the run began.
    #[serde(default)]
    pub pinned_pipeline: Option<Pipeline>,
    /// In the order of the pipeline.
    #[serde(default)]
    pub steps: Vec<StepRecord>,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Value>,
    #[serde(default)]
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    details: Value,
}

/// An answer and whether it says that something new was made.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status was 201.
    pub created: bool,
    /// The JSON body, null if there is none.
    pub body: Value,
}

impl Client {
    /// A client of the server at `address`.
    ///
    /// # Errors
    /// The address is not that of a server.
    pub fn new(address: &str) -> Result<Self, Error> {
        let usage = |why: &str| Error::Usage {
            what: format!("\"{address}\" is not the address of a server: {why}"),
            fix: "give --server or CONVEYOR_SERVER an address such as http://127.0.0.1:8080".to_owned(),
        };
        let base = Url::parse(address).map_err(|error| usage(&error.to_string()))?;
        if base.scheme() != "http" {
            return Err(usage("only http:// is supported"));
        }
        let local = is_loopback(&base);
        let build = |builder: reqwest::ClientBuilder| {
            // A proxy cannot reach this machine, and the variables that name one are often set for the whole shell.
            let builder = if local { builder.no_proxy() } else { builder };
            builder.connect_timeout(CONNECT).build().map_err(|error| usage(&chain(&error)))
        };
        // Only a stream must not fall silent: the answer to an upload may take longer than a sign of life.
        let http = build(reqwest::Client::builder())?;
        let streams = build(reqwest::Client::builder().read_timeout(SILENCE))?;
        Ok(Self { http, streams, base, key: None })
    }

    /// The same, with an idempotency key for the changes it asks for, if there is one.
    #[must_use]
    pub fn under(&self, key: Option<String>) -> Self {
        Self { key, ..self.clone() }
    }

    /// Reads one thing.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<T, Error> {
        let request = self.request(Method::GET, path)?.query(query).timeout(REQUEST);
        let answer = self.send(request).await?;
        serde_json::from_value(answer.body).map_err(|error| self.strange(error.to_string()))
    }

    /// Reads a list, page by page, up to `limit` items.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list(&self, path: &[&str], query: &[(&str, &str)], limit: Option<usize>) -> Result<Vec<Value>, Error> {
        let limit = limit.unwrap_or(usize::MAX);
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            if let Some(cursor) = &cursor {
                query.push(("cursor", cursor));
            }
            let page: Page = self.get(path, &query).await?;
            items.extend(page.items);
            // A cursor that stays where it is would keep this loop going for ever.
            if items.len() >= limit || page.cursor.is_none() || page.cursor == cursor {
                items.truncate(limit);
                return Ok(items);
            }
            cursor = page.cursor;
        }
    }

    /// Reads one run, without the data of large results.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn run(&self, id: &str) -> Result<RunDetail, Error> {
        self.get(&["runs", id], &[("references", "true")]).await
    }

    /// Sends JSON.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn write(&self, method: Method, path: &[&str], body: &Value) -> Result<Answer, Error> {
        self.send(self.request(method, path)?.json(body).timeout(REQUEST)).await
    }

    /// Sends the bytes of a component.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn upload(&self, path: &[&str], query: &[(&str, &str)], bytes: Vec<u8>) -> Result<Answer, Error> {
        let request = self.request(Method::PUT, path)?.query(query).timeout(UPLOAD);
        self.send(request.header("content-type", "application/wasm").body(bytes)).await
    }

    /// Asks for an act that has no body.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn act(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, Error> {
        self.send(self.request(Method::POST, path)?.query(query).timeout(REQUEST)).await
    }

    /// Deletes one thing.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete(&self, path: &[&str]) -> Result<Answer, Error> {
        self.send(self.request(Method::DELETE, path)?.timeout(REQUEST)).await
    }

    /// Opens a stream of server-sent events, which may last for ever.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn stream(&self, path: &[&str]) -> Result<Response, Error> {
        let request = self.streams.get(self.url(path)?).header("accept", "text/event-stream");
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refused(response).await) }
    }

    /// What an error of the connection means.
    #[must_use]
    pub fn failed(&self, error: &reqwest::Error) -> Error {
        let why = chain(error);
        if error.is_decode() { self.strange(why) } else { Error::Unreachable { server: self.server(), why } }
    }

    fn url(&self, path: &[&str]) -> Result<Url, Error> {
        let mut url = self.base.clone();
        // Each segment is encoded for itself, so that no name can lead to another place of the API.
        url.path_segments_mut()
            .map_err(|()| self.strange("the address has no path".to_owned()))?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, Error> {
        let keyed = self.key.as_ref().filter(|_| method != Method::GET);
        let request = self.http.request(method, self.url(path)?);
        Ok(match keyed {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Error> {
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        let created = response.status().as_u16() == 201;
        let bytes = response.bytes().await.map_err(|error| self.failed(&error))?;
        if bytes.is_empty() {
            return Ok(Answer { created, body: Value::Null });
        }
        let body = serde_json::from_slice(&bytes).map_err(|error| self.strange(error.to_string()))?;
        Ok(Answer { created, body })
    }

    async fn refused(&self, response: Response) -> Error {
        let status = response.status();
        let body = match response.text().await {
            Ok(body) => body,
            Err(error) => return self.failed(&error),
        };
        let Ok(refusal) = serde_json::from_str::<Refusal>(&body) else {
            let excerpt: String = body.trim().chars().take(EXCERPT).collect();
            let text = if excerpt.is_empty() { status.to_string() } else { excerpt };
            return Error::Refused { status: status.as_u16(), code: String::new(), text, details: Value::Null };
        };
        let Refusal { error: text, code, details } = refusal;
        Error::Refused { status: status.as_u16(), code, text, details }
    }

    fn strange(&self, why: String) -> Error {
        Error::Answer { server: self.server(), why }
    }

    fn server(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
