//! The secrets of one call: the guest knows placeholders, and values are put in at the border.

use std::path::Path;

use http::{HeaderMap, HeaderValue};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::config::{self, Capabilities};
use crate::driver::Failure;
use crate::model::{DriverResult, SecretUse};

/// How every placeholder begins.
const PLACEHOLDER: &str = "conveyor-secret-";
/// Beginnings of a value that are this long are taken out as well where a line was cut.
const TELLING: usize = 4;
/// The bytes of a secret. A shorter one would be found in every second line of a log.
const VALUE: std::ops::RangeInclusive<usize> = TELLING..=8 << 10;

/// The secrets of one call.
#[derive(Debug, Default)]
pub(in super::super) struct Secrets(Vec<Secret>);

struct Secret {
    name: String,
    /// Where the guest finds the placeholder.
    variable: String,
    /// Made anew for each call, so that nobody can write one into a resource.
    placeholder: String,
    value: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Secret({})", self.name)
    }
}

impl Secrets {
    /// Reads the values anew, so that a secret that was replaced is used at once.
    pub(super) async fn read(uses: Vec<SecretUse>, config: &Capabilities) -> Result<Self, Failure> {
        let mut secrets = Vec::new();
        for SecretUse { name, variable } in uses {
            let Some(source) = config.secrets.get(&name) else { continue };
            let unreadable = |why: String| Failure::Retryable(format!("the secret \"{name}\" cannot be had: {why}"));
            let value = value(source).await.map_err(unreadable)?;
            let placeholder = placeholder().map_err(unreadable)?;
            secrets.push(Secret { name, variable, placeholder, value });
        }
        // The longest first: of two values one of which begins with the other, the longer is taken out whole.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.value.len()));
        Ok(Self(secrets))
    }

    /// The variables that hold the placeholders.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|secret| (secret.variable.as_str(), secret.placeholder.as_str()))
    }

    /// The names of the secrets whose placeholders are in these headers.
    pub(super) fn named_in(&self, headers: &HeaderMap) -> Vec<&str> {
        let used = |secret: &&Secret| headers.values().any(|value| holds(value, &secret.placeholder));
        self.0.iter().filter(used).map(|secret| secret.name.as_str()).collect()
    }

    /// Puts the values in place of the placeholders.
    pub(super) fn put_in(&self, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            for secret in &self.0 {
                let text = value.to_str().ok().filter(|text| text.contains(&secret.placeholder));
                let new = text.map(|text| HeaderValue::try_from(text.replace(&secret.placeholder, &secret.value)));
                // A value that cannot stand in a header was refused when it was read.
                if let Some(Ok(mut new)) = new {
                    new.set_sensitive(true);
                    *value = new;
                }
            }
        }
    }

    /// The text without values of secrets.
    pub(in super::super) fn redacted(&self, text: String) -> String {
        self.0.iter().fold(text, |text, secret| {
            if text.contains(&secret.value) { text.replace(&secret.value, &secret.mark()) } else { text }
        })
    }

    /// The same for a text whose end was cut, perhaps in the middle of a value.
    pub(in super::super) fn redacted_cut(&self, text: String) -> String {
        let mut text = self.redacted(text);
        for secret in &self.0 {
            let starts = secret.value.char_indices().map(|(end, _)| end).filter(|end| *end >= TELLING);
            let cut = starts.rev().find_map(|end| text.strip_suffix(secret.value.get(..end)?).map(str::len));
            if let Some(length) = cut {
                text.truncate(length);
                text.push_str(&secret.mark());
            }
        }
        text
    }

    /// The result without values of secrets.
    pub(in super::super) fn redacted_result(&self, mut result: DriverResult) -> DriverResult {
        if self.0.is_empty() {
            return result;
        }
        result.message = self.redacted(result.message);
        self.redact(&mut result.data);
        result
    }

    /// The failure without values of secrets.
    pub(in super::super) fn redacted_failure(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Retryable(text) => Failure::Retryable(self.redacted(text)),
            Failure::Permanent(text) => Failure::Permanent(self.redacted(text)),
            Failure::Trapped(text) => Failure::Trapped(self.redacted(text)),
            other => other,
        }
    }

    fn redact(&self, data: &mut serde_json::Value) {
        use serde_json::Value;
        match data {
            Value::String(text) => *text = self.redacted(std::mem::take(text)),
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact(item)),
            Value::Object(fields) => {
                let old = std::mem::take(fields);
                fields.extend(old.into_iter().map(|(key, mut value)| {
                    self.redact(&mut value);
                    (self.redacted(key), value)
                }));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

impl Secret {
    fn mark(&self) -> String {
        format!("[secret {}]", self.name)
    }
}

fn holds(value: &HeaderValue, placeholder: &str) -> bool {
    value.to_str().is_ok_and(|text| text.contains(placeholder))
}

fn placeholder() -> Result<String, String> {
    let mut bytes = [0_u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system gives no random numbers".to_owned())?;
    Ok(format!("{PLACEHOLDER}{:032x}", u128::from_be_bytes(bytes)))
}

async fn value(source: &config::Secret) -> Result<String, String> {
    let text = match (&source.file, &source.env) {
        (Some(path), _) => read(path).await?,
        (None, Some(name)) => std::env::var(name).map_err(|error| format!("the variable {name}: {error}"))?,
        (None, None) => return Err("its configuration names no file and no variable".to_owned()),
    };
    let value = text.trim_end_matches(['\r', '\n']);
    if !VALUE.contains(&value.len()) || HeaderValue::from_str(value).is_err() || !value.is_ascii() {
        return Err(format!("it must be one line of {} to {} ASCII characters", VALUE.start(), VALUE.end()));
    }
    Ok(value.to_owned())
}

async fn read(path: &Path) -> Result<String, String> {
    tokio::fs::read_to_string(path).await.map_err(|error| format!("{}: {error}", path.display()))
}
