//! Peers that do not behave: each is told apart by the path that it is asked for, and none can hold the host up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Field, loopback, rule};

/// A server on a free port that ends with the test.
pub struct Peer {
    pub address: SocketAddr,
    /// Connections that were made.
    pub met: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let met = Arc::new(AtomicUsize::new(0));
        let counted = met.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream));
            }
        });
        Self { address, met, task }
    }
}

/// Reads one request and answers as its path says; whatever fails, the other side has gone.
async fn serve(mut stream: TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.ok()?;
        if read == 0 {
            return None;
        }
        head.extend_from_slice(&piece[..read]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let path = text.split(' ').nth(1)?;
    match path.split('?').next()? {
        "/hang" => std::future::pending().await,
        "/drip" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await.ok()?;
            loop {
                stream.write_all(b"x").await.ok()?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        "/stall" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nx").await.ok()?;
            std::future::pending().await
        }
        "/flood" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n").await.ok()?;
            let block = vec![b'x'; 1 << 20];
            for _ in 0..10 << 10 {
                stream.write_all(&block).await.ok()?;
            }
            Some(())
        }
        "/endless-head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await.ok()?;
            loop {
                stream.write_all(b"x-more: and more\r\n").await.ok()?;
            }
        }
        "/nonsense" => stream.write_all(b"\x00\xff not HTTP at all\r\n\r\n").await.ok(),
        "/redirect" => {
            let to = path.split_once("to=")?.1;
            let answer = format!("HTTP/1.1 302 Found\r\nlocation: http://{to}/\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.ok()
        }
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            echo(&mut stream, &text).await
        }
        _ => echo(&mut stream, &text).await,
    }
}

/// Answers with the head of the request.
async fn echo(stream: &mut TcpStream, text: &str) -> Option<()> {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
    stream.write_all(answer.as_bytes()).await.ok()
}

async fn field(peer: &Peer) -> Field {
    let field = Field::new(|config| {
        loopback(config);
        config.capabilities.silence_ms = 300;
        config.capabilities.exchange_ms = 900;
        config.capabilities.received_bytes = 4 << 20;
        config.capabilities.sent_bytes = 64 << 10;
        config.component.wall_time_ms = 20_000;
    })
    .await;
    field.grant(json!({ "http": [rule(peer.address)] }));
    field
}

#[tokio::test]
async fn peers_that_hang_drip_flood_or_talk_nonsense_end_with_an_error_for_the_guest() {
    let peer = Peer::start().await;
    let field = field(&peer).await;
    let authority = peer.address.to_string();
    // Within a body the guest has a text, for wasmtime has no code for it there.
    for (path, expected, within) in [
        ("/hang", "HttpResponseTimeout", 3_000),
        ("/stall", "connection read timeout", 3_000),
        ("/drip", "HTTP response timeout", 4_000),
        ("/flood", "HTTP response body size exceeds limit: 4194304 bytes", 10_000),
        ("/endless-head", "HttpProtocolError", 5_000),
        ("/nonsense", "HttpProtocolError", 3_000),
    ] {
        let began = Instant::now();
        let outcome = field.acts(json!([{ "act": "http", "authority": authority, "path": path }])).await;
        let error = outcome.error();
        assert!(error.contains(expected), "{path}: {error}, expected {expected}");
        let took = began.elapsed();
        assert!(took < Duration::from_millis(within), "{path} took {took:?}");
    }
    // The host is as it was.
    let outcome = field.acts(json!([{ "act": "http", "authority": authority, "path": "/echo" }])).await;
    assert_eq!(outcome.only()["status"], 200);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_nobody_follows_it() {
    let (peer, inner) = (Peer::start().await, Peer::start().await);
    let field = field(&peer).await;
    let path = format!("/redirect?to={}", inner.address);
    let outcome = field.acts(json!([{ "act": "http", "authority": peer.address.to_string(), "path": path }])).await;
    let answer = outcome.only();
    assert_eq!(answer["status"], 302);
    assert_eq!(answer["headers"]["location"], format!("http://{}/", inner.address));
    // The guest that follows it sends a new request, which is looked at like the first.
    let outcome = field.acts(json!([{ "act": "http", "authority": inner.address.to_string() }])).await;
    assert!(outcome.error().contains("HttpRequestDenied"));
    assert_eq!(inner.met.load(Ordering::SeqCst), 0, "somebody followed the redirect");
}

#[tokio::test]
async fn what_a_call_sends_is_bounded_in_number_at_one_time_and_in_size() {
    let peer = Peer::start().await;
    let field = Field::new(|config| {
        loopback(config);
        config.capabilities.requests = 5;
        config.capabilities.requests_at_once = 3;
        config.capabilities.sent_bytes = 16 << 10;
    })
    .await;
    field.grant(json!({ "http": [rule(peer.address)] }));
    let authority = peer.address.to_string();
    let one = json!({ "act": "http", "authority": authority });
    let told = field.acts(json!([one, one, one, one, one, one])).await.told();
    assert!(told[..5].iter().all(|answer| answer["status"] == 200), "{told:?}");
    assert!(told[5]["error"].as_str().unwrap().contains("ConnectionLimitReached"), "{}", told[5]);

    let crowd = json!([{ "act": "http", "authority": authority, "path": "/slow", "crowd": 5 }]);
    let outcome = field.acts(crowd).await.only();
    assert_eq!(outcome["answered"], 3, "{outcome}");
    assert_eq!(outcome["ErrorCode::ConnectionLimitReached"], 2, "{outcome}");

    let large = json!([{ "act": "http", "method": "POST", "authority": authority, "body": "x".repeat(40 << 10) }]);
    let error = field.acts(large).await.error();
    // Which of these the guest meets first depends on how far it had come with the body.
    let known = ["HttpRequestBodySize", "HttpProtocolError", "StreamError::Closed"];
    assert!(known.iter().any(|known| error.contains(known)), "{error}");
}

/// A guest that is stopped while it waits for a peer leaves nothing behind.
#[tokio::test]
async fn a_call_that_ends_closes_its_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let field = Field::new(|config| {
        loopback(config);
        config.component.wall_time_ms = 300;
    })
    .await;
    field.grant(json!({ "http": [rule(address)] }));
    let closed = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        // It ends only when the other side closes.
        stream.read_to_end(&mut all).await.is_ok()
    });
    let outcome = field.acts(json!([{ "act": "http", "authority": address.to_string() }])).await;
    let failure = outcome.result.unwrap_err().to_string();
    assert!(failure.contains("out of budget: time"), "{failure}");
    let closed = tokio::time::timeout(Duration::from_secs(5), closed).await.expect("the connection is closed");
    assert!(closed.unwrap());
}
