//! The files of a new driver. Pure: names in, texts out.

use clap::ValueEnum;

use super::sources::{self, CASE, WIT};
use super::{Project, Tool, library};
use crate::model::Grant;

/// The language of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Rust.
    Rust,
    /// Python.
    Python,
    /// JavaScript.
    #[value(alias = "javascript")]
    Js,
    /// TypeScript.
    #[value(alias = "typescript")]
    Ts,
    /// Go.
    Go,
    /// C.
    C,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the folder.
    pub path: String,
    /// What is in it.
    pub text: String,
    /// Whether it can be run.
    pub executable: bool,
}

/// A file of a template: where it goes, and what is in it.
pub(super) type Source = (&'static str, &'static str);

/// What `driver.toml` says of a template.
pub(super) struct Recipe {
    pub build: Option<String>,
    pub test: &'static str,
    pub component: Option<String>,
    pub core: Option<&'static str>,
    pub run: Option<String>,
    pub tools: Vec<Tool>,
    pub files: &'static [Source],
}

macro_rules! template {
    ($file:literal) => {
        include_str!(concat!("../../../plugins/templates/", $file))
    };
}

const RUST: &[Source] = &[
    ("Cargo.toml", template!("rust/Cargo.toml.in")),
    ("src/lib.rs", template!("rust/lib.rs")),
    ("src/reconcile.rs", template!("rust/reconcile.rs")),
    (".gitignore", "/target\n"),
    CASE,
];
const RUST_REMOTE: &[Source] = &[
    ("Cargo.toml", template!("rust/Cargo.remote.toml.in")),
    ("src/main.rs", template!("rust/main.rs")),
    ("src/reconcile.rs", template!("rust/reconcile.rs")),
    (".gitignore", "/target\n"),
];
const PYTHON: &[Source] = &[
    ("app.py", template!("python/app.py")),
    ("reconcile.py", template!("python/reconcile.py")),
    ("test_reconcile.py", template!("python/test_reconcile.py")),
    (".gitignore", "__pycache__\n*.wasm\n"),
    WIT,
    CASE,
];
const PYTHON_REMOTE: &[Source] = &[
    ("main.py", template!("python/main.py")),
    ("reconcile.py", template!("python/reconcile.py")),
    ("test_reconcile.py", template!("python/test_reconcile.py")),
    ("requirements.txt", template!("python/requirements.txt")),
    (".gitignore", "__pycache__\n"),
];
const JS: &[Source] = &[
    ("driver.js", template!("javascript/driver.js")),
    ("reconcile.js", template!("javascript/reconcile.js")),
    ("reconcile.test.js", template!("javascript/reconcile.test.js")),
    ("package.json", template!("javascript/package.json")),
    (".gitignore", "/node_modules\n*.wasm\n"),
    WIT,
    CASE,
];
const JS_REMOTE: &[Source] = &[
    ("main.js", template!("javascript/main.js")),
    ("reconcile.js", template!("javascript/reconcile.js")),
    ("reconcile.test.js", template!("javascript/reconcile.test.js")),
    ("package.json", template!("javascript/package.remote.json")),
    (".gitignore", "/node_modules\n"),
];
const GO_REMOTE: &[Source] = &[
    ("go.mod", template!("go/go.mod.in")),
    ("main.go", template!("go/main.go")),
    ("reconcile.go", template!("go/reconcile.go")),
    ("reconcile_test.go", template!("go/reconcile_test.go")),
    (".gitignore", "/{{name}}\n"),
];
const C_REMOTE: &[Source] =
    &[("main.c", template!("c/main.c")), ("test.sh", template!("c/test.sh")), (".gitignore", "/{{name}}\n")];

/// The files of a new driver of this name.
///
/// # Errors
/// A text that says why they cannot be written.
pub fn files(name: &str, language: Language, remote: bool, resources: &[String]) -> Result<Vec<File>, String> {
    let recipe = recipe(name, language, remote);
    let library = if remote { library::of(language) } else { &[] };
    // With a library it speaks to NATS itself, and runs for as long as it is wanted.
    let (run, start) = if library.is_empty() { (recipe.run, None) } else { (None, recipe.run) };
    let project = Project {
        name: name.to_owned(),
        resources: resources.to_vec(),
        build: recipe.build,
        test: Some(recipe.test.to_owned()),
        component: recipe.component.map(Into::into),
        core: recipe.core.map(Into::into),
        wit: "wit".into(),
        run,
        start,
        grant: Grant::default(),
        cases: "cases".into(),
        tools: recipe.tools,
    };
    let manifest = toml::to_string(&project).map_err(|error| error.to_string())?;
    let own = [("driver.toml".to_owned(), manifest), ("README.md".to_owned(), readme(&project))];
    let types: Vec<String> = resources.iter().map(|resource| format!("\"{resource}\"")).collect();
    let fill = |text: &str| text.replace("{{name}}", name).replace("{{resources}}", &types.join(", "));
    let sources = recipe.files.iter().chain(library).copied().chain(sources::library(language, remote));
    let filled = sources.map(|(path, text)| (path.to_owned(), fill(text)));
    // Only scripts begin so.
    let file = |(path, text): (String, String)| File { executable: text.starts_with("#!"), path, text };
    Ok(filled.chain(own).map(file).collect())
}

