//! The architecture, held by tests: direction of imports, sizes of files, and the map in the README.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// No file may be longer.
const MAX_LINES: usize = 500;

/// Which modules of `src` a module may import from. `main` is left out: it may import all.
const IMPORTS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("model", &["clock"]),
    ("config", &["model"]),
    ("metrics", &["model"]),
    ("causes", &[]),
    ("folder", &[]),
    ("sqlite", &["folder"]),
    ("store", &["model", "clock", "config", "folder", "sqlite"]),
    ("blob", &["model", "clock", "config", "folder"]),
    ("bus", &["model", "clock", "config"]),
    ("log", &["model", "clock", "config", "bus", "metrics", "folder", "sqlite"]),
    ("driver", &["model", "clock", "config", "metrics", "folder", "store", "bus", "blob", "log"]),
    ("engine", &["model", "clock", "config", "metrics", "store", "bus", "blob"]),
    ("exec", &["model", "config", "driver"]),
    ("nats_server", &["config", "folder"]),
    ("remote", &["model", "config", "metrics", "bus", "blob", "driver"]),
    ("retention", &["model", "clock", "config", "metrics", "store", "blob", "log"]),
    ("catalog", &["model", "clock", "config", "metrics", "store", "bus", "blob", "log", "driver", "engine"]),
    ("api", &["model", "clock", "config", "metrics", "store", "log", "catalog"]),
    (
        "conveyor",
        &[
            "model",
            "clock",
            "config",
            "metrics",
            "store",
            "bus",
            "blob",
            "log",
            "driver",
            "engine",
            "catalog",
            "retention",
            "nats_server",
        ],
    ),
    ("server", &["config", "api", "conveyor"]),
    ("doctor", &["causes", "config", "store", "bus", "log", "driver", "nats_server"]),
    ("migrate", &["model", "config", "store", "blob", "log"]),
    (
        "cli",
        &[
            "causes", "model", "config", "driver", "exec", "remote", "catalog", "server", "doctor", "migrate", "store",
            "blob", "log", "bus",
        ],
    ),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all(folders: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        sources(&root().join(folder), &mut found);
    }
    found
}

#[test]
fn no_file_is_too_long() {
    for path in all(&["src", "tests"]) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= MAX_LINES, "{}: {lines} lines are two rooms in one", path.display());
    }
}

#[test]
fn imports_go_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let src = root().join("src");
    for path in all(&["src"]) {
        let inside = path.strip_prefix(&src).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if matches!(module, "main" | "lib") {
            continue;
        }
        let known = allowed.get(module).unwrap_or_else(|| panic!("{module} has no place in the architecture"));
        for line in fs::read_to_string(&path).unwrap().lines() {
            for imported in imports(line) {
                let fine = imported == module || known.contains(&imported.as_str());
                assert!(fine, "{}: {module} may not import {imported}: {line}", path.display());
            }
        }
    }
}

/// The modules of the crate that a line names.
fn imports(line: &str) -> Vec<String> {
    if line.trim_start().starts_with("//") {
        return Vec::new();
    }
    let word = |text: &str| text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    let mut found: Vec<String> = line.split("crate::").skip(1).map(word).collect();
    if let Some(list) = line.trim().strip_prefix("use crate::{") {
        found.extend(list.split(',').map(|part| word(part.trim())));
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn the_map_of_the_readme_is_the_tree() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let map = readme.split("<!-- map -->").nth(1).expect("the README has a map between two <!-- map --> marks");
    for folder in ["src", "wit", "plugins", "tests"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let generated =
                ["target", "out", "node_modules", "lib.rs", "Cargo.lock", "Cargo.toml"].contains(&name.as_str());
            assert!(generated || map.contains(name.as_str()), "{folder}/{name} is not on the map of the README");
        }
    }
    for line in map.lines().filter_map(|line| line.trim().strip_prefix("| `")) {
        let path = line.split('`').next().unwrap();
        assert!(root().join(path).exists(), "the map names {path}, which is not there");
    }
}

/// The tables say of each promise which test shows it; a test that was renamed or went away would leave it standing.
#[test]
fn the_tests_that_tables_name_exist() {
    let mut tests = Vec::new();
    for path in all(&["src", "tests/suite"]) {
        let inside = path.strip_prefix(root().join("tests/suite")).or_else(|_| path.strip_prefix(root().join("src")));
        let parts = inside.unwrap().iter().map(|part| part.to_str().unwrap().trim_end_matches(".rs"));
        let module = parts.filter(|part| *part != "mod").collect::<Vec<_>>().join("::");
        let text = fs::read_to_string(&path).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let function = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
            if let Some(function) = function.filter(|_| std::mem::take(&mut is_test)) {
                tests.push(format!("{module}::{}", function.split('(').next().unwrap()));
            }
        }
    }
    for (page, mark) in
        [("README.md", "<!-- survives -->"), ("README.md", "<!-- secure -->"), ("docs/from-go.md", "<!-- sdks -->")]
    {
        let page = fs::read_to_string(root().join(page)).unwrap();
        let table = page.split(mark).nth(1).unwrap_or_else(|| panic!("a table between two {mark} marks"));
        check_rows(table, &tests);
    }
}

fn check_rows(table: &str, tests: &[String]) {
    let mut rows = 0;
    for row in table.lines().filter(|line| line.starts_with('|')).skip(2) {
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "this row names no test: {row}");
        for test in named {
            assert!(tests.iter().any(|found| found == test), "the table names the test {test}, which is not there");
        }
        rows += 1;
    }
    assert!(rows > 0, "the table has no rows");
}

#[test]
fn the_version_of_wasmtime_that_is_told_is_the_one_that_is_locked() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let expected = format!("name = \"wasmtime\"\nversion = \"{}\"\n", conveyor::driver::component::WASMTIME);
    assert!(lock.contains(&expected), "Cargo.lock has another wasmtime than driver::component::WASMTIME says");
}
