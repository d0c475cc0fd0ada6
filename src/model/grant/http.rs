//! Where a driver may send HTTP requests.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::host::{Host, HostPattern};
use crate::model::Invalid;

/// The most methods and ranges of one rule.
const MAX_LIST: usize = 32;
/// The longest path of a rule, in bytes.
const MAX_PATH: usize = 1_024;
/// Methods that make a tunnel or an echo of secrets, which no rule can grant.
const NEVER: [&str; 2] = ["CONNECT", "TRACE"];

/// One rule: requests that match all its fields may be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpGrant {
    /// Default `https`.
    #[serde(default)]
    pub scheme: SchemeRule,
    /// `api.example.org`, `*.example.org` (all below it, not itself), an address, or `*` for every host.
    #[schema(value_type = String)]
    pub host: HostPattern,
    /// A number or `any`. Default that of the scheme: 443, or 80 for `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// In upper case; `["any"]` is all. Default `GET` and `HEAD`. `CONNECT` and `TRACE` cannot be granted.
    #[serde(default = "reading")]
    pub methods: Vec<String>,
    /// How the path must begin, in whole segments: `/api` covers `/api` and `/api/x`, not `/apis`. Default `/`.
    #[serde(default = "root")]
    pub path: String,
    /// Ranges of addresses that are not of the open internet and to which the host may lead all the same, such as
    /// `10.0.0.0/8`. Default none; in the grant of a step, those of its driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub addresses: Option<Vec<IpNet>>,
}

/// Which schemes a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SchemeRule {
    /// `https` alone.
    #[default]
    Https,
    /// `http` alone.
    Http,
    /// Both.
    Any,
}

/// Which ports a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Port {
    /// This one.
    Number(u16),
    /// Every one.
    Word(AnyPort),
}

/// The word for every port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnyPort {
    /// `any`.
    Any,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Over TLS.
    Https,
    /// In clear.
    Http,
}

/// What a request is sent to, as far as rules look at it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub struct Destination {
    /// How.
    pub scheme: Scheme,
    /// To whom.
    #[schema(value_type = String)]
    pub host: Host,
    /// Where.
    pub port: u16,
    /// In upper case.
    pub method: String,
    /// Without the query.
    pub path: String,
}

/// Why a request has no destination that could be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Destination {
    /// Reads the parts of a request: `authority` is `HOST` or `HOST:PORT`, `path` may have a query behind it.
    ///
    /// # Errors
    /// What is unclear about it: user information, a host in an odd notation, a port that is none, another scheme.
    pub fn read(method: &str, scheme: &str, authority: &str, path: &str) -> Result<Self, Malformed> {
        let scheme = match scheme {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            other => return Err(Malformed(format!("\"{other}\" is no scheme for requests: http and https are"))),
        };
        if authority.contains('@') {
            return Err(Malformed("user information before the host is refused: send it in a header".to_owned()));
        }
        let colon = authority.rfind(':').filter(|colon| !authority.get(*colon..).unwrap_or_default().contains(']'));
        let (host, port) = match colon.and_then(|colon| authority.split_at_checked(colon)) {
            None => (authority, scheme.port()),
            Some((host, port)) => (host, read_port(port.trim_start_matches(':'))?),
        };
        let host = host.parse().map_err(|error: super::host::HostError| Malformed(error.to_string()))?;
        if NEVER.contains(&method) || !is_method(method) {
            return Err(Malformed(format!("the method \"{method}\" is never sent")));
        }
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let path = if path.is_empty() { "/" } else { path };
        if !path.starts_with('/') {
            return Err(Malformed(format!("the path \"{path}\" does not begin with a slash")));
        }
        Ok(Self { scheme, host, port, method: method.to_owned(), path: path.to_owned() })
    }

    /// `HOST`, or `HOST:PORT` if the port is not that of the scheme.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.port() { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }
}

fn read_port(text: &str) -> Result<u16, Malformed> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let port = if digits { text.parse().ok() } else { None };
    port.ok_or_else(|| Malformed(format!("\"{text}\" is not a port: 1 to 65535 are")))
}

