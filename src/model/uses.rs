//! What drivers used of what they were granted, and what was refused them. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Access, Capability, Destination, RunId};

/// Something that can be granted, as a call used it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "capability", rename_all = "lowercase")]
pub enum Used {
    /// Requests; `path` is what all their paths begin with.
    Http {
        /// Where to.
        #[serde(flatten)]
        destination: Destination,
        /// The addresses beyond the open internet that it led to.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        #[schema(value_type = Vec<String>)]
        addresses: BTreeSet<IpAddr>,
    },
    /// A folder.
    Folders {
        /// Which.
        name: String,
        /// The most that was done in it.
        access: Access,
    },
    /// The environment: the guest asked for all of it.
    Env {
        /// A variable that it was given.
        name: String,
    },
    /// A secret that was put into requests; `path` is what all their paths begin with.
    Secrets {
        /// Which.
        name: String,
        /// Where to.
        #[serde(flatten)]
        destination: Destination,
    },
}

/// Uses that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Use {
    /// What was used.
    #[serde(flatten)]
    pub used: Used,
    /// It was refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// How often.
    pub count: u64,
    /// In which run last.
    #[schema(value_type = String)]
    pub last_run: RunId,
    /// When last.
    #[schema(value_type = String, format = DateTime)]
    pub last_at: Timestamp,
}

/// What one driver used lately.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Uses {
    /// Each kind of use once.
    pub uses: Vec<Use>,
}

impl Uses {
    /// Adds a use; one that is like an earlier one is counted there.
    pub fn add(&mut self, new: Use) {
        match self.uses.iter_mut().find(|known| known.is_like(&new)) {
            None => self.uses.push(new),
            Some(known) => known.join(new),
        }
    }

    /// Adds all uses of `other`, forgets those from before `oldest`, and keeps the `most` that were used last.
    pub fn merge(&mut self, other: Self, oldest: Timestamp, most: usize) {
        for new in other.uses {
            self.add(new);
        }
        self.uses.retain(|known| known.last_at >= oldest);
        self.uses.sort_by_key(|used| std::cmp::Reverse(used.last_at));
        self.uses.truncate(most);
    }

    /// Whether nothing was used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uses.is_empty()
    }
}

impl Used {
    /// The kind.
    #[must_use]
    pub fn capability(&self) -> Capability {
        match self {
            Self::Http { .. } => Capability::Http,
            Self::Folders { .. } => Capability::Folders,
            Self::Env { .. } => Capability::Env,
            Self::Secrets { .. } => Capability::Secrets,
        }
    }
}

impl Use {
    /// A use that happened once.
    #[must_use]
    pub fn once(used: Used, refused: bool, run: RunId, at: Timestamp) -> Self {
        Self { used, refused, count: 1, last_run: run, last_at: at }
    }

    fn is_like(&self, other: &Self) -> bool {
        let place = |one: &Destination, other: &Destination| {
            (one.scheme, &one.host, one.port, &one.method) == (other.scheme, &other.host, other.port, &other.method)
        };
        let same = match (&self.used, &other.used) {
            (Used::Http { destination: one, .. }, Used::Http { destination: other, .. }) => place(one, other),
            (Used::Folders { name: one, .. }, Used::Folders { name: other, .. })
            | (Used::Env { name: one }, Used::Env { name: other }) => one == other,
            (Used::Secrets { name: one, destination: from }, Used::Secrets { name: other, destination: to }) => {
                one == other && place(from, to)
            }
            _ => false,
        };
        same && self.refused == other.refused
    }

    fn join(&mut self, other: Self) {
        match (&mut self.used, other.used) {
            (Used::Http { destination, addresses }, Used::Http { destination: new, addresses: more }) => {
                destination.path = common_path(&destination.path, &new.path);
                addresses.extend(more);
            }
            (Used::Secrets { destination, .. }, Used::Secrets { destination: new, .. }) => {
                destination.path = common_path(&destination.path, &new.path);
            }
            (Used::Folders { access, .. }, Used::Folders { access: new, .. }) => *access = (*access).max(new),
            _ => {}
        }
        self.count = self.count.saturating_add(other.count);
        if other.last_at >= self.last_at {
            (self.last_at, self.last_run) = (other.last_at, other.last_run);
        }
    }
}

/// What both paths begin with, in whole segments.
fn common_path(one: &str, other: &str) -> String {
    if one == other {
        return one.to_owned();
    }
    let pairs = one.split('/').zip(other.split('/')).skip(1);
    let mut common = String::new();
    for (segment, _) in pairs.take_while(|(one, other)| one == other) {
        common.push('/');
        common.push_str(segment);
    }
    if common.is_empty() { "/".to_owned() } else { common }
}
