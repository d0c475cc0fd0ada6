//! Whether bytes are a component that can be a driver here. Only reads them: nothing is compiled, nothing runs.

use wasmparser::{ComponentTypeRef, Parser, Payload, TypeBounds, Validator};
use wasmtime::Engine;

use super::contract::VERSIONS;
use super::engine::FEATURES;
use crate::config;
use crate::model::Digest;

/// The versions of the contract `conveyor:driver` that components may be built against, newest first.
pub fn contracts() -> impl Iterator<Item = &'static str> {
    VERSIONS.iter().map(|(version, _)| *version)
}

/// The interface of every version, without it.
const RECONCILER: &str = "conveyor:driver/reconciler@";
/// What a component may import, each name without the last part of its version: as wasmtime does, any patch release will
/// do. The WASI interfaces are those that `wasmtime_wasi::p2` links and, of `wasmtime_wasi_http`, those
/// of a client.
const OFFERED: [&str; 35] = [
    "conveyor:driver/driver-types@0.1",
    "conveyor:driver/driver-types@0.2",
    "conveyor:driver/host-log@0.1",
    "conveyor:driver/host-log@0.2",
    "conveyor:driver/run-progress@0.2",
    "conveyor:driver/run-values@0.2",
    "wasi:cli/environment@0.2",
    "wasi:cli/exit@0.2",
    "wasi:cli/stderr@0.2",
    "wasi:cli/stdin@0.2",
    "wasi:cli/stdout@0.2",
    "wasi:cli/terminal-input@0.2",
    "wasi:cli/terminal-output@0.2",
    "wasi:cli/terminal-stderr@0.2",
    "wasi:cli/terminal-stdin@0.2",
    "wasi:cli/terminal-stdout@0.2",
    "wasi:clocks/monotonic-clock@0.2",
    "wasi:clocks/wall-clock@0.2",
    "wasi:filesystem/preopens@0.2",
    "wasi:filesystem/types@0.2",
    "wasi:http/outgoing-handler@0.2",
    "wasi:http/types@0.2",
    "wasi:io/error@0.2",
    "wasi:io/poll@0.2",
    "wasi:io/streams@0.2",
    "wasi:random/insecure-seed@0.2",
    "wasi:random/insecure@0.2",
    "wasi:random/random@0.2",
    "wasi:sockets/instance-network@0.2",
    "wasi:sockets/ip-name-lookup@0.2",
    "wasi:sockets/network@0.2",
    "wasi:sockets/tcp-create-socket@0.2",
    "wasi:sockets/tcp@0.2",
    "wasi:sockets/udp-create-socket@0.2",
    "wasi:sockets/udp@0.2",
];
const WASM: &[u8] = b"\0asm";
const ELF: &[u8] = b"\x7fELF";

/// What a component says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The version of `conveyor:driver` that it exports.
    pub wit_version: String,
    /// The names of its imports.
    pub imports: Vec<String>,
    /// The names of its exports.
    pub exports: Vec<String>,
    /// In bytes.
    pub size: u64,
    /// Names its bytes.
    pub digest: Digest,
}

/// Why bytes are not accepted as a component, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There are no bytes.
    #[error("the upload is empty; send the bytes of a .wasm component")]
    Empty,
    /// Machine code, which could do anything.
    #[error("precompiled code is never accepted; upload the .wasm component")]
    Precompiled,
    /// WAT.
    #[error("this is WebAssembly text; turn it into a binary component with `wasm-tools parse`")]
    Text,
    /// Anything else.
    #[error("this is not WebAssembly; upload a .wasm component")]
    NotWasm,
    /// A module of core WebAssembly.
    #[error(
        "this is a core WebAssembly module, not a component; build for wasm32-wasip2, or name it as `core` in a \
         driver.toml, from which `conveyor driver build` makes a component"
    )]
    CoreModule,
    /// The bytes are damaged, or use features that are off.
    #[error("the component is not valid: {problem} (at offset {offset:#x})")]
    Invalid {
        /// What the validator says.
        problem: String,
        /// Where, in bytes.
        offset: usize,
    },
    /// It would keep the compiler busy for too long.
    #[error("the component has {functions} functions; component.functions allows {most}")]
    TooManyFunctions {
        /// How many it has.
        functions: u32,
        /// How many it may have.
        most: u32,
    },
    /// It would lead the compiler astray.
    #[error("components lie inside components more than {0} deep (component.nesting): compose them side by side")]
    TooDeep(u32),
    /// It is a component, but not a driver.
    #[error("the component does not export {}; it exports {}", supported(), listed(.exports))]
    NotADriver {
        /// What it exports.
        exports: Vec<String>,
    },
    /// It is a driver of another version.
    #[error("the component exports {export}, a version that this host does not speak; supported: {}", supported())]
    OtherVersion {
        /// What it exports.
        export: String,
    },
    /// It wants what the host does not offer.
    #[error("the component imports what this host does not offer: {}{}", listed(.imports), hint(.imports))]
    ForeignImports {
        /// What is not offered.
        imports: Vec<String>,
    },
    /// It says that it fits, but its types are others.
    #[error("the component does not fit the contract conveyor:driver: {0}")]
    NotLinkable(String),
    /// It cannot even begin within the bounds of its driver.
    #[error("the component begins with {what}: raise {limit} in the limits of the driver, or build it with less")]
    TooLarge {
        /// What it needs, and what there is.
        what: String,
        /// The limit to raise.
        limit: String,
    },
    /// Compiling it takes more than it may.
    #[error("the component cannot be compiled here: {0}")]
    CompilerBound(String),
    /// There is no compiler.
    #[error("the compiler of components cannot be started: {0}")]
    CompilerBroken(String),
    /// The compiler does not take it.
    #[error("the component cannot be compiled: {0}")]
    NotCompilable(String),
    /// The process is about to end.
    #[error("the host stopped before the component was checked; try again")]
    Interrupted,
}

