//! The host of a URL, read strictly, and the patterns that grants name hosts by.
//!
//! Every notation that some program reads as an address and another as a name is refused here, so that what was checked
//! is what is connected to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name of DNS, in bytes.
const MAX_NAME: usize = 253;
/// The longest part of one, in bytes.
const MAX_LABEL: usize = 63;

/// A host: a name of DNS in lower case, or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Host {
    /// Such as `api.example.org`, in lower case, without a dot at its end.
    Name(String),
    /// Such as `192.0.2.1` or, in a URL in brackets, `[2001:db8::1]`.
    Address(IpAddr),
}

/// Which hosts a rule is about: `*`, `*.example.org` (all below it, not itself), or one host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostPattern {
    /// `*`: every host.
    Any,
    /// `*.NAME`: every name that ends in `.NAME`.
    Below(String),
    /// This host alone.
    Exactly(Host),
}

/// A text that is not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a host: {problem}")]
pub struct HostError {
    /// What was given.
    text: String,
    /// What is wrong with it, and what would be right.
    problem: &'static str,
}

impl FromStr for Host {
    type Err = HostError;

    /// Reads a name or an address as it stands in a URL.
    fn from_str(text: &str) -> Result<Self, HostError> {
        let wrong = |problem| HostError { text: text.chars().take(MAX_NAME).collect(), problem };
        if let Some(inside) = text.strip_prefix('[') {
            let address = inside.strip_suffix(']').and_then(|inside| inside.parse::<Ipv6Addr>().ok());
            return address
                .map(|address| Self::Address(address.into()))
                .ok_or_else(|| wrong("in brackets stands an IPv6 address without a zone, such as [2001:db8::1]"));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        check_name(&name).map_err(wrong)?;
        Ok(Self::Name(name))
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err("a name has 1 to 253 characters");
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    for label in name.split('.') {
        if label.is_empty() || label.len() > MAX_LABEL || label.starts_with('-') || label.ends_with('-') {
            return Err("between dots stand 1 to 63 characters, the first and the last no hyphen");
        }
        if !label.bytes().all(allowed) {
            return Err("a name has letters, digits, hyphens and dots only; write others in Punycode (xn--...)");
        }
    }
    // The standard library of C reads 127.1, 0x7f000001 and 017700000001 as addresses, a name never ends like that.
    let last = name.rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|byte| byte.is_ascii_digit());
    let hex = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if number || hex {
        return Err("an IPv4 address is written as four decimal numbers, such as 192.0.2.1");
    }
    Ok(())
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(formatter, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]"),
        }
    }
}

impl TryFrom<String> for Host {
    type Error = HostError;

    fn try_from(text: String) -> Result<Self, HostError> {
        text.parse()
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.to_string()
    }
}

impl HostPattern {
    /// Whether the pattern is about this host.
    #[must_use]
    pub fn covers(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Below(parent), Host::Name(name)) => {
                name.strip_suffix(parent.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            (Self::Below(_), Host::Address(_)) => false,
            (Self::Exactly(only), host) => only == host,
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        match text.strip_prefix("*.") {
            None => text.parse().map(Self::Exactly),
            Some(parent) => match parent.parse()? {
                Host::Name(name) => Ok(Self::Below(name)),
                Host::Address(_) => {
                    Err(HostError { text: text.to_owned(), problem: "below an address there is nothing" })
                }
            },
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("*"),
            Self::Below(parent) => write!(formatter, "*.{parent}"),
            Self::Exactly(host) => write!(formatter, "{host}"),
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = HostError;

    fn try_from(text: String) -> Result<Self, HostError> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}
