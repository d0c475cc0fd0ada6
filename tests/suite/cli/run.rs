//! Short forms of run ids.

use conveyor::cli::{Exit, run::choose};

const IDS: [&str; 3] = [
    "0192aaaa-0000-7000-8000-000000000003",
    "0192aaaa-0000-7000-8000-000000000002",
    "0192bbbb-0000-7000-8000-000000000001",
];

#[test]
fn ids_have_short_forms() {
    for (text, expected) in [
        ("@latest", Ok(IDS[0])),
        ("0192b", Ok(IDS[2])),
        ("0192B", Ok(IDS[2])),
        ("0192aaaa-0000-7000-8000-000000000002", Ok(IDS[1])),
        ("0192a", Err(Exit::Usage)),
        ("0193", Err(Exit::NotFound)),
        ("", Err(Exit::NotFound)),
    ] {
        assert_eq!(choose(text, &IDS).map_err(|error| error.exit()), expected, "{text}");
    }
    assert_eq!(choose("@latest", &[]).map_err(|error| error.exit()), Err(Exit::NotFound));
}
