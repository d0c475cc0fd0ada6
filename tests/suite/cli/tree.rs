//! The tree of commands.

use clap::{CommandFactory as _, Parser as _};
use conveyor::cli::Cli;

#[test]
fn the_tree_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn help_lists_the_exit_codes() {
    let help = Cli::command().render_help().to_string();
    for code in ["0", "1", "2", "3", "5", "7", "10", "130"] {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(&format!("{code}  "))),
            "{code} is not in\n{help}"
        );
    }
}

#[test]
fn commands_are_understood() {
    for line in [
        "up --listen 127.0.0.1:0 --data d --nats nats://127.0.0.1:4222 --config c.toml",
        "dev drivers other -f a.yaml --temporary --listen 127.0.0.1:0",
        "apply -f a.yaml -f b.yaml",
        "apply -f a.yaml b.json -",
        "driver push d.wasm --name d --resources a,b",
        "definition list -o json",
        "resource get app shop --server http://127.0.0.1:1",
        "run list --pipeline p --status failed --resource app/shop --limit 3",
        "run list --since 2h --until 2026-01-01 --label a=b --label c=d --text broken --all",
        "run rerun 0192 --from start --idempotency-key k",
        "apply -f a.yaml --idempotency-key k",
        "run logs @latest -f --driver d",
        "run watch 0192",
        "driver exec --name d --resources a,b --nats nats://127.0.0.1:4222 --env A --env B=c --time-out 90s -- make -j 2",
    ] {
        let words = ["conveyor"].into_iter().chain(line.split(' '));
        assert!(Cli::try_parse_from(words).is_ok(), "{line}");
    }
}

#[test]
fn slips_are_usage_errors() {
    for line in [
        "",
        "upp",
        "apply",
        "driver push a b",
        "run list --status done",
        "up --listen here",
        "dev --temporary --data d",
    ] {
        let words = ["conveyor"].into_iter().chain(line.split_whitespace());
        let error = Cli::try_parse_from(words).map(|_| ()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}
