//! The driver `far` of the tests of remote drivers, in Rust; its twins in the other languages do the same.
//!
//! It notes in the file `$NOTES/NAME` that it has `begun` on the resource of that name. If the spec has `hold`, it waits until
//! there is a file `NAME.go`, and notes when it is `broken off`. It fails with the text `fail` of the spec, or for good with
//! `permanent`; else it logs a line and gives the process, the attempt, what the steps share, and a text that is hard to carry.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use conveyor::RemoteDriver;
use conveyor::config::Config;
use conveyor::driver::{Failure, Request};
use conveyor::model::DriverResult;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let option = |name: &str| std::env::args().skip_while(|argument| argument != name).nth(1);
    let path = |name: &str| option(name).map(PathBuf::from);
    let mut config = Config::default();
    if let Ok(text) = std::env::var("CONVEYOR_REMOTE__ACK_WAIT_MS") {
        config.remote.ack_wait_ms = text.parse()?;
    }
    let access = conveyor::bus::Access {
        credentials: path("--credentials"),
        ca: path("--ca"),
        certificate: path("--certificate").zip(path("--key")),
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let driver = RemoteDriver::function(option("--name").as_deref().unwrap_or("far"), &["app"], reconcile);
    let driver = driver.nats(option("--nats").ok_or("--nats is missing")?).access(access).config(config);
    let mut driver = driver.start().await?;
    tokio::select! {
        () = driver.ready() => {
            writeln!(std::io::stdout(), "driver far is ready")?;
            terminate.recv().await;
        }
        _ = terminate.recv() => {}
    }
    driver.stop().await;
    Ok(())
}

async fn reconcile(request: Request) -> Result<DriverResult, Failure> {
    let spec = &request.resource.spec;
    let file = PathBuf::from(std::env::var_os("NOTES").unwrap_or_default()).join(&request.resource.name);
    note(&file, "begun");
    let broken_off = BrokenOff(file.clone());
    while spec.get("hold").is_some() && !file.with_extension("go").exists() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::mem::forget(broken_off);
    if let Some(text) = spec["permanent"].as_str() {
        return Err(Failure::Permanent(text.to_owned()));
    }
    if let Some(text) = spec["fail"].as_str() {
        return Ok(DriverResult::failure(text));
    }
    request.log.info(format!("{} of {}", request.event, request.resource.name)).await;
    let team = request.context.metadata.get("team");
    let before = request.context.results.get("before").map(|result| &result.data);
    let data = json!({
        "process": std::process::id(), "attempt": request.attempt, "team": team, "before": before, "text": "<é>",
    });
    Ok(DriverResult::success("done").with_data(data))
}

/// Dropped when the call is broken off.
struct BrokenOff(PathBuf);

impl Drop for BrokenOff {
    fn drop(&mut self) {
        note(&self.0, "broken off");
    }
}

fn note(file: &PathBuf, what: &str) {
    let noted = OpenOptions::new().create(true).append(true).open(file).and_then(|mut file| writeln!(file, "{what}"));
    if let Err(error) = noted {
        tracing::error!(%error, "{} takes no note", file.display());
    }
}
