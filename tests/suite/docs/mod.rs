//! The pages of `docs`: each is run from top to bottom, as its reader would. `docs/README.md` says what the words behind the
//! language of a block mean.

mod check;
mod page;
mod stage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use page::{Block, anchors, links, read};
use stage::Stage;

use crate::support::command::offline;

/// The blocks that are not run, by their first line, and why.
const NOT_RUN: [(&str, &str, &str); 1] = [(
    "quick-start.md",
    "cargo install --locked --path . --no-default-features",
    "an optimised build takes many minutes; the tests build the same sources with another profile",
)];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text_of(page: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(page)).unwrap()
}

/// Runs a page.
fn run(page: &str) {
    let (blocks, _) = read(page, &text_of(page));
    let mut stage = Stage::new(page);
    for block in &blocks {
        if block.says("stopped") {
            stage.stop();
        }
        match (block.language.as_str(), block.file()) {
            ("rust", Some(file)) if file.starts_with("tests/examples/") => equal(&root().join(file), page, block),
            ("toml", _) => {
                check::toml(block);
                if block.file() == Some("conveyor.toml") {
                    write(&mut stage, "conveyor.toml", page, block);
                }
            }
            ("bash" | "yaml" | "json" | "rust" | "python" | "javascript" | "typescript" | "go" | "c", Some(file)) => {
                write(&mut stage, file, page, block);
            }
            ("bash", None) if block.says("stays") => stage.start(block),
            ("bash", None) => stage.run(block),
            ("text", None) if block.says("output") => stage.expect(block),
            ("text", None) => assert!(is_listed(page, block), "{page}:{} is not run, and not listed", block.line),
            ("json", None) => check::json(block),
            ("yaml", None) => check::yaml(block),
            (language, _) => panic!("{page}:{}: nobody knows what to do with {language} {:?}", block.line, block.words),
        }
    }
    stage.stop();
}

fn is_listed(page: &str, block: &Block) -> bool {
    let first = block.text.lines().next().unwrap_or_default();
    NOT_RUN.iter().any(|&(listed, line, _)| (listed, line) == (page, first))
}

/// Writes a file of the page into the folder; one that is there must be the same.
fn write(stage: &mut Stage, file: &str, page: &str, block: &Block) {
    let path = stage.place().join(file);
    assert!(block.before.contains(&format!("`{file}`")), "{page}:{}: the text must name {file}", block.line);
    if path.exists() {
        equal(&path, page, block);
    } else {
        std::fs::write(path, stage.with_addresses(&block.text)).unwrap();
    }
}

fn equal(file: &Path, page: &str, block: &Block) {
    let there = std::fs::read_to_string(file).unwrap();
    assert_eq!(there.trim_end(), block.text.trim_end(), "{page}:{} and {} differ", block.line, file.display());
}

macro_rules! pages {
    ($($name:ident: $page:literal),+ $(,)?) => {
        const PAGES: &[&str] = &[$($page),+];

        $(#[test]
        fn $name() {
            run($page);
        })+
    };
}

pages! {
    index: "README.md",
    quick_start: "quick-start.md",
    concepts: "concepts.md",
    drivers: "drivers/README.md",
    rust: "drivers/rust.md",
    python: "drivers/python.md",
    javascript: "drivers/javascript.md",
    go: "drivers/go.md",
    c: "drivers/c.md",
    pipelines: "pipelines.md",
    from_go: "from-go.md",
    wire_protocol: "wire-protocol.md",
    embedding: "embedding.md",
}

/// With etcd, which a build without it lacks.
#[cfg(feature = "etcd")]
#[test]
fn production() {
    run("production.md");
}

/// Every Markdown file below a folder, relative to it.
fn markdown(folder: &Path, inside: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder.join(inside)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{inside}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            markdown(folder, &format!("{path}/"), found);
        } else if entry.path().extension().is_some_and(|extension| extension == "md") {
            found.insert(path);
        }
    }
}

#[test]
fn every_page_is_run_and_in_the_index() {
    let mut found = BTreeSet::new();
    markdown(&root().join("docs"), "", &mut found);
    let run: BTreeSet<String> = PAGES.iter().copied().chain(["production.md"]).map(str::to_owned).collect();
    assert_eq!(found, run);
    let index = text_of("README.md");
    for page in found.iter().filter(|page| *page != "README.md") {
        assert!(index.contains(&format!("({page})")), "{page} is not in the index");
    }
}

#[test]
fn what_is_listed_as_not_run_is_there_and_little() {
    for (page, line, why) in NOT_RUN {
        let (blocks, _) = read(page, &text_of(page));
        let there = blocks.iter().filter(|block| block.language == "text" && block.text.starts_with(line)).count();
        assert!(there == 1 && !why.is_empty(), "{page}: {line}");
    }
}

