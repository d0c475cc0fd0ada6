//! What the driver does. It knows nothing of how it is called.

use conveyor_driver::{DriverResult, Failure, Request, info, json};
use serde::Deserialize;

/// The fields of the spec that this driver reads.
#[derive(Debug, Deserialize)]
pub struct Spec {
    /// Who is greeted.
    pub who: String,
}

/// Acts on the resource once.
pub fn reconcile(request: Request<Spec>) -> Result<DriverResult, Failure> {
    info!("{} of {}", request.event, request.resource.name);
    let who = request.resource.spec.who;
    if who.is_empty() {
        return Err(Failure::permanent("nobody is to be greeted"));
    }
    let greeting = format!("Hello, {who}!");
    Ok(DriverResult::success(greeting.clone()).with_data(json!({ "greeting": greeting })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greet(who: &str) -> Result<DriverResult, Failure> {
        let request = json!({ "event": "create", "resource": { "name": "one", "spec": { "who": who } } });
        reconcile(serde_json::from_value(request).unwrap())
    }

    #[test]
    fn it_greets() {
        assert_eq!(greet("belt").unwrap().message, "Hello, belt!");
    }

    #[test]
    fn it_greets_nobody_without_a_name() {
        assert!(matches!(greet(""), Err(Failure::Permanent(_))));
    }
}
