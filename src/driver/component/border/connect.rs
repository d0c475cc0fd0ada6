//! A connection to an address that was checked, with TLS if the destination says so.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use wasmtime_wasi_http::Error;

use crate::model::{Destination, Host, Scheme};

/// Both directions of a connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to the first of `addresses` that takes the connection.
pub(super) async fn connect(
    destination: &Destination,
    addresses: &[IpAddr],
    tls: Option<Arc<ClientConfig>>,
) -> Result<Box<dyn Stream>, Error> {
    let mut outcome = Err(Error::DestinationNotFound);
    for address in addresses {
        outcome = TcpStream::connect(SocketAddr::new(*address, destination.port)).await.map_err(Error::Connect);
        if outcome.is_ok() {
            break;
        }
    }
    let stream = outcome?;
    // Requests are small and wait for their answer.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls.filter(|_| destination.scheme == Scheme::Https) else { return Ok(Box::new(stream)) };
    let name = match &destination.host {
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| Error::HttpRequestUriInvalid)?,
        Host::Address(address) => ServerName::from(*address),
    };
    Ok(Box::new(TlsConnector::from(tls).connect(name, stream).await.map_err(Error::Tls)?))
}

/// What is trusted: the certificates in the file `roots`, or those of the system.
///
/// # Errors
/// If there are none, or the file cannot be read.
pub(super) fn tls(roots: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut store = RootCertStore::empty();
    let certificates: Vec<CertificateDer<'static>> = match roots {
        Some(path) => {
            let unreadable = |error| format!("capabilities.roots: {}: {error}", path.display());
            let read = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
            read.collect::<Result<_, _>>().map_err(unreadable)?
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    store.add_parsable_certificates(certificates);
    if store.is_empty() {
        return Err(
            "there are no certificates to trust: install the system's, or name a file in capabilities.roots".into()
        );
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.map_err(|error| error.to_string())?.with_root_certificates(store).with_no_client_auth();
    Ok(Arc::new(config))
}
