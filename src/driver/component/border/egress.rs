//! The requests that a guest sends: looked at, sent to an address that was checked, and bounded in number, size and time.
//! Redirects are answers like any other; a guest that follows one sends a new request.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::body::{Allowance, Counted, Timed, boxed};
use super::{Border, Granted, Secrets, connect, resolve, taped};
use crate::driver::component::output::Output;
use crate::driver::{Level, Tape, UseLog};
use crate::model::{Destination, Effective, Permit, Refusal, RunId, Scheme, Used, canonical, is_global};

/// Bytes of an answer's head that are read at most.
const HEAD_BYTES: usize = 64 << 10;
/// Addresses of one host that are tried.
const TRIED: usize = 4;

/// Sends the requests of one call.
#[derive(Clone)]
pub(in super::super) struct Egress(Arc<Call>);

struct Call {
    border: Arc<Border>,
    effective: Arc<Effective>,
    secrets: Arc<Secrets>,
    output: Arc<Output>,
    uses: UseLog,
    run: RunId,
    tape: Tape,
    sent: AtomicUsize,
    places: Arc<Semaphore>,
    outbound: Arc<Allowance>,
    inbound: Arc<Allowance>,
}

type Worker = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = (Response<WasiBody>, Worker);

/// How long the parts of one request may take: what the configuration says, or less if the guest asks for less.
struct Times {
    connect: Duration,
    first_byte: Duration,
    between: Duration,
    deadline: Instant,
}

impl Egress {
    pub(super) fn new(granted: &Granted, output: Arc<Output>) -> Self {
        let config = &granted.border.config;
        Self(Arc::new(Call {
            border: granted.border.clone(),
            effective: granted.effective.clone(),
            secrets: granted.secrets.clone(),
            output,
            uses: granted.uses.clone(),
            run: granted.run,
            tape: granted.tape.clone(),
            sent: AtomicUsize::new(0),
            places: Arc::new(Semaphore::new(config.requests_at_once.min(Semaphore::MAX_PERMITS))),
            outbound: Allowance::new(config.sent_bytes),
            inbound: Allowance::new(config.received_bytes),
        }))
    }
}

impl WasiHttpHooks for Egress {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer, Error>> + Send> {
        let call = self.0.clone();
        Box::new(async move { call.taped(request, options).await })
    }

    fn p2_error_from_hyper(
        &mut self,
        error: &hyper::Error,
    ) -> wasmtime_wasi_http::p2::bindings::http::types::ErrorCode {
        tracing::debug!(%error, "a request of a guest failed");
        wasmtime_wasi_http::p2::bindings::http::types::ErrorCode::HttpProtocolError
    }
}

impl Call {
    /// Sends a request and writes down what comes of it, if the call is recorded; of a call that is played nothing is sent.
    async fn taped(&self, request: Request<WasiBody>, options: Option<RequestOptions>) -> Result<Answer, Error> {
        if !self.tape.is_on() {
            return self.send(request, options).await;
        }
        let (head, body) = request.into_parts();
        let name = taped::name(&head);
        if self.tape.is_playing() {
            return Ok((taped::played(&self.tape, &name)?, Box::new(async { Ok(()) })));
        }
        let (answer, worker) = match self.send(Request::from_parts(head, body), options).await {
            Ok((answer, worker)) => (Ok(answer), Some(worker)),
            Err(error) => (Err(error), None),
        };
        let answer = taped::recorded(&self.tape, &self.secrets, name, answer)?;
        Ok((answer, worker.unwrap_or_else(|| Box::new(async { Ok(()) }))))
    }

    async fn send(&self, request: Request<WasiBody>, options: Option<RequestOptions>) -> Result<Answer, Error> {
        let place = self.place()?;
        let times = Times::new(&self.border.config, options.as_ref());
        let (mut head, body) = request.into_parts();
        let destination = self.destination(&head).await?;
        let permit = match self.effective.http(&destination) {
            Ok(permit) => permit,
            Err(refusal) => return Err(self.refuse(&refusal, requested(&destination, &[])).await),
        };
        self.check_secrets(&head.headers, &destination).await?;
        let addresses = self.addresses(&destination, &permit, &times).await?;
        let beyond: Vec<IpAddr> = addresses.iter().copied().filter(|address| !is_global(*address)).collect();
        self.uses.note(requested(&destination, &beyond), false, self.run);
        let tls = match destination.scheme {
            Scheme::Http => None,
            Scheme::Https => Some(self.border.tls().map_err(|why| self.broken(&why))?),
        };
        let connected = timeout(times.connect, connect::connect(&destination, &addresses, tls)).await;
        let stream = connected.map_err(|_| Error::ConnectionTimeout)??;
        self.secrets.put_in(&mut head.headers);
        let request = self.addressed(head, body, &destination)?;
        self.exchange(stream, request, &times, place).await
    }

    /// A place among the requests of the call.
    fn place(&self) -> Result<OwnedSemaphorePermit, Error> {
        if self.sent.fetch_add(1, Ordering::Relaxed) >= self.border.config.requests {
            return Err(Error::ConnectionLimitReached);
        }
        self.places.clone().try_acquire_owned().map_err(|_| Error::ConnectionLimitReached)
    }

