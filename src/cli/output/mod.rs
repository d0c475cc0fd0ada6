//! Everything that is printed: data on stdout, talk on stderr.

mod progress;
mod text;
mod timeline;
mod view;

use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;

use super::Error;
pub(super) use progress::Steps;
pub use text::{clean, elapsed, log_line};
pub use timeline::timeline;
pub use view::View;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs: exactly one JSON value.
    Json,
}

/// Where output goes, and how.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// How data is printed.
    pub format: Format,
    /// People look at it at once.
    pub terminal: bool,
}

/// One column of a list.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    pointer: &'static str,
    /// Of each element of a list, if the value is one of objects.
    each: &'static str,
}

impl Column {
    pub(super) const fn new(title: &'static str, pointer: &'static str) -> Self {
        Self { title, pointer, each: "" }
    }

    pub(super) const fn each(title: &'static str, pointer: &'static str, each: &'static str) -> Self {
        Self { title, pointer, each }
    }

    fn of(&self, item: &Value) -> String {
        match item.pointer(self.pointer) {
            Some(Value::Array(list)) => {
                let words: Vec<String> = list.iter().map(|entry| plain(entry.pointer(self.each))).collect();
                if words.is_empty() { "-".to_owned() } else { words.join(",") }
            }
            value => plain(value),
        }
    }
}

/// What became of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It was not there before.
    Created,
    /// It was there before.
    Updated,
    /// It is no longer there.
    Deleted,
}

/// What was done to one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// The thing, for people.
    #[serde(skip)]
    pub label: String,
    /// The thing's kind.
    pub kind: &'static str,
    /// The thing's name.
    pub name: String,
    /// The type, of a resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// What was done.
    pub action: Action,
    /// The run that this started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runid: Option<String>,
}

impl fmt::Display for Done {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::Created => "created",
            Action::Updated => "updated",
            Action::Deleted => "deleted",
        };
        write!(formatter, "{} {action}", self.label)?;
        self.runid.as_ref().map_or(Ok(()), |run| write!(formatter, ", run {run}"))
    }
}

impl Output {
    /// To the stdout of this process.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, terminal: io::stdout().is_terminal() }
    }

    /// One line.
    pub(super) fn line(self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", self.safe(text))?;
        stdout.flush()
    }

    /// A list of things: a table, or a JSON array of all that the server says.
    pub(super) fn list(self, items: Vec<Value>, columns: &[Column]) -> io::Result<()> {
        if self.format == Format::Json {
            return value(&Value::Array(items));
        }
        let titles = columns.iter().map(|column| column.title).collect();
        self.table(titles, items.iter().map(|item| columns.iter().map(|column| column.of(item)).collect()).collect())
    }

    /// A table.
    pub(super) fn table(self, titles: Vec<&str>, rows: Vec<Vec<String>>) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(titles);
        table.add_rows(rows.into_iter().map(|row| row.iter().map(|cell| self.safe(cell)).collect::<Vec<_>>()));
        let mut stdout = io::stdout().lock();
        for line in table.lines() {
            // The padding belongs between the columns only.
            writeln!(stdout, "{}", line.strip_prefix(' ').unwrap_or(&line).trim_end())?;
        }
        stdout.flush()
    }

    /// One thing: a line a field, or the JSON that the server says.
    pub(super) fn item(self, item: &Value) -> io::Result<()> {
        if self.format == Format::Json {
            return value(item);
        }
        let fields = item.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let width = fields.clone().map(|(key, _)| key.len()).max().unwrap_or(0) + 2;
        for (key, value) in fields {
            let text = match value {
                Value::Object(_) | Value::Array(_) => format!("{value:#}").replace('\n', &format!("\n{:width$}", "")),
                value => plain(Some(value)),
            };
            self.line(&format!("{:width$}{text}", format!("{key}:")))?;
        }
        Ok(())
    }

    /// What was done to the only thing that this command is about.
    pub(super) fn done(self, done: &Done) -> io::Result<()> {
        match self.format {
            Format::Table => self.line(&done.to_string()),
            Format::Json => value(&serde_json::to_value(done)?),
        }
    }

    /// What was done to one of several things; people see it at once.
    pub(super) fn done_of_many(self, done: &Done) -> io::Result<()> {
        if self.format == Format::Table { self.line(&done.to_string()) } else { Ok(()) }
    }

    /// What was done to all of them; programs get it in one piece.
    pub(super) fn done_at_last(self, done: &[Done]) -> io::Result<()> {
        if self.format == Format::Json { value(&serde_json::to_value(done)?) } else { Ok(()) }
    }

    /// Text of drivers must not steer the terminal; into files and pipes it goes as it is.
    fn safe(self, text: &str) -> String {
        if self.terminal { clean(text) } else { text.to_owned() }
    }
}

/// One JSON value.
pub(super) fn value(value: &Value) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{value:#}")?;
    stdout.flush()
}

/// One element of a JSON array that is printed as it grows; `index` counts from 0.
pub(super) fn element(index: usize, value: &Value) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    write!(stdout, "{}{value}", if index == 0 { "[\n" } else { ",\n" })?;
    stdout.flush()
}

/// The end of such an array of `count` elements.
pub(super) fn end_of_elements(count: usize) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", if count == 0 { "[]" } else { "\n]" })
}

/// Something that is said beside the data.
pub(super) fn note(text: &str) {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{}", clean(text));
}

/// Tells on stderr what went wrong, why, and how to fix it.
pub(super) fn error(error: &(dyn StdError + 'static)) {
    let own = error.downcast_ref::<Error>();
    let why = own.map_or_else(|| error.source().map(crate::causes::chain), Error::why);
    let mut text = format!("error: {error}\n");
    for (title, detail) in [("why", why), ("fix", own.and_then(Error::fix))] {
        if let Some(detail) = detail {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {title}: {detail}");
        }
    }
    let _ = write!(io::stderr().lock(), "{}", clean(&text));
}

/// A value in a cell.
fn plain(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}
