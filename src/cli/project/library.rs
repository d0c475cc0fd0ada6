//! The libraries for remote drivers, which a new one gets a copy of: its author can read and change all that runs.

use super::Language;
use super::templates::Source;

macro_rules! library {
    ($language:literal: $($file:literal),+) => {
        &[$((concat!("remote/", $file), include_str!(concat!("../../../plugins/remote/", $language, "/remote/", $file)))),+]
    };
}

const PYTHON: &[Source] =
    library!("python": "__init__.py", "command.py", "driver.py", "lines.py", "link.py", "wire.py");
const JAVASCRIPT: &[Source] =
    library!("javascript": "index.js", "index.d.ts", "command.js", "driver.js", "lines.js", "link.js", "wire.js");
const GO: &[Source] = &[
    ("go.sum", include_str!("../../../plugins/remote/go/go.sum")),
    ("remote/remote.go", include_str!("../../../plugins/remote/go/remote/remote.go")),
    ("remote/command.go", include_str!("../../../plugins/remote/go/remote/command.go")),
    ("remote/driver.go", include_str!("../../../plugins/remote/go/remote/driver.go")),
    ("remote/lines.go", include_str!("../../../plugins/remote/go/remote/lines.go")),
    ("remote/link.go", include_str!("../../../plugins/remote/go/remote/link.go")),
    ("remote/wire.go", include_str!("../../../plugins/remote/go/remote/wire.go")),
];

/// The one for a language; nothing, if its drivers are run by `conveyor driver exec`.
pub(super) fn of(language: Language) -> &'static [Source] {
    match language {
        Language::Python => PYTHON,
        Language::Js => JAVASCRIPT,
        Language::Go => GO,
        Language::Rust | Language::Ts | Language::C => &[],
    }
}