/// Checks `bytes` from the outside in, within the bounds of a default configuration.
///
/// # Errors
/// The first [`Refused`] that holds.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, Refused> {
    inspect_within(bytes, &config::Component::default())
}

/// The same within these bounds.
///
/// # Errors
/// The first [`Refused`] that holds.
pub fn inspect_within(bytes: &[u8], bounds: &config::Component) -> Result<Inspection, Refused> {
    check_kind(bytes)?;
    Validator::new_with_features(FEATURES).validate_all(bytes).map_err(invalid)?;
    let surface = Surface::read(bytes, bounds.nesting)?;
    if surface.functions > bounds.functions {
        return Err(Refused::TooManyFunctions { functions: surface.functions, most: bounds.functions });
    }
    let wit_version = check_exports(&surface.exports)?;
    let foreign: Vec<String> = surface.needed.into_iter().filter(|name| !is_offered(name)).collect();
    if !foreign.is_empty() {
        return Err(Refused::ForeignImports { imports: foreign });
    }
    Ok(Inspection {
        wit_version,
        imports: surface.imports,
        exports: surface.exports,
        size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        digest: Digest::of(bytes),
    })
}

/// What a component shows to the outside.
#[derive(Default)]
struct Surface {
    imports: Vec<String>,
    /// The imports that somebody must provide; a name for a type needs nobody.
    needed: Vec<String>,
    exports: Vec<String>,
    functions: u32,
}

impl Surface {
    fn read(bytes: &[u8], nesting: u32) -> Result<Self, Refused> {
        let mut surface = Self::default();
        // Modules and components inside have imports and exports as well, which concern nobody here.
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(invalid)? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                    depth += 1;
                    if depth > nesting {
                        return Err(Refused::TooDeep(nesting));
                    }
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::FunctionSection(functions) => {
                    surface.functions = surface.functions.saturating_add(functions.count());
                }
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        let import = import.map_err(invalid)?;
                        surface.imports.push(import.name.name.to_owned());
                        if !matches!(import.ty, ComponentTypeRef::Type(TypeBounds::Eq(_))) {
                            surface.needed.push(import.name.name.to_owned());
                        }
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        surface.exports.push(export.map_err(invalid)?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(surface)
    }
}

fn check_kind(bytes: &[u8]) -> Result<(), Refused> {
    if bytes.is_empty() {
        return Err(Refused::Empty);
    }
    if bytes.starts_with(ELF) || Engine::detect_precompiled(bytes).is_some() {
        return Err(Refused::Precompiled);
    }
    if Parser::is_core_wasm(bytes) {
        return Err(Refused::CoreModule);
    }
    if bytes.starts_with(WASM) {
        return Ok(());
    }
    Err(if is_text(bytes) { Refused::Text } else { Refused::NotWasm })
}

/// Whether it looks like WAT: that begins with a parenthesis or a comment.
fn is_text(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    [b"(component".as_slice(), b"(module", b"(;", b";;"].iter().any(|start| text.starts_with(start))
}

/// The version of the contract that is exported.
fn check_exports(exports: &[String]) -> Result<String, Refused> {
    if let Some((version, _)) = VERSIONS.iter().find(|(_, name)| exports.iter().any(|export| export == name)) {
        return Ok((*version).to_owned());
    }
    Err(match exports.iter().find(|export| export.starts_with(RECONCILER)) {
        Some(export) => Refused::OtherVersion { export: export.clone() },
        None => Refused::NotADriver { exports: exports.to_vec() },
    })
}

/// Whether the linker would find it: the name and the first two numbers of the version decide, and a pre-release fits
/// nothing but itself.
fn is_offered(import: &str) -> bool {
    let release = import.split_once('+').map_or(import, |(release, _build)| release);
    let Some((series, patch)) = release.rsplit_once('.') else { return false };
    OFFERED.contains(&series) && !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit())
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn invalid(error: wasmparser::BinaryReaderError) -> Refused {
    Refused::Invalid { problem: error.message().to_owned(), offset: error.offset() }
}

fn supported() -> String {
    VERSIONS.map(|(_, name)| name).join(" or ")
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// Advice for what the usual toolchains import without being asked.
fn hint(imports: &[String]) -> &'static str {
    if imports.iter().any(|import| import.starts_with("wasi:http/")) {
        "; drivers send requests and serve none: build without the export of a server, for instance with `jco \
         componentize --disable fetch-event`"
    } else {
        ""
    }
}
