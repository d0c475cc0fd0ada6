//! Remote drivers and a NATS that asks who they are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use conveyor::RemoteDriver;
use conveyor::bus::Access;
use conveyor::driver::Request;
use conveyor::model::DriverResult;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::languages::{Far, Language};
use super::quick;
use crate::support::guest;
use crate::support::nats::NatsServer;
use crate::support::server::{PATIENCE, Server};

/// An authority, a certificate for servers on this machine and one for a client, as PEM files.
struct Papers {
    folder: tempfile::TempDir,
}

impl Papers {
    fn new() -> Self {
        let papers = Self { folder: tempfile::tempdir().unwrap() };
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // With the name of the others, OpenSSL would take those for certificates that sign themselves.
        params.distinguished_name.push(DnType::CommonName, "the authority of a test");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        papers.write("ca.pem", &ca.pem());
        for name in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
            papers.write(&format!("{name}.pem"), &params.signed_by(&key, &ca).unwrap().pem());
            papers.write(&format!("{name}.key"), &key.serialize_pem());
        }
        papers
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The settings of a NATS server that shows its certificate.
    fn tls(&self, more: &str) -> String {
        let file = |name: &str| Path::new(&self.path(name)).display().to_string();
        let (certificate, key, ca) = (file("server.pem"), file("server.key"), file("ca.pem"));
        format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\", ca_file: \"{ca}\"{more} }}\n")
    }

    fn access(&self) -> Access {
        Access { ca: Some(self.path("ca.pem")), ..Access::default() }
    }
}

/// All that a remote driver needs: its own consumer, results, log lines, its own cancellations.
const USERS: &str = r#"
authorization { users: [
  { user: server, password: s }
  { user: ship, password: d, permissions: {
      publish: ["$JS.API.CONSUMER.DURABLE.CREATE.messages.ship", "$JS.API.CONSUMER.CREATE.messages.ship",
                "$JS.API.CONSUMER.MSG.NEXT.messages.ship", "$JS.ACK.messages.ship.>", "pipelines.driver.result",
                "logs.*", "live.logs.*.ship"]
      subscribe: ["_INBOX.>", "control.cancel.ship"] } }
] }
"#;

#[tokio::test]
async fn a_driver_that_may_do_nothing_but_its_work_does_it_over_tls() {
    let papers = Papers::new();
    let nats = NatsServer::configured(&format!("{}{USERS}", papers.tls("")));
    let address = |user: &str| nats.url().replace("nats://", &format!("tls://{user}@"));
    let ca = papers.path("ca.pem");
    let server = Server::with(&["--nats", &address("server:s")], &[("SSL_CERT_FILE", ca.to_str().unwrap())]);
    server.define("app").await;
    server.pipeline("belt", &[("only", "ship")]).await;
    let ship = RemoteDriver::function("ship", &["app"], |request: Request| async move {
        request.log.info("secretly").await;
        Ok(DriverResult::success("shipped"))
    });
    let ship = ship.nats(address("ship:d")).access(papers.access()).config(quick()).start().await.unwrap();
    let id = server.submit("one", Some("belt")).await;
    server.succeeded(&id).await;
    let lines = server.logged(&id, "driver=ship", 1).await;
    assert_eq!(lines[0]["message"], "secretly");
    ship.stop().await;
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_lets_in_whoever_has_one() {
    let papers = Papers::new();
    let nats = NatsServer::configured(&papers.tls(", verify: true"));
    let own = Some((papers.path("client.pem"), papers.path("client.key")));
    for (access, comes_in) in [(Access { certificate: own, ..papers.access() }, true), (papers.access(), false)] {
        let driver = RemoteDriver::function("ship", &["app"], |_| async { Ok(DriverResult::success("")) });
        let mut driver = driver.nats(nats.url()).access(access).start().await.unwrap();
        let patience = if comes_in { PATIENCE } else { Duration::from_millis(500) };
        assert_eq!(tokio::time::timeout(patience, driver.ready()).await.is_ok(), comes_in);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_every_language_a_driver_does_its_work_with_these_rights_alone() {
    let papers = Papers::new();
    let nats = NatsServer::configured(&format!("{}{}", papers.tls(""), USERS.replace("ship", "far")));
    let address = |user: &str| nats.url().replace("nats://", &format!("tls://{user}@"));
    let ca = papers.path("ca.pem").display().to_string();
    let server = Server::with(&["--nats", &address("server:s")], &[("SSL_CERT_FILE", &ca)]);
    server.define("app").await;
    server.upload("before", guest::ok()).await;
    server.pipeline("belt", &[("before", "before"), ("far", "far")]).await;
    let notes = tempfile::tempdir().unwrap();
    for language in Language::ALL {
        let _far = Far::start(language, notes.path(), &["--nats", &address("far:d"), "--ca", &ca]);
        let name = format!("{language:?}").to_lowercase();
        let id = server.submit(&name, Some("belt")).await;
        server.succeeded(&id).await;
        assert_eq!(server.logged(&id, "driver=far", 1).await[0]["message"], format!("create of {name}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_every_language_a_driver_shows_its_certificate() {
    let papers = Papers::new();
    let nats = NatsServer::configured(&papers.tls(", verify: true"));
    let [ca, certificate, key] =
        ["ca.pem", "client.pem", "client.key"].map(|name| papers.path(name).display().to_string());
    let client = async_nats::ConnectOptions::new();
    let client = client.add_root_certificates(ca.clone().into());
    let client = client.add_client_certificate(certificate.clone().into(), key.clone().into());
    let context = async_nats::jetstream::new(client.connect(nats.url()).await.unwrap());
    let stream = async_nats::jetstream::stream::Config {
        name: "messages".to_owned(),
        subjects: vec!["resources.>".to_owned(), "drivers.>".to_owned()],
        ..Default::default()
    };
    context.create_stream(stream).await.unwrap();
    for language in Language::ALL {
        let shown = ["--nats", &nats.url(), "--ca", &ca, "--certificate", &certificate, "--key", &key];
        drop(Far::start(language, papers.folder.path(), &shown));
    }
}