#[test]
fn links_lead_somewhere() {
    let mut files: BTreeSet<String> = BTreeSet::new();
    markdown(root(), "docs/", &mut files);
    files.insert("README.md".to_owned());
    for file in files {
        let path = root().join(&file);
        let (_, prose) = read(&file, &std::fs::read_to_string(&path).unwrap());
        for link in links(&prose).into_iter().filter(|link| !link.starts_with("http")) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let to: PathBuf = if target.is_empty() { path.clone() } else { path.with_file_name("").join(target) };
            assert!(to.exists(), "{file}: {link} leads nowhere");
            if !anchor.is_empty() {
                let (_, there) = read(target, &std::fs::read_to_string(&to).unwrap());
                assert!(anchors(&there).iter().any(|known| known == anchor), "{file}: {link} has no such heading");
            }
        }
    }
}

/// What the quick start promises.
#[test]
fn a_first_driver_in_python_takes_fewer_than_five_commands() {
    let text = text_of("quick-start.md");
    let section = text.split("\n## ").find(|section| section.starts_with("A first driver")).unwrap();
    let (blocks, _) = read("quick-start.md", section);
    let commands: usize =
        blocks.iter().filter(|block| block.language == "bash").map(|block| block.text.lines().count()).sum();
    assert!(commands < 5, "{commands} commands");
    let last = blocks.last().unwrap();
    assert!(last.says("output") && last.text.contains("succeeded"), "the section ends with a step that succeeded");
}

/// The programs of the embedding page, as a program of its reader.
#[test]
fn the_examples_of_the_embedding_page_run() {
    let folder = Path::new(env!("CARGO_BIN_EXE_conveyor")).with_file_name("examples");
    let mut stage = Stage::new("the examples");
    let command = |text: String, words: &[&str]| Block {
        language: "bash".to_owned(),
        words: words.iter().map(|&word| word.to_owned()).collect(),
        text,
        line: 0,
        before: String::new(),
    };
    stage.start(&command(format!("{}/serve kept", folder.display()), &["stays"]));
    let letter = r"
printf 'kind: ResourceDefinition\nname: letter\nschema: {}\n---\nkind: Resource\nname: one\nresource: letter\nspec: {}\n' >letter.yaml
conveyor apply -f letter.yaml
conveyor run watch @latest";
    stage.run(&command(letter.to_owned(), &[]));
    stage.expect(&command("step stamp (stamp) succeeded, …: stamped".to_owned(), &[]));
    stage.stop();
    stage.start(&command("conveyor up --data kept --nats nats://127.0.0.1:4222".to_owned(), &["stays"]));
    stage.run(&command("conveyor resource get letter one".to_owned(), &[]));
    stage.start(&command(format!("{}/remote nats://127.0.0.1:4222", folder.display()), &["stays"]));
    let again = r"sed -i 's/spec: {}/spec: { to: shelf }/' letter.yaml
conveyor apply -f letter.yaml
conveyor run watch @latest";
    stage.run(&command(again.to_owned(), &[]));
    stage.expect(&command("step deploy (deploy) succeeded, …: deployed".to_owned(), &[]));
    stage.stop();
}

/// A command that a sentence or a table names exists, with its flags.
#[test]
fn commands_that_are_named_exist() {
    let mut files: BTreeSet<String> = BTreeSet::new();
    markdown(root(), "docs/", &mut files);
    files.insert("README.md".to_owned());
    let mut checked = 0;
    for file in files {
        let (_, prose) = read(&file, &std::fs::read_to_string(root().join(&file)).unwrap());
        for span in prose.lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
            let words: Vec<&str> = span.split_whitespace().map(|word| word.trim_matches(['[', ']'])).collect();
            let words = match words.as_slice() {
                ["conveyor", rest @ ..] if !rest.is_empty() => rest,
                ["driver" | "run", ..] if words.len() > 1 => words.as_slice(),
                _ => continue,
            };
            let ours: Vec<&str> = words.iter().copied().take_while(|word| *word != "--").collect();
            let named = ours.iter().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()));
            let said = offline(&named.copied().chain(["--help"]).collect::<Vec<_>>(), &[]);
            assert_eq!(said.code, 0, "{file}: there is no `{span}`: {}", said.err);
            for flag in ours.iter().filter(|word| word.starts_with('-')) {
                assert!(said.out.contains(flag), "{file}: `{span}`: there is no {flag}");
            }
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked} commands");
}
