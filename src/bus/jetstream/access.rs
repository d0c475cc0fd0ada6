//! Who we are to the servers, and how we know that they are who they say.

use std::path::PathBuf;

use async_nats::{ConnectOptions, ServerAddr};

use super::super::Error;

/// Credentials and certificates for NATS. User and password, or a token, may also stand in the address of the server;
/// an address that begins with `tls://` makes TLS a must. The default trusts the authorities of the system and shows
/// nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// A `.creds` file with a JWT and the seed of its key.
    pub credentials: Option<PathBuf>,
    /// PEM file of the authority that signed the servers' certificates, in addition to those of the system.
    pub ca: Option<PathBuf>,
    /// PEM files of our own certificate and its key, for servers that ask for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl Access {
    /// Options of a connection to these servers with them.
    pub(super) fn options(&self, servers: &[ServerAddr]) -> Result<ConnectOptions, Error> {
        let mut options = ConnectOptions::new();
        // The client does not look at them itself; several servers of a cluster know the same users.
        if let Some((user, server)) = servers.iter().find_map(|server| Some((server.username()?, server))) {
            options = match server.password() {
                Some(password) => options.user_and_password(user.to_owned(), password.to_owned()),
                None => options.token(user.to_owned()),
            };
        }
        if let Some(file) = &self.credentials {
            let unusable = |error| Error::Misconfigured(format!("credentials {}: {error}", file.display()));
            let text = std::fs::read_to_string(file).map_err(unusable)?;
            options = options.credentials(&text).map_err(unusable)?;
        }
        let certificate = self.certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
        for file in self.ca.iter().chain(certificate) {
            // The client reads them at each connection, where a missing one would look like a server that is away.
            std::fs::metadata(file).map_err(|error| Error::Misconfigured(format!("{}: {error}", file.display())))?;
        }
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.clone()).require_tls(true);
        }
        if let Some((certificate, key)) = &self.certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone()).require_tls(true);
        }
        Ok(options)
    }
}
