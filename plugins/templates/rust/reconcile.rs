//! What the driver does. It knows nothing of how it is called.

use serde::Deserialize;
use serde_json::{Value, json};

/// What there is to act on. There is more, for a field of its own: `context: Value` has what the steps share, which is
/// `pipeline`, `metadata`, and the `results` of earlier steps by step id.
#[derive(Debug, Deserialize)]
pub struct Request {
    /// `create`, `update` or `delete`.
    pub event: String,
    /// The resource.
    pub resource: Resource,
}

/// The resource.
#[derive(Debug, Deserialize)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// What its definition asks for.
    pub spec: Spec,
}

/// The fields of the spec that this driver reads.
#[derive(Debug, Deserialize)]
pub struct Spec {
    /// Who is greeted.
    pub who: String,
}

/// What the driver says.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// Whether it achieved what it is for.
    pub success: bool,
    /// One line for people.
    pub message: String,
    /// For the steps that follow.
    pub data: Value,
}

/// Acts on the resource once.
pub fn reconcile(request: &Request, log: &dyn Fn(&str)) -> Outcome {
    log(&format!("{} of {}", request.event, request.resource.name));
    let greeting = format!("Hello, {}!", request.resource.spec.who);
    Outcome { success: true, message: greeting.clone(), data: json!({ "greeting": greeting }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_greets() {
        let request = json!({ "event": "create", "resource": { "name": "one", "spec": { "who": "belt" } }, "context": {} });
        let request: Request = serde_json::from_value(request).unwrap();
        assert_eq!(reconcile(&request, &|_| {}).message, "Hello, belt!");
    }
}
