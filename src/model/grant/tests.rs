//! Tables: what a host and a destination are, what a rule covers, and what three grants let through.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

fn grant(value: Value) -> Grant {
    serde_json::from_value(value).unwrap()
}

fn effective(maximum: Value, driver: Value, step: Option<Value>) -> Effective {
    Effective { maximum: Arc::new(grant(maximum)), driver: Arc::new(grant(driver)), step: step.map(grant) }
}

fn to(method: &str, url: &str) -> Destination {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    Destination::read(method, scheme, authority, path).unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[test]
fn a_destination_is_read_in_one_way_only() {
    assert_eq!(to("GET", "https://API.Example.org.:443/a?b#c").to_string(), "GET https://api.example.org/a");
    assert_eq!(to("GET", "http://[::FFFF:1.2.3.4]:81").to_string(), "GET http://[::ffff:1.2.3.4]:81/");
    for authority in [
        "",
        "a b",
        "1.2.3",
        "1.2.3.4.5",
        "0x1",
        "a.0x1f",
        "01.2.3.4",
        "256.1.1.1",
        "-a.b",
        "a..b",
        "a@b",
        "é.b",
        "[::1",
        "::1",
        "[1.2.3.4]",
        "[::1%1]",
        "a:",
        "a:0",
        "a:65536",
        "a:08",
        "a:+1",
        "%61",
        "a/b",
        "a\\b",
    ] {
        assert!(Destination::read("GET", "https", authority, "/").is_err(), "\"{authority}\"");
    }
    for (method, scheme, path) in
        [("CONNECT", "https", "/"), ("get", "https", "/"), ("GET", "ftp", "/"), ("GET", "https", "a")]
    {
        assert!(Destination::read(method, scheme, "a.b", path).is_err(), "{method} {scheme} {path}");
    }
}

#[test]
fn a_rule_covers_what_it_says_and_no_more() {
    for (rule, method, url, covered) in [
        (json!({ "host": "a.org" }), "GET", "https://a.org/x", true),
        (json!({ "host": "a.org" }), "HEAD", "https://a.org/x", true),
        (json!({ "host": "a.org" }), "POST", "https://a.org/x", false),
        (json!({ "host": "a.org" }), "GET", "http://a.org/x", false),
        (json!({ "host": "a.org" }), "GET", "https://a.org:8443/x", false),
        (json!({ "host": "a.org", "port": 8443 }), "GET", "https://a.org:8443/x", true),
        (json!({ "host": "a.org", "port": 8443 }), "GET", "https://a.org/x", false),
        (json!({ "host": "a.org", "scheme": "any" }), "GET", "http://a.org/x", true),
        (json!({ "host": "a.org", "scheme": "any" }), "GET", "http://a.org:443/x", false),
        (json!({ "host": "a.org", "port": "any" }), "GET", "https://a.org:1/x", true),
        (json!({ "host": "a.org", "methods": ["any"] }), "DELETE", "https://a.org/x", true),
        (json!({ "host": "A.org." }), "GET", "https://a.ORG/x", true),
        (json!({ "host": "*.a.org" }), "GET", "https://b.a.org/x", true),
        (json!({ "host": "*.a.org" }), "GET", "https://c.b.a.org/x", true),
        (json!({ "host": "*.a.org" }), "GET", "https://a.org/x", false),
        (json!({ "host": "*.a.org" }), "GET", "https://ba.org/x", false),
        (json!({ "host": "*.a.org" }), "GET", "https://a.org.evil.net/x", false),
        (json!({ "host": "*" }), "GET", "https://1.2.3.4/x", true),
        (json!({ "host": "1.2.3.4" }), "GET", "https://1.2.3.4/x", true),
        (json!({ "host": "[2001:db8::1]" }), "GET", "https://[2001:db8:0::1]/x", true),
        (json!({ "host": "a.org", "path": "/api" }), "GET", "https://a.org/api", true),
        (json!({ "host": "a.org", "path": "/api" }), "GET", "https://a.org/api/v1?q", true),
        (json!({ "host": "a.org", "path": "/api" }), "GET", "https://a.org/apis", false),
        (json!({ "host": "a.org", "path": "/api/" }), "GET", "https://a.org/api", false),
        (json!({ "host": "a.org", "path": "/api" }), "GET", "https://a.org/api/../x", false),
        (json!({ "host": "a.org", "path": "/api" }), "GET", "https://a.org/api/%2e%2E/x", false),
        (json!({ "host": "a.org", "path": "/api" }), "GET", "https://a.org/api/..%2fx", false),
        (json!({ "host": "a.org", "path": "/api" }), "GET", "https://a.org/api/..;/x", false),
        (json!({ "host": "a.org", "path": "/api" }), "GET", "https://a.org/api/%252e%252e/x", false),
        (json!({ "host": "a.org", "path": "/api" }), "GET", "https://a.org/api\\..\\x", false),
    ] {
        let parsed: HttpGrant = serde_json::from_value(rule.clone()).unwrap();
        assert_eq!(parsed.covers(&to(method, url)), covered, "{rule} {method} {url}");
    }
}

#[test]
fn a_request_passes_if_all_three_grants_let_it() {
    let all = json!({ "http": [{ "scheme": "any", "host": "*", "port": "any", "methods": ["any"] }] });
    let one = json!({ "http": [{ "host": "a.org" }] });
    let other = json!({ "http": [{ "host": "b.org" }] });
    for (maximum, driver, step, lacking) in [
        (&all, &one, None, None),
        (&all, &all, None, None),
        (&all, &all, Some(&one), None),
        (&one, &all, Some(&all), None),
        (&json!({}), &all, None, Some(GrantLevel::Maximum)),
        (&all, &json!({}), None, Some(GrantLevel::Driver)),
        (&all, &one, Some(&json!({})), Some(GrantLevel::Step)),
        (&other, &one, Some(&one), Some(GrantLevel::Maximum)),
        (&all, &other, Some(&one), Some(GrantLevel::Driver)),
        (&all, &one, Some(&other), Some(GrantLevel::Step)),
    ] {
        let decided = effective(maximum.clone(), driver.clone(), step.cloned()).http(&to("GET", "https://a.org/x"));
        assert_eq!(decided.err().map(|refusal| refusal.level), lacking, "{maximum} {driver} {step:?}");
    }
}

#[test]
fn an_address_passes_if_it_is_everybodys_or_all_three_grants_name_its_range() {
    let with = |ranges: Value| json!({ "http": [{ "host": "*", "addresses": ranges }] });
    let without = || json!({ "http": [{ "host": "*" }] });
    for (maximum, driver, step, address, allowed) in [
        (without(), without(), None, "1.1.1.1", true),
        (without(), without(), None, "10.0.0.1", false),
        (without(), with(json!(["10.0.0.0/8"])), None, "10.0.0.1", false),
        (with(json!(["10.0.0.0/8"])), without(), None, "10.0.0.1", false),
        (with(json!(["10.0.0.0/8"])), with(json!(["10.0.0.0/16"])), None, "10.0.0.1", true),
        (with(json!(["10.0.0.0/8"])), with(json!(["10.0.0.0/16"])), None, "10.1.0.1", false),
        (with(json!(["10.0.0.0/8"])), with(json!(["10.0.0.0/8"])), None, "::ffff:10.0.0.1", true),
        // A step that names no ranges leaves those of its driver; one that names some narrows them.
        (with(json!(["10.0.0.0/8"])), with(json!(["10.0.0.0/8"])), Some(without()), "10.0.0.1", true),
        (
            with(json!(["10.0.0.0/8"])),
            with(json!(["10.0.0.0/8"])),
            Some(with(json!(["10.2.0.0/16"]))),
            "10.0.0.1",
            false,
        ),
        (with(json!(["fd00::/8"])), with(json!(["fd00::/8"])), None, "fd00::1", true),
    ] {
        let case = format!("{maximum} {driver} {step:?} {address}");
        let permit = effective(maximum, driver, step).http(&to("GET", "https://a.org/")).unwrap();
        assert_eq!(permit.allows(address.parse::<IpAddr>().unwrap()), allowed, "{case}");
    }
}

#[test]
fn names_are_those_that_all_three_grants_have() {
    let maximum = json!({
        "folders": [{ "name": "scratch", "access": "read-write" }, { "name": "work" }],
        "env": [{ "name": "REGION", "value": "eu" }, { "name": "APP_*" }],
        "secrets": [{ "name": "token" }, { "name": "key", "to": [{ "host": "k.org" }] }],
    });
    let driver = json!({
        "folders": [{ "name": "scratch", "access": "read-write" }, { "name": "work", "access": "read-write" }, { "name": "gone" }],
        "env": [{ "name": "REGION" }, { "name": "APP_MODE", "value": "fast" }, { "name": "PATH", "value": "/" }],
        "secrets": [{ "name": "token", "to": [{ "host": "*.a.org" }] }, { "name": "key", "env": "KEY_1", "to": [{ "host": "*" }] }],
    });
    let all = effective(maximum.clone(), driver.clone(), None);
    let folders: Vec<(String, Access)> = all.folders().into_iter().map(|folder| (folder.name, folder.access)).collect();
    assert_eq!(folders, [("scratch".to_owned(), Access::ReadWrite), ("work".to_owned(), Access::Read)]);
    assert_eq!(all.env(), [("REGION".to_owned(), "eu".to_owned()), ("APP_MODE".to_owned(), "fast".to_owned())]);
    let variables: Vec<String> = all.secrets().into_iter().map(|secret| secret.variable).collect();
    assert_eq!(variables, ["TOKEN", "KEY_1"]);
    for (secret, url, level) in [
        ("token", "https://x.a.org/", None),
        ("token", "https://b.org/", Some(GrantLevel::Driver)),
        ("key", "https://k.org/", None),
        ("key", "https://a.org/", Some(GrantLevel::Maximum)),
        ("other", "https://a.org/", Some(GrantLevel::Maximum)),
    ] {
        assert_eq!(all.secret(secret, &to("GET", url)).err().map(|refusal| refusal.level), level, "{secret} {url}");
    }
    let step =
        json!({ "folders": [{ "name": "scratch" }], "env": [{ "name": "APP_*" }], "secrets": [{ "name": "token" }] });
    let narrowed = effective(maximum, driver, Some(step));
    assert_eq!(narrowed.folders(), [FolderGrant { name: "scratch".to_owned(), access: Access::Read }]);
    assert_eq!(narrowed.env(), [("APP_MODE".to_owned(), "fast".to_owned())]);
    assert_eq!(narrowed.secrets().len(), 1);
    assert!(narrowed.secret("token", &to("GET", "https://x.a.org/")).is_ok());
    assert!(narrowed.secret("key", &to("GET", "https://k.org/")).is_err());
}

#[test]
fn mistakes_in_a_grant_are_named_by_their_place() {
    for (value, place) in [
        (json!({ "http": [{ "host": "a.org", "methods": ["get"] }] }), "grant.http[0].methods[0]"),
        (json!({ "http": [{ "host": "a.org", "methods": ["CONNECT"] }] }), "grant.http[0].methods[0]"),
        (json!({ "http": [{ "host": "a.org", "methods": [] }] }), "grant.http[0].methods"),
        (json!({ "http": [{ "host": "a.org", "path": "/a/../b" }] }), "grant.http[0].path"),
        (json!({ "http": [{ "host": "a.org", "port": 0 }] }), "grant.http[0].port"),
        (json!({ "folders": [{ "name": "../x" }] }), "grant.folders[0].name"),
        (json!({ "folders": [{ "name": "x" }, { "name": "x" }] }), "grant.folders[1].name"),
        (json!({ "env": [{ "name": "A=B" }] }), "grant.env[0].name"),
        (json!({ "env": [{ "name": "A*", "value": "x" }] }), "grant.env[0].name"),
        (json!({ "secrets": [{ "name": "x" }] }), "grant.secrets[0].to"),
        (json!({ "secrets": [{ "name": "x", "to": [] }] }), "grant.secrets[0].to"),
    ] {
        let error = grant(value.clone()).validate("grant").expect_err(&value.to_string()).to_string();
        assert!(error.starts_with(place), "{value}: {error}");
    }
    for unknown in [
        json!({ "https": [] }),
        json!({ "http": [{ "host": "127.1" }] }),
        json!({ "http": [{ "host": "a", "paht": "/" }] }),
    ] {
        assert!(serde_json::from_value::<Grant>(unknown.clone()).is_err(), "{unknown}");
    }
    assert!(grant(json!({ "env": [{ "name": "A", "value": "x" }] })).validate_step("grant").is_err());
}
