//! No request of a guest reaches an address that is not of the open internet, however it is written, unless its range was
//! granted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use conveyor::driver::component::SystemResolver;
use conveyor::model::is_global;
use serde_json::{Value, json};

use super::peers::Peer;
use super::{Field, Names, loopback, rule};

/// Authorities behind which this machine, its network or a cloud's metadata service is, or would be for a careless
/// reader. `PORT` stands for the port of a server that is really there.
const AUTHORITIES: &[&str] = &[
    // IPv4 in every notation.
    "127.0.0.1:PORT",
    "127.1:PORT",
    "127.0.1:PORT",
    "127.000.000.001:PORT",
    "0177.0.0.1:PORT",
    "0177.0.0.01:PORT",
    "0x7f.0.0.1:PORT",
    "0x7f.1:PORT",
    "0x7f000001:PORT",
    "0X7F000001:PORT",
    "2130706433:PORT",
    "017700000001:PORT",
    "127.0.0.1.:PORT",
    "127.0.0.2:PORT",
    "127.255.255.254:PORT",
    "0.0.0.0:PORT",
    "0:PORT",
    "0.0.0.1:PORT",
    "00:PORT",
    "%31%32%37.0.0.1:PORT",
    "127%2e0.0.1:PORT",
    "①②⑦.⓪.⓪.①:PORT",
    "127。0。0。1:PORT",
    // Private, shared, benchmarking, reserved, documentation, multicast, broadcast.
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.1.1:8080",
    "100.64.0.1",
    "100.127.255.255",
    "198.18.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "192.88.99.1",
    "224.0.0.1",
    "239.255.255.250:1900",
    "240.0.0.1",
    "255.255.255.255",
    // Link-local, and the metadata services there.
    "169.254.169.254",
    "169.254.169.254:80",
    "169.254.170.2",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "169.254.43518",
    "metadata.google.internal",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fe80::a9fe:a9fe]",
    // IPv6: loopback, mapped, compatible, NAT64, 6to4, Teredo, unique local, site-local, multicast, discard, documentation.
    "[::1]:PORT",
    "[0:0:0:0:0:0:0:1]:PORT",
    "[::]:PORT",
    "[::ffff:127.0.0.1]:PORT",
    "[::ffff:7f00:1]:PORT",
    "[0:0:0:0:0:ffff:127.0.0.1]:PORT",
    "[::ffff:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::127.0.0.1]:PORT",
    "[::7f00:1]",
    "[64:ff9b::7f00:1]:PORT",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::a00:1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:7f00:1::1]",
    "[2001:10::1]",
    "[2001:20::1]",
    "[fc00::1]",
    "[fd12:3456:789a::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[100::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[5f00::1]",
    "::1",
    "[::1",
    // Names that lead there.
    "localhost:PORT",
    "LOCALHOST:PORT",
    "localhost.:PORT",
    "loopback.example",
    "private.example",
    "mixed.example",
    "127.0.0.1.nip.example:PORT",
    "mapped.example",
    "nat64.example",
    // User information and other tricks with the border between name, port and path.
    "example.org@127.0.0.1:PORT",
    "example.org:80@127.0.0.1:PORT",
    "127.0.0.1:PORT@example.org",
    "user:pass@localhost:PORT",
    "127.0.0.1:PORT#example.org",
    "127.0.0.1:PORT?@example.org",
    "127.0.0.1:PORT/@example.org",
    "127.0.0.1\\@example.org",
    "127.0.0.1 :PORT",
    "127.0.0.1:",
    "127.0.0.1:0",
    "127.0.0.1:65536",
    "127.0.0.1:080",
    "127.0.0.1:+80",
    "127.0.0.1:8a",
    "[127.0.0.1]:PORT",
    "localhost\t:PORT",
    "localhost%00.example.org:PORT",
    "",
];

/// Where the names of the table lead.
fn names() -> Arc<Names> {
    let names = Names::default();
    for (name, addresses) in [
        ("localhost", &["127.0.0.1", "::1"][..]),
        ("metadata.google.internal", &["169.254.169.254"]),
        ("loopback.example", &["127.0.0.1"]),
        ("private.example", &["10.0.0.1"]),
        ("mixed.example", &["10.0.0.1", "::1", "fe80::1"]),
        ("127.0.0.1.nip.example", &["127.0.0.1"]),
        ("mapped.example", &["::ffff:127.0.0.1"]),
        ("nat64.example", &["64:ff9b::7f00:1"]),
    ] {
        names.answer(name, addresses);
    }
    Arc::new(names)
}

/// What a guest is told when it may not; everything else would mean that something was tried.
const REFUSED: &[&str] =
    &["HttpRequestDenied", "DestinationIpProhibited", "HttpRequestUriInvalid", "the authority is refused"];

