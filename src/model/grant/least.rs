//! The least grant that would have been enough for what was used and what was refused. Pure.

use ipnet::IpNet;

use super::{EnvGrant, FolderGrant, Grant, HttpGrant, SecretGrant};
use crate::model::uses::{Use, Used, Uses};

impl Uses {
    /// The least grant that lets all of this happen; what was refused is in it as well if `refused_too`, because the driver
    /// wanted it. Values of variables are those of `granted`, the grant that was in force.
    #[must_use]
    pub fn least_grant(&self, granted: &Grant, refused_too: bool) -> Grant {
        let mut least = Grant::default();
        for Use { used, .. } in self.uses.iter().filter(|used| refused_too || !used.refused) {
            match used {
                Used::Http { destination, addresses } => {
                    let mut rule = HttpGrant::only(destination);
                    let ranges: Vec<IpNet> = addresses.iter().map(|address| IpNet::from(*address)).collect();
                    rule.addresses = (!ranges.is_empty()).then_some(ranges);
                    join(&mut least.http, rule);
                }
                Used::Folders { name, access } => match least.folders.iter_mut().find(|folder| folder.name == *name) {
                    Some(folder) => folder.access = folder.access.max(*access),
                    None => least.folders.push(FolderGrant { name: name.clone(), access: *access }),
                },
                Used::Env { name } => {
                    let known = granted.env.iter().find(|env| env.name == *name).cloned();
                    least.env.push(known.unwrap_or_else(|| EnvGrant::new(name)));
                }
                Used::Secrets { name, destination } => {
                    let rule = HttpGrant::only(destination);
                    if let Some(secret) = least.secrets.iter_mut().find(|secret| secret.name == *name) {
                        join(secret.to.get_or_insert_default(), rule);
                    } else {
                        let env = granted.secrets.iter().find(|secret| secret.name == *name);
                        let env = env.and_then(|secret| secret.env.clone());
                        least.secrets.push(SecretGrant { name: name.clone(), env, to: Some(vec![rule]) });
                    }
                }
            }
        }
        least.env.sort_by(|one, other| one.name.cmp(&other.name));
        least.env.dedup_by(|one, other| one.name == other.name);
        least
    }
}

/// Adds a rule, or its method to the rule that differs in nothing else.
fn join(rules: &mut Vec<HttpGrant>, mut new: HttpGrant) {
    let found = rules.iter_mut().find(|rule| {
        let methods = std::mem::replace(&mut new.methods, rule.methods.clone());
        let same = **rule == new;
        new.methods = methods;
        same
    });
    match found {
        None => rules.push(new),
        Some(rule) => {
            rule.methods.extend(new.methods);
            rule.methods.sort();
            rule.methods.dedup();
        }
    }
}
