//! `conveyor apply`: makes the server hold what files say.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::manifest::{self, Document, Kind};
use super::output::{self, Action, Done};
use super::{Context, Error, Exit, Once};

/// The server's code for a resource that is there already.
const EXISTS: &str = "resource_exists";

/// Files of definitions, pipelines and resources.
#[derive(Debug, Args)]
pub struct Apply {
    /// YAML or JSON with one or more documents; `-` is stdin. May be given more than once.
    #[arg(short, long = "file", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// One for every resource is made of it.
    #[command(flatten)]
    once: Once,
}

impl Apply {
    /// These files, without a key.
    pub(super) fn of(files: Vec<PathBuf>) -> Self {
        Self { files, once: Once { key: None } }
    }
}

pub(super) async fn run(apply: &Apply, context: &Context) -> Result<Exit, Error> {
    // Everything is read before anything is sent: a slip in the last file leaves the server as it was.
    let mut documents = Vec::new();
    for path in &apply.files {
        let (file, text) = if path == Path::new("-") {
            ("stdin".to_owned(), stdin().await)
        } else {
            (path.display().to_string(), file(path))
        };
        let text = text.map_err(|source| Error::File { file: file.clone(), source })?;
        documents.extend(manifest::parse(&text).map_err(|source| Error::Manifest { file, source })?);
    }
    // The sort is stable: within a kind the order of the files counts.
    documents.sort_by_key(|document| document.kind);

    let mut done = Vec::new();
    let mut stopped = None;
    for document in &documents {
        match one(document, apply.once.key.as_deref(), context).await {
            Ok(change) => {
                context.output.done_of_many(&change)?;
                done.push(change);
            }
            Err(source) => {
                let (document, total) = (document.label(), documents.len());
                stopped = Some(Error::Apply { document, done: done.len(), total, source: Box::new(source) });
                break;
            }
        }
    }
    context.output.done_at_last(&done)?;
    stopped.map_or(Ok(Exit::Ok), Err)
}

async fn one(document: &Document, key: Option<&str>, context: &Context) -> Result<Done, Error> {
    match document.kind {
        Kind::ResourceDefinition => definition(document, context).await,
        Kind::Pipeline => {
            let answer = context.client.write(Method::PUT, &["pipelines", &document.name], &document.body).await?;
            Ok(change(document, answer.created, &answer.body))
        }
        Kind::Resource => resource(document, key, context).await,
    }
}

async fn definition(document: &Document, context: &Context) -> Result<Done, Error> {
    // The answer to `apply` is 201 either way, so whether there was one has to be asked before.
    let before = context.client.get::<Value>(&["resource-definitions", &document.name], &[]).await;
    let created = match before {
        Ok(_) => false,
        Err(error) if error.exit() == Exit::NotFound => true,
        Err(error) => return Err(error),
    };
    let answer = context.client.write(Method::POST, &["resource-definitions", "apply"], &document.body).await?;
    Ok(change(document, created, &answer.body))
}

async fn resource(document: &Document, key: Option<&str>, context: &Context) -> Result<Done, Error> {
    // Creation and update are two requests, each with a key of its own, so that both can be asked for again.
    let under = |act: &str| {
        let key = key.map(|key| format!("{key}/{}/{}/{act}", document.resource, document.name));
        context.client.under(key)
    };
    match under("create").write(Method::POST, &["resources"], &document.body).await {
        Ok(answer) => Ok(change(document, true, &answer.body)),
        Err(Error::Refused { code, .. }) if code == EXISTS => {
            let path = ["resources", document.resource.as_str(), document.name.as_str()];
            let answer = under("update").write(Method::PUT, &path, &document.body).await?;
            Ok(change(document, false, &answer.body))
        }
        Err(error) => Err(error),
    }
}

fn change(document: &Document, created: bool, answer: &Value) -> Done {
    for warning in answer.get("warnings").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        output::note(&format!("{}: {warning}", document.label()));
    }
    let action = if created { Action::Created } else { Action::Updated };
    Done {
        label: document.label(),
        kind: document.kind.as_str(),
        name: document.name.clone(),
        resource: (document.kind == Kind::Resource).then(|| document.resource.clone()),
        action,
        runid: answer.get("runid").and_then(Value::as_str).map(str::to_owned),
    }
}

fn file(path: &Path) -> std::io::Result<String> {
    read(std::fs::File::open(path)?)
}

/// Stdin is read on a thread of its own that nobody waits for, so that Ctrl-C ends the command while it waits for input.
async fn stdin() -> std::io::Result<String> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || sender.send(read(std::io::stdin())));
    receiver.await.unwrap_or_else(|_| Err(std::io::Error::other("the thread that read stdin ended")))
}

fn read(source: impl std::io::Read) -> std::io::Result<String> {
    let mut text = String::new();
    // One byte more than the limit, by which the parser sees that the file is too long.
    source.take(manifest::MAX_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}
