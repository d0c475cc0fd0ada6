//! What became of a program, as a Driver Result.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::lines::Heard;
use crate::model::DriverResult;

/// The JSON object in the result file; none if there is no file.
///
/// # Errors
/// A text that says what is wrong with the file.
pub(super) async fn of_file(file: &Path, most: usize) -> Result<Option<Value>, String> {
    let wrong = |problem: &dyn std::fmt::Display| format!("the result file {}: {problem}", file.display());
    let open = match tokio::fs::File::open(file).await {
        Ok(open) => open,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(&error)),
    };
    let mut text = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    open.take(limit).read_to_end(&mut text).await.map_err(|error| wrong(&error))?;
    if text.len() > most {
        return Err(wrong(&format!("it has more than {most} bytes, which exec.result_bytes allows")));
    }
    match serde_json::from_slice(&text) {
        Ok(object @ Value::Object(_)) => Ok(Some(object)),
        Ok(_) => Err(wrong(&"it is no JSON object")),
        Err(error) => Err(wrong(&format!("it is no JSON: {error}"))),
    }
}

/// The JSON object that the last line is. Another line stays where it is.
pub(super) fn of_line(out: &mut Heard) -> Option<Value> {
    let object: Value = serde_json::from_slice(out.held.as_ref()?).ok().filter(Value::is_object)?;
    out.held = None;
    Some(object)
}

/// The result of a program that ended. A text `message` in its data is the message.
pub(super) fn result(
    program: &str,
    status: ExitStatus,
    data: Result<Option<Value>, String>,
    last_words: &str,
) -> DriverResult {
    let data = match data {
        Ok(data) => data,
        // What the program left cannot be passed on, so that the steps behind would act on nothing.
        Err(problem) => return DriverResult::failure(problem),
    };
    let own = data.as_ref().and_then(|data| data.get("message")).and_then(Value::as_str).map(str::to_owned);
    if status.success() {
        let message = own.unwrap_or_else(|| format!("{program} ended with exit code 0"));
        return DriverResult::success(message).with_data(data.unwrap_or_default());
    }
    let (how, numbers) = match (status.code(), status.signal()) {
        (Some(code), _) => (format!("ended with exit code {code}"), json!({ "exit_code": code })),
        (_, signal) => (format!("was killed by signal {}", signal.unwrap_or_default()), json!({ "signal": signal })),
    };
    let why = own.unwrap_or_else(|| last_words.to_owned());
    let why = if why.is_empty() { why } else { format!(": {why}") };
    DriverResult::failure(format!("{program} {how}{why}")).with_data(data.unwrap_or(numbers))
}
