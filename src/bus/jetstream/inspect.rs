//! What can be seen of NATS from outside, without changing anything: for those who look for a cause.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::Info;
use async_nats::{Client, ConnectOptions, ServerAddr};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::super::{Error, Limits, Stream};
use super::{addresses, link, streams};

/// What was seen of a NATS cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// One for each address that was given.
    pub servers: Vec<Server>,
    /// Whether JetStream answers, or why not; `None` if no server was reached.
    pub jetstream: Option<Result<(), String>>,
    /// The three streams by name; empty if JetStream does not answer.
    pub streams: Vec<(&'static str, StreamState)>,
}

/// What was seen of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its host and port, without user and password.
    pub address: String,
    /// The host alone.
    pub host: String,
    /// What it says of itself, or why it was not reached.
    pub greeting: Result<Greeting, String>,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Unique among servers; anew at each start.
    pub id: String,
    /// Such as `2.10.25`.
    pub version: String,
    /// The most bytes of one message.
    pub max_payload: usize,
    /// Whether it has JetStream.
    pub jetstream: bool,
    /// The time that it told, with when it was asked and when it answered; `None` if it does not tell.
    pub time: Option<(Timestamp, Timestamp, Timestamp)>,
}

/// How a stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamState {
    /// It is not there; the server makes it.
    Missing,
    /// It is as it should be.
    Good {
        /// Messages in it.
        messages: u64,
        /// Copies of each.
        replicas: usize,
    },
    /// It is ours and of another shape; the server brings it to this one.
    Outdated(Vec<String>),
    /// It is of another shape that the server refuses to work with.
    Foreign(Vec<String>),
    /// It cannot be read.
    Unknown(String),
}

/// Looks at the servers of some addresses separated by commas, each for at most `patience`.
///
/// # Errors
/// If the addresses cannot be read.
pub async fn inspect(servers: &str, limits: &Limits, patience: Duration) -> Result<Inspection, Error> {
    let mut inspection = Inspection { servers: Vec::new(), jetstream: None, streams: Vec::new() };
    for address in addresses(servers)? {
        let (host, shown) = (address.host().to_owned(), format!("{}:{}", address.host(), address.port()));
        let reached = tokio::time::timeout(patience, reach(address, patience)).await;
        let reached = reached.unwrap_or_else(|_| Err(format!("no answer within {} ms", patience.as_millis())));
        if let Ok((client, _)) = &reached
            && inspection.streams.is_empty()
        {
            look(client, limits, patience, &mut inspection).await;
        }
        inspection.servers.push(Server { address: shown, host, greeting: reached.map(|(_, greeting)| greeting) });
    }
    Ok(inspection)
}

async fn reach(address: ServerAddr, patience: Duration) -> Result<(Client, Greeting), String> {
    let options = ConnectOptions::new().name("Conveyor doctor").request_timeout(Some(patience)).max_reconnects(Some(1));
    let client = options.connect(address).await.map_err(|error| error.to_string())?;
    let info = client.server_info();
    let greeting = Greeting {
        id: info.server_id,
        version: info.version,
        max_payload: info.max_payload,
        jetstream: info.jetstream,
        time: time(&client).await,
    };
    Ok((client, greeting))
}

/// Every user may ask who they are, and the answer bears the server's time.
async fn time(client: &Client) -> Option<(Timestamp, Timestamp, Timestamp)> {
    #[derive(Deserialize)]
    struct Answer {
        server: Teller,
    }
    #[derive(Deserialize)]
    struct Teller {
        time: Timestamp,
    }
    let asked = Timestamp::now();
    let answer = client.request("$SYS.REQ.USER.INFO", "".into()).await.ok()?;
    let answered = Timestamp::now();
    let told: Answer = serde_json::from_slice(&answer.payload).ok()?;
    Some((asked, told.server.time, answered))
}

async fn look(client: &Client, limits: &Limits, patience: Duration, inspection: &mut Inspection) {
    let context = ContextBuilder::new().timeout(patience).build(client.clone());
    let account = link::ask::<serde_json::Value>(&context, "INFO".to_owned(), &json!({})).await;
    inspection.jetstream = Some(match account {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    });
    if inspection.jetstream != Some(Ok(())) {
        return;
    }
    for stream in Stream::ALL {
        let name = stream.name();
        let state = match link::ask::<Info>(&context, format!("STREAM.INFO.{name}"), &json!({})).await {
            Ok(Ok(info)) => state(stream, limits, &info),
            Ok(Err(error)) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => StreamState::Missing,
            Ok(Err(error)) => StreamState::Unknown(error.to_string()),
            Err(error) => StreamState::Unknown(error.to_string()),
        };
        inspection.streams.push((name, state));
    }
}

fn state(stream: Stream, limits: &Limits, info: &Info) -> StreamState {
    let (messages, replicas) = (info.state.messages, info.config.num_replicas);
    match streams::compare(stream, limits, &info.config) {
        Ok(()) => StreamState::Good { messages, replicas },
        Err((differences, true)) => StreamState::Outdated(differences),
        Err((differences, false)) => StreamState::Foreign(differences),
    }
}
