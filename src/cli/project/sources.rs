//! What `conveyor driver new` writes of drivers that are written against a library of ours: the library itself, which each
//! driver has a copy of, and the templates in TypeScript, Go and C.

use super::Tool;
use super::templates::{Language, Recipe, Source, cc, componentize_qjs, node, tool};

macro_rules! template {
    ($file:literal) => {
        include_str!(concat!("../../../plugins/templates/", $file))
    };
}

macro_rules! library {
    ($file:literal) => {
        include_str!(concat!("../../../plugins/lib/", $file))
    };
}

pub(super) const WIT: Source = ("wit/driver.wit", include_str!("../../../wit/driver.wit"));
pub(super) const CASE: Source = ("cases/greets.json", template!("case.json"));
const TS: &[Source] = &[
    ("driver.ts", template!("typescript/driver.ts")),
    ("reconcile.ts", template!("typescript/reconcile.ts")),
    ("reconcile.test.ts", template!("typescript/reconcile.test.ts")),
    ("tsconfig.json", template!("typescript/tsconfig.json")),
    ("package.json", template!("typescript/package.json")),
    (".gitignore", "/build\n/node_modules\n*.wasm\n"),
    WIT,
    CASE,
];
const TS_REMOTE: &[Source] = &[
    ("main.ts", template!("typescript/main.ts")),
    ("reconcile.ts", template!("typescript/reconcile.ts")),
    ("reconcile.test.ts", template!("typescript/reconcile.test.ts")),
    ("tsconfig.json", template!("typescript/tsconfig.json")),
    ("package.json", template!("typescript/package.remote.json")),
    (".gitignore", "/build\n/node_modules\n"),
];
const GO: &[Source] = &[
    ("go.mod", template!("go/component/go.mod.in")),
    ("main.go", template!("go/component/main.go")),
    ("reconcile.go", template!("go/component/reconcile.go")),
    ("reconcile_test.go", template!("go/component/reconcile_test.go")),
    (".gitignore", "*.wasm\n"),
    WIT,
    CASE,
];
const C: &[Source] = &[
    ("reconcile.c", template!("c/component/reconcile.c")),
    ("test.c", template!("c/component/test.c")),
    (".gitignore", "*.wasm\n/test\n"),
    WIT,
    CASE,
];

/// A driver in TypeScript.
pub(super) fn typescript(remote: bool) -> Recipe {
    const TSC: &str = "node_modules/.bin/tsc";
    let qjs = "node_modules/.bin/componentize-qjs --sync --opt-size --wit wit --world driver";
    let elsewhere = Recipe {
        build: Some(TSC.to_owned()),
        // Named, because the test runner of newer versions of Node.js would run the sources as well.
        test: "node --test build/*.test.js",
        component: None,
        core: None,
        run: Some("node build/main.js".to_owned()),
        tools: vec![node(), compiler_of_typescript()],
        files: TS_REMOTE,
    };
    if remote {
        return elsewhere;
    }
    Recipe {
        build: Some(format!("{TSC} && {qjs} --js build/driver.js --output driver.wasm")),
        component: Some("driver.wasm".to_owned()),
        run: None,
        tools: vec![node(), compiler_of_typescript(), componentize_qjs()],
        files: TS,
        ..elsewhere
    }
}

/// A component in Go.
pub(super) fn go() -> Recipe {
    let build = "GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w' -o core.wasm .";
    from_core(build, "go test .", vec![go_of_components()], GO)
}

/// A component in C.
pub(super) fn c() -> Recipe {
    let build = "${WASI_CC:-python-zig cc -target wasm32-wasi} -mexec-model=reactor -Os -s -std=c11 -Wall -Wextra \
                 -Wl,-z,stack-size=65536 -o core.wasm reconcile.c conveyor.c json.c";
    let test = "cc -std=c11 -Wall -Wextra -o test test.c reconcile.c conveyor.c json.c && ./test";
    from_core(build, test, vec![wasi_cc(), cc()], C)
}

/// A component whose compiler makes a core module.
fn from_core(build: &str, test: &'static str, tools: Vec<Tool>, files: &'static [Source]) -> Recipe {
    Recipe {
        build: Some(build.to_owned()),
        test,
        component: Some("driver.wasm".to_owned()),
        core: Some("core.wasm"),
        run: None,
        tools,
        files,
    }
}

fn compiler_of_typescript() -> Tool {
    tool("TypeScript", "test -d node_modules/typescript", "npm install, in the driver's folder")
}

/// The first Go that lets a program for WASI export functions is 1.24.
fn go_of_components() -> Tool {
    let probe = "printf '%s\\n' go1.24 \"$(go env GOVERSION)\" | sort -CV";
    tool("Go 1.24 or newer", probe, "see https://go.dev/dl")
}

/// One that knows WASI: zig, because one command installs it, or that of wasi-sdk.
fn wasi_cc() -> Tool {
    let install = "pip install ziglang==0.17.1, or let WASI_CC name that of wasi-sdk, such as /opt/wasi-sdk/bin/clang";
    tool("a C compiler for WebAssembly", "${WASI_CC:-python-zig cc} --version", install)
}

/// The part of a library that is the same wherever the driver runs, and the border to the host of components.
struct Library {
    everywhere: &'static [Source],
    component: &'static [Source],
}

const RUST: Library = Library {
    everywhere: &[
        ("conveyor-driver/Cargo.toml", library!("rust/Cargo.toml")),
        ("conveyor-driver/src/lib.rs", library!("rust/src/lib.rs")),
        ("conveyor-driver/src/elsewhere.rs", library!("rust/src/elsewhere.rs")),
        ("conveyor-driver/src/log.rs", library!("rust/src/log.rs")),
        ("conveyor-driver/src/request.rs", library!("rust/src/request.rs")),
        ("conveyor-driver/src/result.rs", library!("rust/src/result.rs")),
    ],
    component: &[
        ("conveyor-driver/src/component.rs", library!("rust/src/component.rs")),
        ("conveyor-driver/wit/driver.wit", WIT.1),
    ],
};
const PYTHON: Library = Library {
    everywhere: &[("conveyor/__init__.py", library!("python/conveyor/__init__.py"))],
    component: &[("conveyor/component.py", library!("python/conveyor/component.py"))],
};
const JS: Library = Library {
    everywhere: &[("conveyor/driver.js", library!("javascript/driver.js"))],
    component: &[("conveyor/component.js", library!("javascript/component.js"))],
};

/// The library of a new driver.
pub(super) fn library(language: Language, remote: bool) -> Vec<Source> {
    let Library { everywhere, component } = match (language, remote) {
        (Language::Rust, _) => RUST,
        (Language::Python, _) => PYTHON,
        (Language::Js | Language::Ts, _) => JS,
        (Language::Go, false) => Library {
            everywhere: &[
                ("conveyor/conveyor.go", library!("go/conveyor.go")),
                ("conveyor/elsewhere.go", library!("go/elsewhere.go")),
            ],
            component: &[("conveyor/component.go", library!("go/component.go"))],
        },
        (Language::C, false) => Library {
            everywhere: &[("conveyor.h", library!("c/conveyor.h")), ("json.c", library!("c/json.c"))],
            component: &[("conveyor.c", library!("c/conveyor.c"))],
        },
        (Language::Go | Language::C, true) => Library { everywhere: &[], component: &[] },
    };
    let component = if remote { &[] } else { component };
    [everywhere, component].concat()
}
