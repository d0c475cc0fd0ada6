//! What the commands for drivers, pipelines, definitions and resources have in common: list, get, delete.

use serde_json::Value;

use super::output::{Action, Column, Done};
use super::{Context, Error, Exit};

/// One kind of thing that the API keeps.
pub struct Noun<'a> {
    /// The word in JSON output.
    pub kind: &'static str,
    /// The word for people.
    pub word: &'static str,
    /// Where the API keeps them.
    pub path: &'a [&'a str],
    /// What a list shows of each.
    pub columns: &'static [Column],
}

impl Noun<'_> {
    /// Shows all of them.
    pub(super) async fn list(&self, context: &Context) -> Result<Exit, Error> {
        let items = context.client.list(self.path, &[], None).await?;
        context.output.list(items, self.columns)?;
        Ok(Exit::Ok)
    }

    /// Shows one of them.
    pub(super) async fn get(&self, context: &Context, name: &str) -> Result<Exit, Error> {
        let item: Value = context.client.get(&self.item(name), &[]).await?;
        context.output.item(&item)?;
        Ok(Exit::Ok)
    }

    /// Deletes one of them.
    pub(super) async fn delete(&self, context: &Context, name: &str) -> Result<Exit, Error> {
        let answer = context.client.delete(&self.item(name)).await?;
        context.output.done(&self.done(name, Action::Deleted, &answer.body))?;
        Ok(Exit::Ok)
    }

    /// What became of one of them.
    pub(super) fn done(&self, name: &str, action: Action, answer: &Value) -> Done {
        // Only resources live one level deeper, below their type.
        let resource = self.path.get(1).map(|text| (*text).to_owned());
        let place = resource.as_ref().map(|resource| format!("{resource}/")).unwrap_or_default();
        Done {
            label: format!("{} {place}{name}", self.word),
            kind: self.kind,
            name: name.to_owned(),
            resource,
            action,
            runid: answer.get("runid").and_then(Value::as_str).map(str::to_owned),
        }
    }

    fn item<'b>(&'b self, name: &'b str) -> Vec<&'b str> {
        self.path.iter().copied().chain([name]).collect()
    }
}
