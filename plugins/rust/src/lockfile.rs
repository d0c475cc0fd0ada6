//! From the text of a `Cargo.lock` to an [`Inventory`]. Knows nothing of components.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the later steps are told; the JSON of this is the data of the result.
#[derive(Debug, PartialEq, Serialize)]
pub struct Inventory {
    pub count: usize,
    pub packages: Vec<Package>,
    pub duplicates: Vec<Duplicate>,
}

#[derive(Debug, PartialEq, Serialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// Where the package comes from; none for the packages of the project itself.
    pub source: Option<String>,
    /// How many packages it depends on directly.
    pub dependencies: usize,
}

/// A package that is there in more than one version.
#[derive(Debug, PartialEq, Serialize)]
pub struct Duplicate {
    pub name: String,
    pub versions: Vec<String>,
}

/// What the resource asks for.
#[derive(Deserialize)]
pub struct Spec {
    pub lockfile: String,
}

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<LockedPackage>,
}

#[derive(Deserialize)]
struct LockedPackage {
    name: String,
    version: String,
    source: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// Reads the text of a lock file. The error is one line for people and names the line of the text.
pub fn parse(text: &str) -> Result<Inventory, String> {
    let lock: Lock = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        format!("the lock file cannot be read: line {}: {}", line_of(text, at), one_line(error.message()))
    })?;
    if lock.package.is_empty() {
        // Even a project without dependencies is itself a package of its lock file.
        return Err("the lock file cannot be read: line 1: it lists no package".to_owned());
    }
    let duplicates = duplicates(&lock.package);
    let packages: Vec<Package> = lock.package.into_iter().map(Package::from).collect();
    Ok(Inventory { count: packages.len(), packages, duplicates })
}

impl Inventory {
    /// One line for people.
    pub fn summary(&self) -> String {
        let own = self.packages.iter().filter(|package| package.source.is_none()).count();
        format!(
            "{} packages, {own} of them the project's own, {} in more than one version",
            self.count,
            self.duplicates.len()
        )
    }
}

impl From<LockedPackage> for Package {
    fn from(locked: LockedPackage) -> Self {
        Package {
            name: locked.name,
            version: locked.version,
            source: locked.source,
            dependencies: locked.dependencies.len(),
        }
    }
}

fn duplicates(packages: &[LockedPackage]) -> Vec<Duplicate> {
    let mut versions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(package.version.clone());
    }
    versions
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| Duplicate { name: name.to_owned(), versions })
        .collect()
}

/// The number, from 1, of the line that holds byte `at`.
fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"# made by cargo
version = 4

[[package]]
name = "app"
version = "0.1.0"
dependencies = ["syn 1.0.0", "syn 2.0.1"]

[[package]]
name = "syn"
version = "1.0.0"
source = "registry+index"
checksum = "00"

[[package]]
name = "syn"
version = "2.0.1"
source = "registry+index"
"#;

    #[test]
    fn packages_and_duplicates_are_listed() {
        let inventory = parse(LOCK).unwrap();
        assert_eq!(inventory.count, 3);
        assert_eq!(inventory.packages[0].dependencies, 2);
        assert_eq!(inventory.packages[0].source, None);
        assert_eq!(inventory.packages[2].source.as_deref(), Some("registry+index"));
        let versions = vec!["1.0.0".to_owned(), "2.0.1".to_owned()];
        assert_eq!(inventory.duplicates, [Duplicate { name: "syn".to_owned(), versions }]);
        assert_eq!(inventory.summary(), "3 packages, 1 of them the project's own, 1 in more than one version");
    }

    #[test]
    fn the_error_of_a_broken_text_names_its_line() {
        let error = parse("version = 4\n\n[[package]\nname = \"app\"\n").unwrap_err();
        assert!(error.starts_with("the lock file cannot be read: line 3: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn the_error_of_a_wrong_type_names_its_line() {
        let error = parse("version = 4\n[[package]]\nname = \"app\"\nversion = 1\n").unwrap_err();
        assert!(error.contains("line 4: "), "{error}");
    }

    #[test]
    fn a_text_without_packages_is_no_lock_file() {
        assert!(parse("").unwrap_err().contains("line 1"));
        assert!(parse("[dependencies]\nserde = \"1\"\n").unwrap_err().contains("no package"));
    }

    #[test]
    fn the_lock_file_of_this_workspace_is_read() {
        let inventory = parse(include_str!("../../Cargo.lock")).unwrap();
        assert!(inventory.packages.iter().any(|package| package.name == "lock-parse" && package.source.is_none()));
    }
}
