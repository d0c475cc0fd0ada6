//! Requests and answers as a tape has them.

use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::{Error, WasiBody};

use super::Secrets;
use super::body::boxed;
use crate::driver::Tape;
use crate::model::Exchange;

/// The errors that guests are told by name; others are told as they are written.
const NAMED: [(&str, Error); 12] = [
    ("HttpRequestDenied", Error::HttpRequestDenied),
    ("DestinationIpProhibited", Error::DestinationIpProhibited),
    ("DestinationNotFound", Error::DestinationNotFound),
    ("HttpRequestUriInvalid", Error::HttpRequestUriInvalid),
    ("ConnectionLimitReached", Error::ConnectionLimitReached),
    ("ConnectionRefused", Error::ConnectionRefused),
    ("ConnectionTimeout", Error::ConnectionTimeout),
    ("DnsTimeout", Error::DnsTimeout),
    ("HttpResponseTimeout", Error::HttpResponseTimeout),
    ("HttpRequestBodySize", Error::HttpRequestBodySize(None)),
    ("TlsCertificateError", Error::TlsCertificateError),
    ("HttpProtocolError", Error::HttpProtocolError),
];

/// A request as a tape names it.
pub(super) fn name(head: &Parts) -> String {
    format!("{} {}", head.method, head.uri)
}

/// What the tape says came of a request.
pub(super) fn played(tape: &Tape, request: &str) -> Result<Response<WasiBody>, Error> {
    let exchange = tape.exchange(request).ok_or(Error::HttpRequestDenied)?;
    let Some(status) = exchange.status else { return Err(error(&exchange.error)) };
    let body = BASE64.decode(&exchange.body).unwrap_or_default();
    let mut answer = Response::builder().status(status);
    for (name, value) in &exchange.headers {
        answer = answer.header(name, value);
    }
    answer.body(boxed(Whole(Some(body.into())))).map_err(|_| Error::HttpProtocolError)
}

/// Writes down what came of a request; the answer's body is written down as it is read.
pub(super) fn recorded(
    tape: &Tape,
    secrets: &std::sync::Arc<Secrets>,
    request: String,
    answer: Result<Response<WasiBody>, Error>,
) -> Result<Response<WasiBody>, Error> {
    let request = secrets.redacted(request);
    match answer {
        Err(error) => {
            let error_text = named(&error);
            let exchange =
                Exchange { request, status: None, headers: Vec::new(), body: String::new(), error: error_text };
            tape.note(exchange);
            Err(error)
        }
        Ok(answer) => {
            let (status, headers) = (Some(answer.status().as_u16()), headers(answer.headers(), secrets));
            let exchange = Exchange { request, status, headers, body: String::new(), error: String::new() };
            let Some(number) = tape.note(exchange) else { return Ok(answer) };
            let (tape, secrets) = (tape.clone(), secrets.clone());
            Ok(answer.map(|body| boxed(Taped { body, tape, secrets, number, read: Some(Vec::new()) })))
        }
    }
}

fn headers(headers: &HeaderMap, secrets: &Secrets) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| value.to_str().ok().map(|text| secrets.redacted(text.to_owned()));
    headers.iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?))).collect()
}

fn named(error: &Error) -> String {
    let text = format!("{error:?}");
    let name = text.split(['(', ' ', '{']).next().unwrap_or_default();
    // An operating system's refusal has a name of its own among the errors of WASI.
    if let Error::Connect(source) = error
        && source.kind() == std::io::ErrorKind::ConnectionRefused
    {
        return "ConnectionRefused".to_owned();
    }
    name.to_owned()
}

fn error(name: &str) -> Error {
    let found = NAMED.into_iter().find(|(known, _)| *known == name);
    found.map_or_else(|| Error::InternalError(Some(name.to_owned())), |(_, error)| error)
}

/// A body that is there.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(self.0.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
    }
}

/// A body that is written down as far as it is read.
struct Taped {
    body: WasiBody,
    tape: Tape,
    secrets: std::sync::Arc<Secrets>,
    number: usize,
    /// None once it is too much.
    read: Option<Vec<u8>>,
}

impl Body for Taped {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            if self.tape.takes(data.len()) {
                self.read.as_mut().map(|read| read.extend_from_slice(data)).unwrap_or_default();
            } else {
                self.read = None;
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Taped {
    fn drop(&mut self) {
        let Some(read) = self.read.take() else { return };
        // What a peer sends back of a secret is not written down; a guest that reads it gets it all the same.
        let read = match String::from_utf8(read) {
            Ok(text) => self.secrets.redacted(text).into_bytes(),
            Err(error) => error.into_bytes(),
        };
        self.tape.note_body(self.number, BASE64.encode(read));
    }
}
