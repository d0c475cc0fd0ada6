//! Who acts for a driver that is both a component and a program elsewhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Invalid;

/// Which of a driver's two forms gets its steps. A driver without one has the form that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// The component, also when remote instances are connected.
    Component,
    /// The remote instances; the component waits for another placement.
    Remote,
    /// The component; a step in which it traps or passes a limit is then given to the remote instances.
    ComponentThenRemote,
    /// The remote instances. The component is called with the same requests and granted nothing; what it answers is
    /// compared with what they answer, and changes no run.
    Shadow,
}

impl Placement {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Component, Self::Remote, Self::ComponentThenRemote, Self::Shadow];

    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::Remote => "remote",
            Self::ComponentThenRemote => "component-then-remote",
            Self::Shadow => "shadow",
        }
    }

    /// The name of the place on the bus at which the component of `driver` works; none if it does not. Programs elsewhere
    /// work at the place of the driver's own name, and no driver's name has an `@`.
    #[must_use]
    pub fn station(self, driver: &str) -> Option<String> {
        (self != Self::Remote).then(|| format!("{driver}@{}", self.as_str()))
    }

    /// The driver whose place has this name, and for which placement it is, if that is not the driver's own.
    #[must_use]
    pub fn of_place(name: &str) -> (&str, Option<Self>) {
        match name.split_once('@') {
            Some((driver, word)) => (driver, word.parse().ok()),
            None => (name, None),
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Placement {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|placement| placement.as_str() == text);
        found.ok_or_else(|| Invalid::field("placement", format!("\"{text}\" is none: there are {}", known())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_its_driver_and_its_placement() {
        for placement in Placement::ALL {
            let Some(station) = placement.station("build") else { continue };
            assert_eq!(Placement::of_place(&station), ("build", Some(placement)));
        }
        assert_eq!(Placement::of_place("build"), ("build", None));
        assert_eq!(Placement::Remote.station("build"), None);
        assert!("elsewhere".parse::<Placement>().unwrap_err().to_string().contains("component-then-remote, shadow"));
    }
}