fn is_method(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}://{}{}", self.method, self.scheme.as_str(), self.authority(), self.path)
    }
}

impl Scheme {
    /// The word in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }

    /// The port of a URL that names none.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }
}

impl HttpGrant {
    /// Every method, path and port of every host of the open internet, with and without TLS.
    #[must_use]
    pub fn everywhere() -> Self {
        Self {
            scheme: SchemeRule::Any,
            host: HostPattern::Any,
            port: Some(Port::Word(AnyPort::Any)),
            methods: vec!["any".to_owned()],
            path: root(),
            addresses: None,
        }
    }

    /// The rule that is about this destination and nothing else.
    #[must_use]
    pub fn only(destination: &Destination) -> Self {
        let Destination { scheme, host, port, method, path } = destination;
        Self {
            scheme: if *scheme == Scheme::Https { SchemeRule::Https } else { SchemeRule::Http },
            host: HostPattern::Exactly(host.clone()),
            port: (*port != scheme.port()).then_some(Port::Number(*port)),
            methods: vec![method.clone()],
            path: path.clone(),
            addresses: None,
        }
    }

    /// Whether the rule is about this destination. The addresses behind its host are another question.
    #[must_use]
    pub fn covers(&self, destination: &Destination) -> bool {
        let scheme = match self.scheme {
            SchemeRule::Any => true,
            SchemeRule::Https => destination.scheme == Scheme::Https,
            SchemeRule::Http => destination.scheme == Scheme::Http,
        };
        let port = match self.port {
            None => destination.port == destination.scheme.port(),
            Some(Port::Number(port)) => destination.port == port,
            Some(Port::Word(AnyPort::Any)) => true,
        };
        let method = self.methods.iter().any(|method| method == "any" || *method == destination.method);
        scheme && port && method && self.host.covers(&destination.host) && covers_path(&self.path, &destination.path)
    }

    pub(super) fn validate(&self, path: &str) -> Result<(), Invalid> {
        let addresses = self.addresses.as_deref().unwrap_or_default();
        for (field, length) in [("methods", self.methods.len()), ("addresses", addresses.len())] {
            if length > MAX_LIST {
                return Err(Invalid::field(
                    format!("{path}.{field}"),
                    format!("{length} entries: {MAX_LIST} is the most"),
                ));
            }
        }
        if self.methods.is_empty() {
            return Err(Invalid::field(format!("{path}.methods"), "name a method, or leave it out for GET and HEAD"));
        }
        for (index, method) in self.methods.iter().enumerate() {
            if method != "any" && (!is_method(method) || NEVER.contains(&method.as_str())) {
                let problem =
                    format!("\"{method}\" cannot be granted: methods are written in upper case, such as POST");
                return Err(Invalid::field(format!("{path}.methods[{index}]"), problem));
            }
        }
        if self.port == Some(Port::Number(0)) {
            return Err(Invalid::field(format!("{path}.port"), "0 is not a port: 1 to 65535 are"));
        }
        if !self.path.starts_with('/') || !is_plain(&self.path) || self.path.len() > MAX_PATH {
            let problem = "a path begins with a slash, has no . or .. between slashes, no query and at most 1024 bytes";
            return Err(Invalid::field(format!("{path}.path"), problem));
        }
        Ok(())
    }
}

/// Whether a path lies below a prefix. One that servers may read in two ways lies below the root alone.
fn covers_path(prefix: &str, path: &str) -> bool {
    if prefix == "/" {
        return true;
    }
    let rest = is_plain(path).then(|| path.strip_prefix(prefix)).flatten();
    rest.is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}

/// Whether every server reads the path in the same way: nothing in it leads up, openly or in disguise.
fn is_plain(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let disguised = ["%2e", "%2f", "%5c", "%25", "%00", "\\", "?", "#"].iter().any(|text| lower.contains(text));
    let up = path.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")));
    !disguised && !up
}

fn reading() -> Vec<String> {
    vec!["GET".to_owned(), "HEAD".to_owned()]
}

fn root() -> String {
    "/".to_owned()
}
