//! Exit codes and what is told beside them.

use std::io;

use conveyor::cli::client::Client;
use conveyor::cli::{Error, Exit};
use serde_json::{Value, json};

#[test]
fn every_status_has_its_exit_code() {
    for (status, exit) in [
        (200, 0),
        (201, 0),
        (204, 0),
        (400, 5),
        (401, 1),
        (404, 3),
        (409, 5),
        (413, 5),
        (415, 5),
        (422, 5),
        (429, 1),
        (500, 1),
        (502, 7),
        (503, 7),
        (504, 7),
    ] {
        assert_eq!(Exit::of_status(status).code(), exit, "{status}");
    }
}

fn refused(status: u16, code: &str, details: Value) -> Error {
    Error::Refused { status, code: code.to_owned(), text: "no".to_owned(), details }
}

#[test]
fn every_error_has_its_exit_code() {
    let unreachable = || Error::Unreachable { server: "http://x".to_owned(), why: "refused".to_owned() };
    let apply =
        |source: Error| Error::Apply { document: "pipeline p".to_owned(), done: 1, total: 3, source: source.into() };
    for (error, exit) in [
        (unreachable(), Exit::Unreachable),
        (refused(404, "", Value::Null), Exit::NotFound),
        (refused(409, "resource_exists", Value::Null), Exit::Conflict),
        (apply(refused(409, "", Value::Null)), Exit::Error),
        (apply(unreachable()), Exit::Unreachable),
        (Error::Output(io::ErrorKind::BrokenPipe.into()), Exit::Ok),
        (Error::Output(io::ErrorKind::StorageFull.into()), Exit::Error),
    ] {
        assert_eq!(error.exit(), exit, "{error:?}");
    }
}

#[test]
fn errors_say_why_and_how_to_fix_it() {
    let error = refused(409, "in_use", json!({"by": "ship"}));
    assert_eq!(error.why().as_deref(), Some("the server answered 409 with code in_use: {\"by\":\"ship\"}"));
    let gone = Error::Unreachable { server: "http://x".to_owned(), why: "refused".to_owned() };
    assert!(gone.fix().is_some_and(|fix| fix.contains("conveyor up")));
    assert!(gone.is_transient() && !error.is_transient());
}

#[test]
fn an_address_that_cannot_be_a_server_is_a_usage_error() {
    for address in ["", "127.0.0.1:8080", "https://127.0.0.1", "ftp://x"] {
        assert_eq!(Client::new(address).map(|_| ()).unwrap_err().exit(), Exit::Usage, "{address}");
    }
    assert!(Client::new("http://[::1]:8080/").is_ok());
}

#[tokio::test]
async fn a_closed_port_is_unreachable() -> io::Result<()> {
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let client = Client::new(&format!("http://{address}")).unwrap();
    let error = client.run("x").await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unreachable, "{error:?}");
    assert!(error.why().is_some_and(|why| why.contains("refused")), "{error:?}");
    Ok(())
}
