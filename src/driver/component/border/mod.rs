//! The border between a guest and the world: what a call may reach, as the operator, the driver's grant and its step's
//! grant say alike.
//!
//! Everything that leaves the host passes here, and what is refused is told to the guest, to the log of the run and to
//! the record of uses. This module decides nothing itself: [`Effective`] does.

mod body;
mod connect;
mod egress;
mod files;
mod folders;
mod noted;
mod resolve;
mod secrets;
mod taped;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::ClientConfig;
use wasmtime_wasi::WasiCtxBuilder;

pub(super) use egress::Egress;
pub(super) use files::Places;
pub(super) use noted::link;
pub use resolve::{Resolver, SystemResolver};
pub(super) use secrets::Secrets;

use super::output::Output;
use crate::config::Capabilities;
use crate::driver::{Failure, Level, Request, Tape, UseLog};
use crate::model::{Access, Effective, Grant, Invalid, RunId, Used};
use folders::Mount;

/// What all calls of a host have in common.
#[derive(Debug)]
pub(super) struct Border {
    maximum: Arc<Grant>,
    config: Capabilities,
    resolver: Arc<dyn Resolver>,
    /// The folder of the scratch folders.
    scratch: Option<PathBuf>,
    /// What is trusted; read when it is first needed, since many a host never connects to anything.
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
}

/// What one call may reach.
#[derive(Debug)]
pub(super) struct Granted {
    border: Arc<Border>,
    effective: Arc<Effective>,
    mounts: Vec<Mount>,
    env: Vec<(String, String)>,
    pub secrets: Arc<Secrets>,
    run: RunId,
    uses: UseLog,
    tape: Tape,
}

impl Border {
    /// A border with the operator's maximum.
    pub(super) fn new(
        config: &Capabilities,
        resolver: Arc<dyn Resolver>,
        scratch: Option<PathBuf>,
    ) -> Result<Arc<Self>, Invalid> {
        config.validate()?;
        let maximum = Arc::new(config.maximum());
        Ok(Arc::new(Self { maximum, config: config.clone(), resolver, scratch, tls: OnceLock::new() }))
    }

    /// What a call of a driver with this grant may reach; its folders are there and its secrets read.
    pub(super) async fn grant(self: &Arc<Self>, driver: Arc<Grant>, request: &Request) -> Result<Granted, Failure> {
        let effective = Effective { maximum: self.maximum.clone(), driver, step: request.grant.clone() };
        let mounts = folders::mounts(self, effective.folders(), request).await?;
        let secrets = Arc::new(Secrets::read(effective.secrets(), &self.config).await?);
        let env = effective.env();
        let (run, uses, tape) = (request.run, request.uses.clone(), request.tape.clone());
        Ok(Granted { border: self.clone(), effective: Arc::new(effective), mounts, env, secrets, run, uses, tape })
    }

    /// The folder of the scratch folders.
    pub(super) fn scratch(&self) -> Option<&Path> {
        self.scratch.as_deref()
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        self.tls.get_or_init(|| connect::tls(self.config.roots.as_deref())).clone()
    }
}

impl Granted {
    /// Gives the guest its variables and folders.
    pub(super) fn furnish(&self, builder: &mut WasiCtxBuilder) -> Result<(), Failure> {
        builder.envs(&self.env);
        for (variable, placeholder) in self.secrets.variables() {
            builder.env(variable, placeholder);
        }
        folders::open(&self.mounts, builder)
    }

    /// The guest asked for its variables.
    pub(super) fn note_env(&self) {
        let secrets = self.secrets.variables().map(|(variable, _)| variable);
        let names = self.env.iter().map(|(name, _)| name.as_str());
        let names = names.filter(|name| !secrets.clone().any(|one| one == *name));
        for name in names {
            self.uses.note(Used::Env { name: name.to_owned() }, false, self.run);
        }
    }

    /// The guest did something in a folder, or failed to. A failure to write is a refusal where writing is not granted; any
    /// other is between the guest and the file.
    pub(super) async fn note_file(&self, name: &str, access: Access, failed: bool, output: &Output) {
        let granted = self.mounts.iter().find(|mount| mount.name == name).map(|mount| mount.access);
        let refused = failed && granted.is_none_or(|granted| granted < access);
        if failed && !refused {
            return;
        }
        self.uses.note(Used::Folders { name: name.to_owned(), access }, refused, self.run);
        if refused {
            let refusal = self.effective.folder_refused(name, access);
            output.log(Level::Warn, &format!("refused: {refusal}")).await;
        }
    }

    /// Ends when the run's scratch folder is larger than it may be, and says so.
    pub(super) async fn outgrown(&self) -> String {
        folders::outgrown(&self.mounts, self.border.config.scratch_bytes).await
    }

    /// Whether anything must be opened before the guest runs.
    pub(super) fn has_folders(&self) -> bool {
        !self.mounts.is_empty()
    }

    /// What sends the requests of the call.
    pub(super) fn egress(&self, output: &Arc<Output>) -> Egress {
        Egress::new(self, output.clone())
    }
}