fn recipe(name: &str, language: Language, remote: bool) -> Recipe {
    let crate_name = name.replace('-', "_");
    let with = |build: &str, test, component: String, tools, files| Recipe {
        build: Some(build.to_owned()),
        test,
        component: Some(component),
        core: None,
        run: None,
        tools,
        files,
    };
    let runs = |build: Option<String>, test, run: String, tools, files| Recipe {
        build,
        test,
        component: None,
        core: None,
        run: Some(run),
        tools,
        files,
    };
    match (language, remote) {
        (Language::Rust, false) => with(
            "cargo build --release --target wasm32-wasip2",
            "cargo test",
            format!("target/wasm32-wasip2/release/{crate_name}.wasm"),
            vec![cargo(), wasip2()],
            RUST,
        ),
        (Language::Rust, true) => runs(
            Some("cargo build --release".to_owned()),
            "cargo test",
            format!("target/release/{name}"),
            vec![cargo()],
            RUST_REMOTE,
        ),
        (Language::Python, false) => with(
            "componentize-py -d wit -w driver componentize app -o driver.wasm",
            "python3 -m unittest",
            "driver.wasm".to_owned(),
            vec![python(), componentize_py()],
            PYTHON,
        ),
        (Language::Python, true) => {
            let tools = vec![python(), nats_py()];
            runs(None, "python3 -m unittest", "python3 main.py".to_owned(), tools, PYTHON_REMOTE)
        }
        (Language::Js, false) => with(
            "node_modules/.bin/componentize-qjs --sync --opt-size --wit wit --world driver --js driver.js --output driver.wasm",
            "node --test",
            "driver.wasm".to_owned(),
            vec![node(), componentize_qjs()],
            JS,
        ),
        (Language::Js, true) => {
            runs(None, "node --test", "node main.js".to_owned(), vec![node(), transport_node()], JS_REMOTE)
        }
        (Language::Go, true) => {
            runs(Some("go build".to_owned()), "go test ./...", format!("./{name}"), vec![go()], GO_REMOTE)
        }
        (Language::C, true) => {
            let build = format!("cc -O2 -Wall -Wextra -o {name} main.c");
            runs(Some(build), "./test.sh", format!("./{name}"), vec![cc()], C_REMOTE)
        }
        (Language::Ts, _) => sources::typescript(remote),
        (Language::Go, false) => sources::go(),
        (Language::C, false) => sources::c(),
    }
}

pub(super) fn tool(name: &str, probe: &str, install: &str) -> Tool {
    Tool { name: name.to_owned(), probe: probe.to_owned(), install: install.to_owned() }
}

fn cargo() -> Tool {
    tool("Rust", "cargo --version", "see https://rustup.rs")
}

fn wasip2() -> Tool {
    let probe = "test -d \"$(${RUSTC:-rustc} --print target-libdir --target wasm32-wasip2)\"";
    tool("the Rust target wasm32-wasip2", probe, "rustup target add wasm32-wasip2")
}

fn python() -> Tool {
    tool("Python", "python3 --version", "apt-get install python3, or see https://www.python.org")
}

fn componentize_py() -> Tool {
    tool("componentize-py", "componentize-py --version", "pip install componentize-py==0.25.1")
}

fn nats_py() -> Tool {
    tool("nats-py", "python3 -c 'import nats'", "pip install -r requirements.txt, in the driver's folder")
}

pub(super) fn node() -> Tool {
    tool("Node.js", "node --version", "see https://nodejs.org")
}

pub(super) fn componentize_qjs() -> Tool {
    tool("componentize-qjs", "test -d node_modules/componentize-qjs", "npm install, in the driver's folder")
}

fn transport_node() -> Tool {
    let probe = "test -d node_modules/@nats-io/transport-node";
    tool("@nats-io/transport-node", probe, "npm install, in the driver's folder")
}

fn go() -> Tool {
    tool("Go", "go version", "see https://go.dev")
}

pub(super) fn cc() -> Tool {
    tool("a C compiler", "cc --version", "apt-get install gcc libc6-dev")
}

fn readme(project: &Project) -> String {
    let Project { name, tools, .. } = project;
    let needs: Vec<String> = tools.iter().map(|tool| format!("- {}: {}", tool.name, tool.install)).collect();
    let needs = needs.join("\n");
    let last = if project.component.is_some() {
        "conveyor driver test    # its own tests, then the requests in cases/ in the real host, without a server\n\
         conveyor driver push    # to the server; again after each change\n"
            .to_owned()
    } else {
        let tests = "conveyor driver test    # its own tests\n";
        format!("{tests}{:23} # works until Ctrl-C, wherever NATS can be reached\n", project.starting())
    };
    format!(
        "# {name}\n\nA driver of Conveyor. What it does is in the file `reconcile`; the rest is its border.\n\n\
         ```sh\nconveyor driver build\n{last}```\n\nA resource for it: `{{\"name\": \"one\", \"resource\": \"{}\", \"spec\": \
         {{\"who\": \"belt\"}}}}`.\n\nIt needs\n\n{needs}\n",
        project.resources.first().map_or("app", String::as_str),
    )
}
