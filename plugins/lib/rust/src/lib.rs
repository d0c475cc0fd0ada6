//! What a driver of Conveyor is written against: the same for a component and for a driver that runs elsewhere.
//!
//! A driver is one function from a [`Request`], whose `spec` is a type of its own, to a [`DriverResult`] or a [`Failure`].
//! A component hands it to [`driver!`], and a program for `conveyor driver exec` to [`exec`].
//!
//! ```
//! use conveyor_driver::{DriverResult, Failure, Request, info, json};
//!
//! #[derive(serde::Deserialize)]
//! struct Spec {
//!     who: String,
//! }
//!
//! fn reconcile(request: Request<Spec>) -> Result<DriverResult, Failure> {
//!     info!("{} of {}", request.event, request.resource.name);
//!     let Spec { who } = request.resource.spec;
//!     if who.is_empty() {
//!         return Err(Failure::permanent("nobody is greeted"));
//!     }
//!     Ok(DriverResult::success(format!("Hello, {who}!")).with_data(json!({ "who": who })))
//! }
//! ```

#[cfg(feature = "component")]
#[doc(hidden)]
pub mod component;
mod elsewhere;
mod log;
mod request;
mod result;

pub use elsewhere::exec;
pub use log::Level;
#[doc(hidden)]
pub use log::write;
pub use request::{Context, Request, Resource, StepResult};
pub use result::{DriverResult, Failure};
pub use serde_json::{Value, json};