    async fn destination(&self, head: &Parts) -> Result<Destination, Error> {
        let uri = &head.uri;
        let authority = uri.authority().map_or("", http::uri::Authority::as_str);
        let read = Destination::read(head.method.as_str(), uri.scheme_str().unwrap_or_default(), authority, uri.path());
        match read {
            Ok(destination) => Ok(destination),
            Err(malformed) => {
                // It names no destination that could be counted, nor a line that would help.
                self.output.log(Level::Warn, &format!("refused a request: {malformed}")).await;
                Err(Error::HttpRequestUriInvalid)
            }
        }
    }

    /// Tells a refusal to everybody.
    async fn refuse(&self, refusal: &Refusal, used: Used) -> Error {
        self.uses.note(used, true, self.run);
        self.output.log(Level::Warn, &format!("refused: {refusal}")).await;
        Error::HttpRequestDenied
    }

    async fn check_secrets(&self, headers: &HeaderMap, destination: &Destination) -> Result<(), Error> {
        for name in self.secrets.named_in(headers) {
            let used = Used::Secrets { name: name.to_owned(), destination: destination.clone() };
            match self.effective.secret(name, destination) {
                Ok(()) => self.uses.note(used, false, self.run),
                Err(refusal) => return Err(self.refuse(&refusal, used).await),
            }
        }
        Ok(())
    }

    /// The addresses behind the destination that may be connected to.
    async fn addresses(&self, to: &Destination, permit: &Permit, times: &Times) -> Result<Vec<IpAddr>, Error> {
        let resolved = timeout(times.connect, resolve::addresses(self.border.resolver.as_ref(), &to.host)).await;
        let found = match resolved {
            Err(_) => return Err(Error::DnsTimeout),
            Ok(Err(error)) => return Err(Error::DnsError { rcode: Some(error.to_string()), info_code: None }),
            Ok(Ok(found)) => found,
        };
        let (allowed, refused): (Vec<IpAddr>, Vec<IpAddr>) =
            found.into_iter().map(canonical).partition(|address| permit.allows(*address));
        match (allowed.is_empty(), refused.first()) {
            (false, _) => Ok(allowed.into_iter().take(TRIED).collect()),
            (true, None) => Err(Error::DestinationNotFound),
            (true, Some(address)) => {
                let refusal = self.effective.address_refused(to, permit, *address);
                self.refuse(&refusal, requested(to, &refused)).await;
                Err(Error::DestinationIpProhibited)
            }
        }
    }

    fn broken(&self, why: &str) -> Error {
        tracing::warn!(run = %self.run, why, "no TLS for the requests of drivers");
        Error::TlsCertificateError
    }

    /// The request as it goes over the wire: the path alone, and the host as it was checked.
    fn addressed(&self, mut head: Parts, body: WasiBody, to: &Destination) -> Result<Request<WasiBody>, Error> {
        let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        head.uri = path.parse::<Uri>().map_err(|_| Error::HttpRequestUriInvalid)?;
        let host = HeaderValue::try_from(to.authority()).map_err(|_| Error::HttpRequestUriInvalid)?;
        head.headers.insert(HOST, host);
        let allowance = self.outbound.clone();
        Ok(Request::from_parts(head, boxed(Counted { body, allowance, beyond: Error::HttpRequestBodySize })))
    }

    async fn exchange(
        &self,
        stream: Box<dyn connect::Stream>,
        request: Request<WasiBody>,
        times: &Times,
        place: OwnedSemaphorePermit,
    ) -> Result<Answer, Error> {
        let mut client = http1::Builder::new();
        client.max_buf_size(HEAD_BYTES);
        let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await?;
        let worker: AbortOnDropJoinHandle<_> = wasmtime_wasi::runtime::spawn(connection);
        let until = times.deadline.min(Instant::now() + times.first_byte);
        let answer = timeout_at(until, sender.send_request(request)).await;
        let answer = answer.map_err(|_| Error::HttpResponseTimeout)?.map_err(why)?;
        let (between, deadline) = (times.between, times.deadline);
        let allowance = self.inbound.clone();
        let answer = answer.map(|body| {
            let body = Timed::new(body, between, deadline, place);
            boxed(Counted { body, allowance, beyond: Error::HttpResponseBodySize })
        });
        // What drives the connection ends with the answer's body.
        let worker = async move { worker.await.map_err(Error::from) };
        Ok((answer, Box::new(worker)))
    }
}

impl Times {
    fn new(config: &crate::config::Capabilities, asked: Option<&RequestOptions>) -> Self {
        let least = |most: Duration, asked: Option<Duration>| asked.map_or(most, |asked| asked.min(most));
        Self {
            connect: least(config.connect(), asked.and_then(|asked| asked.connect_timeout)),
            first_byte: least(config.silence(), asked.and_then(|asked| asked.first_byte_timeout)),
            between: least(config.silence(), asked.and_then(|asked| asked.between_bytes_timeout)),
            deadline: Instant::now() + config.exchange(),
        }
    }
}

/// An error of a body that was too large stands behind hyper's own.
fn why(error: hyper::Error) -> Error {
    let own = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Error>());
    match own {
        Some(Error::HttpRequestBodySize(limit)) => Error::HttpRequestBodySize(*limit),
        _ => Error::from(error),
    }
}

fn requested(destination: &Destination, addresses: &[IpAddr]) -> Used {
    Used::Http { destination: destination.clone(), addresses: addresses.iter().copied().collect() }
}
