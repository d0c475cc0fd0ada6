//! The driver `probe`: does what its resource's spec says, act by act, and answers how each came out. It shows what a
//! component can reach and what it cannot, so a refusal is an answer here and no failure.

mod files;
mod requests;

use serde::Deserialize;
use serde_json::{Value, json};

use bindings::exports::conveyor::driver::reconciler::{DriverResult, Failure, Guest, ReconcileRequest};

#[expect(clippy::same_length_and_capacity, reason = "the generated code does this, not ours")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "driver" });
    // The macro names the type by its path from here, so it stands beside the bindings.
    use super::Probe;
    export!(Probe);
}

struct Probe;

#[derive(Deserialize)]
struct Spec {
    acts: Vec<Act>,
}

/// One thing to try. In texts, `${NAME}` stands for an environment variable.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase", tag = "act")]
enum Act {
    /// Send a request.
    Http(requests::Request),
    /// Read a file.
    Read { path: String },
    /// Write a file.
    Write { path: String, text: String },
    /// Write a file of so many MiB.
    Fill { path: String, mebibytes: usize },
    /// Make so many folders, one in the other.
    Nest { path: String, levels: usize },
    /// List a folder.
    List { path: String },
    /// Remove a file.
    Remove { path: String },
    /// Make a symbolic link.
    Link { path: String, target: String },
    /// Tell all environment variables.
    Env,
    /// Write a line to the log.
    Say { text: String },
    /// Answer a text.
    Tell { text: String },
    /// Look at the clocks, and sleep in between.
    Clock,
    /// Draw random numbers, and learn how a hash table of this call is ordered.
    Chance,
}

impl Guest for Probe {
    fn reconcile(request: ReconcileRequest) -> Result<DriverResult, Failure> {
        let spec: Spec =
            serde_json::from_str(&request.target.spec).map_err(|error| Failure::Permanent(error.to_string()))?;
        let outcomes: Vec<Value> =
            spec.acts.iter().map(|act| attempt(act).unwrap_or_else(|error| json!({ "error": error }))).collect();
        let message = format!("tried {} acts", outcomes.len());
        Ok(DriverResult { success: true, message, data: Value::from(outcomes).to_string() })
    }
}

fn attempt(act: &Act) -> Result<Value, String> {
    match act {
        Act::Http(request) => requests::send(request),
        Act::Read { path } => files::read(path),
        Act::Write { path, text } => files::write(path, &filled(text)),
        Act::Fill { path, mebibytes } => files::fill(path, *mebibytes),
        Act::Nest { path, levels } => files::nest(path, *levels),
        Act::List { path } => files::list(path),
        Act::Remove { path } => files::remove(path),
        Act::Link { path, target } => files::link(path, target),
        Act::Env => Ok(json!(std::env::vars().collect::<std::collections::BTreeMap<_, _>>())),
        Act::Say { text } => {
            println!("{}", filled(text));
            Ok(Value::Null)
        }
        Act::Tell { text } => Ok(Value::from(filled(text))),
        Act::Clock => clock(),
        Act::Chance => {
            let order: Vec<u8> = (0..20).collect::<std::collections::HashSet<u8>>().into_iter().collect();
            Ok(json!({ "number": wasip2::random::random::get_random_u64(), "order": order }))
        }
    }
}

fn clock() -> Result<Value, String> {
    let began = std::time::Instant::now();
    std::thread::sleep(std::time::Duration::from_millis(3));
    let slept = began.elapsed();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_err(|error| error.to_string())?;
    Ok(json!({ "now": now.as_nanos().to_string(), "slept": slept.as_nanos().to_string() }))
}

/// The text with the values of the variables that it names.
fn filled(text: &str) -> String {
    std::env::vars().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), &value))
}
