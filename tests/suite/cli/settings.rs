//! Where the configuration comes from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use conveyor::cli::settings::{Error, Flags, load};
use conveyor::cli::show_config::to_toml;
use conveyor::config::Config;

/// Loads with this `conveyor.toml` (none if empty) and these variables.
fn with(file: &str, variables: &[(&str, &str)], flags: &Flags) -> Result<Config, Error> {
    let unreadable = |source| Error::Unreadable { path: PathBuf::from("a temporary folder"), source };
    let folder = tempfile::tempdir().map_err(unreadable)?;
    if !file.is_empty() {
        std::fs::write(folder.path().join("conveyor.toml"), file).map_err(unreadable)?;
    }
    let environment: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(flags, &environment, folder.path())
}

#[test]
fn each_layer_stands_above_the_one_before() {
    let file = "listen = \"127.0.0.1:1\"\ndata = \"file\"\n[component]\nmemory_bytes = 5\ncache = 7";
    let variables = [
        ("CONVEYOR_LISTEN", "127.0.0.1:2"),
        ("CONVEYOR_COMPONENT__MEMORY_BYTES", "6"),
        ("CONVEYOR_NATS", "nats://127.0.0.1:4222"),
        ("CONVEYOR_DATA", ""),
        ("HOME", "/root"),
    ];
    let flags = Flags { listen: Some("127.0.0.1:3".parse().unwrap()), ..Flags::default() };
    let config = with(file, &variables, &flags).unwrap();
    assert_eq!(config.listen.port(), 3, "a flag");
    assert_eq!(config.component.memory_bytes, 6, "a variable");
    assert_eq!(config.nats.as_deref(), Some("nats://127.0.0.1:4222"), "a variable for what has no default");
    assert_eq!(config.data, PathBuf::from("file"), "an empty variable is none");
    assert_eq!(config.component.cache, 7, "the file");
    assert_eq!(config.store, Config::default().store, "the defaults");
}

#[test]
fn nothing_at_all_is_the_default() {
    let variables =
        [("CONVEYOR_SERVER", "x"), ("CONVEYOR_CONFIG", "x"), ("CONVEYOR_LOG", "debug"), ("CONVEYOR_PYTHON", "python3")];
    assert_eq!(with("", &variables, &Flags::default()).unwrap(), Config::default());
}

#[test]
fn wrong_settings_are_named_with_their_origin() {
    let none: &[(&str, &str)] = &[];
    for (file, variables, parts) in [
        ("colour = 1", none, ["unknown setting \"colour\"", "conveyor.toml"]),
        ("[component]\nmemory = 1", none, ["unknown setting \"component.memory\"", "conveyor.toml"]),
        ("[component]\nmemory_bytes = \"much\"", none, ["\"component.memory_bytes\"", "string \"much\""]),
        ("[component]\nmemory_bytes = \"5\"", none, ["\"component.memory_bytes\"", "string \"5\""]),
        ("[component]\nmemory_bytes = -1", none, ["\"component.memory_bytes\"", "-1"]),
        ("component = 3", none, ["\"component\"", "3"]),
        ("listen = \"here\"", none, ["\"listen\"", "socket address"]),
        ("data = 3", none, ["\"data\"", "3"]),
        ("listen = ", none, ["conveyor.toml is not TOML", "line 1"]),
        ("", &[("CONVEYOR_COLOUR", "1")], ["unknown setting \"colour\"", "CONVEYOR_COLOUR"]),
        ("", &[("CONVEYOR_COMPONENT__X", "1")], ["unknown setting \"component.x\"", "CONVEYOR_COMPONENT__X"]),
        ("", &[("CONVEYOR_LISTEN__X", "1")], ["unknown setting \"listen.x\"", "CONVEYOR_LISTEN__X"]),
        ("", &[("CONVEYOR_COMPONENT__CACHE", "ten")], ["CONVEYOR_COMPONENT__CACHE", "string \"ten\""]),
        ("", &[("CONVEYOR_COMPONENT__CACHE", "-1")], ["CONVEYOR_COMPONENT__CACHE", "-1"]),
        ("", &[("CONVEYOR_COMPONENT", "1")], ["CONVEYOR_COMPONENT", "component"]),
        ("", &[("CONVEYOR_", "1")], ["unknown setting \"\"", "CONVEYOR_"]),
    ] {
        let error = with(file, variables, &Flags::default()).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{file}{variables:?}: {part} is not in: {error}");
        }
    }
}

#[test]
fn a_text_that_looks_like_a_number_stays_a_text() {
    let config = with("", &[("CONVEYOR_DATA", "2026")], &Flags::default()).unwrap();
    assert_eq!(config.data, PathBuf::from("2026"));
    let config = with("", &[("CONVEYOR_NATS", "42")], &Flags::default()).unwrap();
    assert_eq!(config.nats.as_deref(), Some("42"));
}

#[test]
fn a_file_that_was_asked_for_must_exist() {
    let flags = Flags { file: Some(PathBuf::from("/nowhere/x.toml")), ..Flags::default() };
    let error = with("", &[], &flags).unwrap_err();
    assert!(matches!(&error, Error::Unreadable { .. }), "{error}");
    assert!(error.fix().is_some());
}

#[test]
fn the_printed_configuration_can_be_read_again() {
    let config = Config { nats: Some("nats://a,b \"c\"".to_owned()), ..Config::default() };
    for config in [config, Config::default()] {
        assert_eq!(with(&to_toml(&config), &[], &Flags::default()).unwrap(), config);
    }
}
