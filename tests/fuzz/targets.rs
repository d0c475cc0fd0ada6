//! What is fuzzed. Each target takes any bytes and must neither panic nor break what it asserts. libFuzzer drives them
//! through the files in `fuzz_targets`, and the tests of `tests/suite/fuzz` with the corpus and seeded changes of it.

use std::sync::Arc;

use conveyor::driver::component::inspect;
use conveyor::model::{
    CancelSignal, Destination, Driver, DriverMessage, DriverReport, Effective, Expression, Grant, Host, HttpGrant,
    LogLine, Pipeline, PipelineEvent, Resource, ResourceDefinition, Scope, SharedContext, Uses, is_global,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A target, by its name.
pub type Target = fn(&[u8]);

/// All targets.
pub const ALL: [(&str, Target); 5] = [
    ("admission", admission),
    ("grant", grant),
    ("egress", egress),
    ("messages", messages),
    ("expressions", expressions),
];

/// Any bytes as an upload.
pub fn admission(bytes: &[u8]) {
    match inspect(bytes) {
        Ok(inspection) => assert_eq!(inspection.size, bytes.len() as u64),
        Err(refused) => assert!(!refused.to_string().is_empty()),
    }
}

/// Any JSON as a grant, and what it lets through.
pub fn grant(bytes: &[u8]) {
    let Ok(grant) = serde_json::from_slice::<Grant>(bytes) else { return };
    let text = serde_json::to_string(&grant).unwrap();
    assert_eq!(serde_json::from_str::<Grant>(&text).unwrap(), grant, "a grant is not what it was written as");
    let valid = grant.validate("grant").is_ok();
    let everything = Grant { http: vec![HttpGrant::everywhere()], ..grant.clone() };
    let effective = |driver: &Grant, step: Option<Grant>| Effective {
        maximum: Arc::new(everything.clone()),
        driver: Arc::new(driver.clone()),
        step,
    };
    let whole = effective(&grant, None);
    for url in
        ["https://api.example.org/v1/x", "http://10.0.0.1:8080/", "https://[fd00::1]/a/../b", "http://a.b:1/%2e%2e"]
    {
        let Some(destination) = read("GET", url) else { continue };
        let decided = whole.http(&destination);
        assert_eq!(decided.is_ok(), effective(&grant, Some(grant.clone())).http(&destination).is_ok(), "{url}");
        assert!(
            effective(&grant, Some(Grant::default())).http(&destination).is_err(),
            "a step without grants sends to {url}"
        );
        assert!(
            effective(&Grant::default(), None).http(&destination).is_err(),
            "a driver without grants sends to {url}"
        );
        match decided {
            // The maximum names no ranges, so nothing beyond the open internet can be allowed.
            Ok(permit) => {
                assert!(!permit.allows("10.0.0.1".parse().unwrap()) && permit.allows("1.1.1.1".parse().unwrap()));
            }
            Err(refusal) => {
                let mut cured = grant.clone();
                cured.http.push(serde_json::from_str(&refusal.line).unwrap());
                assert!(effective(&cured, None).http(&destination).is_ok() || url.contains("..") || url.contains('%'));
            }
        }
    }
    let (folders, env, secrets) = (whole.folders(), whole.env(), whole.secrets());
    assert!(!valid || (folders.len() <= 64 && env.len() <= 128 && secrets.len() <= 64));
}

/// Any text as a URL: what is let through is read by others in the same way.
pub fn egress(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(destination) = read("GET", text) else { return };
    let host = destination.host.to_string();
    assert_eq!(host.parse::<Host>().unwrap(), destination.host, "{host} is another host when read again");
    // A browser or any other program that follows the standard for URLs goes to the same place.
    if let Ok(other) = url::Url::parse(text) {
        let theirs = other.host_str().unwrap_or_default().parse::<Host>();
        assert_eq!(theirs.ok(), Some(destination.host.clone()), "{text}");
        assert_eq!(other.port_or_known_default(), Some(destination.port), "{text}");
        assert_eq!(other.username(), "", "{text}");
    }
    let everywhere = Grant { http: vec![HttpGrant::everywhere()], ..Grant::default() };
    let all = Effective { maximum: Arc::new(everywhere.clone()), driver: Arc::new(everywhere), step: None };
    let permit = all.http(&destination).expect("the rule for everything covers everything");
    if let Host::Address(address) = destination.host {
        assert_eq!(permit.allows(address), is_global(address), "{text}");
    }
    assert!(Effective::default().http(&destination).is_err(), "{text} passes without a grant");
}

/// Reads a URL as the host reads the request of a guest.
fn read(method: &str, text: &str) -> Option<Destination> {
    let uri = text.parse::<http::Uri>().ok()?;
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    Destination::read(method, uri.scheme_str().unwrap_or_default(), authority, uri.path()).ok()
}

/// Any JSON as each message and record that we decode.
pub fn messages(bytes: &[u8]) {
    again::<DriverMessage>(bytes);
    if let Some(event) = again::<PipelineEvent>(bytes) {
        // Who reports what is told, or what is missing.
        drop(DriverReport::read(event));
    }
    again::<CancelSignal>(bytes);
    again::<LogLine>(bytes);
    if let Some(resource) = again::<Resource>(bytes) {
        drop(resource.validate());
    }
    if let Some(pipeline) = again::<Pipeline>(bytes) {
        let pipeline = pipeline.with_step_ids();
        if pipeline.validate().is_ok() {
            assert_eq!(pipeline.needs().len(), pipeline.steps.len());
        }
    }
    again::<ResourceDefinition>(bytes);
    again::<SharedContext>(bytes);
    again::<Driver>(bytes);
    if let Some(uses) = again::<Uses>(bytes) {
        let least = uses.least_grant(&Grant::default(), true);
        assert!(least.http.len() <= uses.uses.len());
    }
}

/// What was read, if it is one of these; what it is written as is read again, and then written in the same way.
fn again<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Option<T> {
    let value = serde_json::from_slice::<T>(bytes).ok()?;
    let text = serde_json::to_string(&value).unwrap();
    let again = serde_json::from_str::<T>(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
    Some(value)
}

/// Any text as a condition.
pub fn expressions(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(expression) = Expression::compile(text) else { return };
    let resource = Resource::new("app", "shop", serde_json::json!({ "size": 3, "tags": ["a", "b"] }));
    let shared = SharedContext::default();
    let scope = Scope { resource: &resource, event: "create", shared: &shared };
    // It holds, or it does not, or it has no value; it does not end the process.
    drop(expression.holds(&scope));
    drop(expression.steps());
}
