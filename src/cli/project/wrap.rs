//! From a core module, which is what the compilers of C and Go make, to the component that a driver is.
//!
//! What such a module calls of WASI preview 1 is made from what every driver may import, by the adapter in `wrap.wat`.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{PackageId, Resolve};

use super::super::Error;
use super::Project;

const ADAPTER: &str = include_str!("wrap.wat");
const ADAPTER_WIT: &str = include_str!("wrap.wit");
/// The module that programs for WASI preview 1 import.
const PREVIEW: &str = "wasi_snapshot_preview1";

/// Makes the component of a driver whose build makes a core module; does nothing for others.
pub(super) fn wrap(project: &Project, folder: &Path) -> Result<(), Error> {
    let (Some(core), Some(component)) = (&project.core, &project.component) else {
        return Ok(());
    };
    let (core, wit) = (folder.join(core), folder.join(&project.wit));
    let module = std::fs::read(&core).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::NotFound {
            what: format!("the build did not make {}", core.display()),
            fix: format!("let `build` of {} write the file that `core` names", super::FILE),
        },
        _ => Error::File { file: core.display().to_string(), source },
    })?;
    let contract = Contract::read(&wit).map_err(|problem| Error::Usage {
        what: format!("the contract in {} cannot be used: {problem}", wit.display()),
        fix: "compare it with that of a driver that `conveyor driver new` writes".to_owned(),
    })?;
    let bytes = contract.component(module).map_err(|problem| Error::Usage {
        what: format!("{} cannot be made a driver: {problem}", core.display()),
        fix: "let it import and export what the contract says, as a driver that `conveyor driver new` writes does"
            .to_owned(),
    })?;
    let component = folder.join(component);
    std::fs::write(&component, bytes).map_err(|source| Error::File { file: component.display().to_string(), source })
}

/// The WIT of a driver's folder.
struct Contract {
    resolve: Resolve,
    package: PackageId,
}

impl Contract {
    fn read(folder: &Path) -> Result<Self, String> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_path(folder).map_err(told)?;
        Ok(Self { resolve, package })
    }

    fn component(mut self, mut module: Vec<u8>) -> Result<Vec<u8>, String> {
        let world = self.resolve.select_world(&[self.package], Some("driver")).map_err(told)?;
        embed_component_metadata(&mut module, &self.resolve, world, StringEncoding::UTF8).map_err(told)?;
        let adapter = self.adapter()?;
        let encoder = ComponentEncoder::default().module(&module).map_err(told)?;
        let encoder = encoder.adapter(PREVIEW, &adapter).map_err(told)?;
        encoder.validate(true).encode().map_err(told)
    }

    /// The adapter, which logs by the same version of the contract as the driver.
    fn adapter(&mut self) -> Result<Vec<u8>, String> {
        let name = self.resolve.packages.get(self.package).map(|package| package.name.clone());
        let version = name.and_then(|name| name.version).ok_or("its package has no version")?.to_string();
        let wit = ADAPTER_WIT.replace("DRIVER", &version);
        let package = self.resolve.push_str("wrap.wit", &wit).map_err(told)?;
        let world = self.resolve.select_world(&[package], Some("adapter")).map_err(told)?;
        let mut adapter = wat::parse_str(ADAPTER.replace("DRIVER", &version)).map_err(told)?;
        embed_component_metadata(&mut adapter, &self.resolve, world, StringEncoding::UTF8).map_err(told)?;
        Ok(adapter)
    }
}

/// An error with its causes, in one line.
fn told(error: impl std::fmt::Display) -> String {
    format!("{error:#}")
}
