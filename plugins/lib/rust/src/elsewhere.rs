//! The border between a driver that runs elsewhere and `conveyor driver exec`.

use std::process::ExitCode;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{DriverResult, Failure, Request};

/// Acts on the request on standard input. The last line on standard output is the result.
pub fn exec<Spec: DeserializeOwned>(reconcile: fn(Request<Spec>) -> Result<DriverResult, Failure>) -> ExitCode {
    let request = match serde_json::from_reader(std::io::stdin()) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("the request cannot be read: {error}");
            return ExitCode::from(2);
        }
    };
    match reconcile(request) {
        Ok(result) => {
            println!("{}", line(&result));
            if result.success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => {
            println!("{}", line_of(&failure));
            ExitCode::FAILURE
        }
    }
}

/// The data with the message in it.
fn line(result: &DriverResult) -> Value {
    let mut line = match &result.data {
        Value::Object(data) => Value::Object(data.clone()),
        Value::Null => json!({}),
        other => json!({ "data": other }),
    };
    line["message"] = result.message.clone().into();
    line
}

/// Whether another try may help is told as remote drivers of all languages tell it.
fn line_of(failure: &Failure) -> Value {
    let kind = match failure {
        Failure::Retryable(_) => "retryable",
        Failure::Permanent(_) => "permanent",
    };
    json!({ "message": failure.to_string(), "failure": kind })
}