async fn outcomes(grant: Value) -> BTreeMap<String, String> {
    let peer = Peer::start().await;
    let names = names();
    let field = Field::resolving(|_| {}, names.clone(), names).await;
    field.grant(grant);
    let port = peer.address.port().to_string();
    let act = |authority: &&str| json!({ "act": "http", "authority": authority.replace("PORT", &port) });
    let told = field.acts(AUTHORITIES.iter().map(act).collect()).await.told();
    assert_eq!(peer.met.load(Ordering::SeqCst), 0, "a request reached the server");
    let errors = told.iter().map(|told| told["error"].as_str().map_or_else(|| told.to_string(), str::to_owned));
    AUTHORITIES.iter().map(|authority| (*authority).to_owned()).zip(errors).collect()
}

#[tokio::test]
async fn without_a_grant_no_address_is_reached() {
    assert!(AUTHORITIES.len() >= 60, "{} addresses", AUTHORITIES.len());
    for (authority, error) in outcomes(json!({})).await {
        assert!(REFUSED.iter().any(|refused| error.contains(refused)), "{authority}: {error}");
    }
}

/// The grant of every host is not a grant of ranges.
#[tokio::test]
async fn with_every_host_granted_none_that_is_not_of_the_open_internet_is_reached() {
    let everywhere = json!({ "http": [{ "scheme": "any", "host": "*", "port": "any", "methods": ["any"] }] });
    let outcomes = outcomes(everywhere).await;
    for (authority, error) in &outcomes {
        assert!(REFUSED.iter().any(|refused| error.contains(refused)), "{authority}: {error}");
    }
    // They were refused for what they are, not because the guest or the test was in the way.
    for (authority, expected) in [
        ("127.0.0.1:PORT", "DestinationIpProhibited"),
        ("[::ffff:7f00:1]:PORT", "DestinationIpProhibited"),
        ("[64:ff9b::7f00:1]:PORT", "DestinationIpProhibited"),
        ("mixed.example", "DestinationIpProhibited"),
        ("0x7f.1:PORT", "HttpRequestUriInvalid"),
        ("2130706433:PORT", "HttpRequestUriInvalid"),
    ] {
        assert!(outcomes[authority].contains(expected), "{authority}: {}", outcomes[authority]);
    }
}

/// The same with the resolver of the system, which knows one of these names on every machine.
#[tokio::test]
async fn localhost_as_the_system_resolves_it_is_not_reached() {
    let peer = Peer::start().await;
    let field = Field::resolving(|_| {}, Arc::new(SystemResolver), Arc::default()).await;
    field.grant(json!({ "http": [{ "scheme": "http", "host": "*", "port": "any" }] }));
    let authority = format!("localhost:{}", peer.address.port());
    let error = field.acts(json!([{ "act": "http", "authority": authority }])).await.error();
    assert!(error.contains("DestinationIpProhibited"), "{error}");
    assert_eq!(peer.met.load(Ordering::SeqCst), 0);
}

/// What a name server says is asked for once and checked, and what was checked is what is connected to.
#[tokio::test]
async fn a_name_that_is_bound_anew_leads_nowhere_else() {
    let peer = Peer::start().await;
    let field = Field::new(loopback).await;
    let mut granted = rule(peer.address);
    granted["host"] = "rebound.example".into();
    field.grant(json!({ "http": [granted] }));
    // First good, then an address whose range nobody granted; and once both at a time.
    for addresses in [&["127.0.0.1"][..], &["10.0.0.1"], &["10.0.0.1", "169.254.169.254", "127.0.0.1"], &["10.0.0.1"]] {
        field.names.answer("rebound.example", addresses);
    }
    let one = json!({ "act": "http", "authority": format!("rebound.example:{}", peer.address.port()) });
    let told = field.acts(json!([one, one, one])).await.told();
    assert_eq!(told[0]["status"], 200, "{told:?}");
    assert!(told[1]["error"].as_str().unwrap().contains("DestinationIpProhibited"), "{told:?}");
    assert_eq!(told[2]["status"], 200, "{told:?}");
    assert_eq!(field.names.asked().len(), 3, "a name is resolved once for each request");
    assert_eq!(peer.met.load(Ordering::SeqCst), 2);
}

#[test]
fn the_table_of_ranges_knows_what_is_of_the_open_internet() {
    for global in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "2001:200::1",
        "::ffff:8.8.8.8",
        "3ffe::1",
    ] {
        assert!(is_global(global.parse::<IpAddr>().unwrap()), "{global}");
    }
    for other in
        ["2001:1ff::1", "3fff:fff::1", "4000::1", "1fff::1", "::8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
    {
        assert!(!is_global(other.parse::<IpAddr>().unwrap()), "{other}");
    }
}
