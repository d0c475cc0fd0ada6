//! Bodies of requests and answers, within bounds of size and time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::{Error, WasiBody};

/// Bytes that may still pass in one direction; shared by all bodies of a call.
#[derive(Debug)]
pub(super) struct Allowance {
    left: AtomicU64,
    /// What was allowed at first, to be told.
    pub whole: u64,
}

/// A body that takes from an allowance.
pub(super) struct Counted<B> {
    pub body: B,
    pub allowance: Arc<Allowance>,
    /// What the guest is told beyond it.
    pub beyond: fn(Option<u64>) -> Error,
}

/// The body of an answer, which must not stay silent for too long nor take for ever. It holds its place among the
/// requests of the call.
pub(super) struct Timed<B> {
    body: B,
    silence: Duration,
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Allowance {
    pub(super) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(bytes), whole: bytes })
    }

    fn take(&self, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

impl<B: Body<Data = Bytes, Error = Error> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && !self.allowance.take(frame.data_ref().map_or(0, Bytes::len))
        {
            return Poll::Ready(Some(Err((self.beyond)(Some(self.allowance.whole)))));
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

impl<B> Timed<B> {
    pub(super) fn new(body: B, silence: Duration, deadline: Instant, place: OwnedSemaphorePermit) -> Self {
        let first = deadline.min(Instant::now() + silence);
        Self { body, silence, deadline, timer: Box::pin(tokio::time::sleep_until(first)), _place: place }
    }
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Timed<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let now = Instant::now();
        // A peer that always has something ready must not get around the deadline.
        if now >= self.deadline {
            return Poll::Ready(Some(Err(Error::HttpResponseTimeout)));
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let next = self.deadline.min(now + self.silence);
            self.timer.as_mut().reset(next);
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        match self.timer.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if Instant::now() >= self.deadline => Poll::Ready(Some(Err(Error::HttpResponseTimeout))),
            Poll::Ready(()) => Poll::Ready(Some(Err(Error::ConnectionReadTimeout))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body as WASI hands it around.
pub(super) fn boxed(body: impl Body<Data = Bytes, Error = Error> + Send + 'static) -> WasiBody {
    WasiBody::new(body)
}
