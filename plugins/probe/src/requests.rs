//! Requests, through `wasi:http` itself: what is sent is just what the spec says, however odd.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme};
use wasip2::io::streams::StreamError;

use crate::filled;

/// The most of an answer that is told.
const TOLD: usize = 4 << 10;

#[derive(Deserialize)]
pub struct Request {
    #[serde(default = "get")]
    method: String,
    #[serde(default = "http")]
    scheme: String,
    authority: String,
    #[serde(default = "root")]
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    /// Send it so many times, all at one time, and tell how many were answered.
    #[serde(default)]
    crowd: usize,
}

fn get() -> String {
    "GET".to_owned()
}

fn http() -> String {
    "http".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

pub fn send(request: &Request) -> Result<Value, String> {
    if request.crowd > 0 {
        return crowd(request);
    }
    let (outgoing, body) = outgoing(request)?;
    let future = handle(outgoing, None).map_err(|code| format!("{code:?}"))?;
    // A body is taken only while the request is under way. What cannot be sent is told by the answer.
    let sent = write(body, &filled(&request.body));
    future.subscribe().block();
    let response = future.get().ok_or("not ready")?.map_err(|()| "taken")?.map_err(|code| format!("{code:?}"))?;
    let headers: BTreeMap<String, String> = response
        .headers()
        .entries()
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
        .collect();
    sent?;
    let (text, bytes) = body_of(&response)?;
    Ok(json!({ "status": response.status(), "headers": headers, "body": text, "bytes": bytes }))
}

fn crowd(request: &Request) -> Result<Value, String> {
    let mut futures = Vec::new();
    for _ in 0..request.crowd {
        let (outgoing, body) = outgoing(request)?;
        futures.push(handle(outgoing, None).map_err(|code| format!("{code:?}"))?);
        write(body, "")?;
    }
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let mut held = Vec::new();
    for future in futures {
        future.subscribe().block();
        let outcome = match future.get().ok_or("not ready")?.map_err(|()| "taken")? {
            Ok(response) => {
                held.push(response);
                "answered".to_owned()
            }
            Err(code) => format!("{code:?}"),
        };
        *answers.entry(outcome).or_default() += 1;
    }
    Ok(json!(answers))
}

fn outgoing(request: &Request) -> Result<(OutgoingRequest, OutgoingBody), String> {
    let fields = Fields::new();
    for (name, value) in &request.headers {
        fields.append(name, filled(value).as_bytes()).map_err(|error| format!("{error:?}"))?;
    }
    let outgoing = OutgoingRequest::new(fields);
    let refused = |what: &str| format!("the {what} is refused");
    let scheme = match request.scheme.as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let method = match request.method.as_str() {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "CONNECT" => Method::Connect,
        other => Method::Other(other.to_owned()),
    };
    outgoing.set_method(&method).map_err(|()| refused("method"))?;
    outgoing.set_scheme(Some(&scheme)).map_err(|()| refused("scheme"))?;
    outgoing.set_authority(Some(&request.authority)).map_err(|()| refused("authority"))?;
    outgoing.set_path_with_query(Some(&filled(&request.path))).map_err(|()| refused("path"))?;
    let body = outgoing.body().map_err(|()| refused("body"))?;
    Ok((outgoing, body))
}

fn write(body: OutgoingBody, text: &str) -> Result<(), String> {
    if !text.is_empty() {
        let stream = body.write().map_err(|()| "the body is refused")?;
        for piece in text.as_bytes().chunks(4096) {
            stream.blocking_write_and_flush(piece).map_err(|error| format!("{error:?}"))?;
        }
    }
    OutgoingBody::finish(body, None).map_err(|code| format!("{code:?}"))
}

/// The beginning of the answer, and how many bytes it has.
fn body_of(response: &IncomingResponse) -> Result<(String, usize), String> {
    let body: IncomingBody = response.consume().map_err(|()| "taken")?;
    let stream = body.stream().map_err(|()| "taken")?;
    let (mut text, mut bytes) = (Vec::new(), 0);
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(piece) => {
                bytes += piece.len();
                let room = TOLD.saturating_sub(text.len());
                text.extend_from_slice(&piece[..room.min(piece.len())]);
            }
            Err(StreamError::Closed) => return Ok((String::from_utf8_lossy(&text).into_owned(), bytes)),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = wasip2::http::types::http_error_code(&error);
                return Err(code.map_or_else(|| error.to_debug_string(), |code| format!("{code:?}")));
            }
        }
    }
}
