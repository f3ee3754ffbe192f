//! TLS for both sides: rustls with ring, certificates from PEM files.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::config::Config;
use crate::secrets;

/// Installs the provider; once, at start.
pub fn install_provider() {
    // A second call finds it installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The public listener's side.
///
/// # Errors
/// Certificate or key are missing or do not fit.
pub fn server(config: &Config) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = certificates(&config.path(&config.tls.certificate))?;
    let key_path = config.path(&config.tls.key);
    let key = PrivateKeyDer::from_pem_slice(secrets::read(&key_path)?.as_bytes())
        .with_context(|| format!("no private key in {}", key_path.display()))?;
    let mut server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| format!("the key {} does not fit the certificate", key_path.display()))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

/// The side towards peers and upstreams.
///
/// # Errors
/// A file of `tls.roots` cannot be read, or nothing is trusted.
pub fn client(config: &Config) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for path in &config.tls.roots {
        for certificate in certificates(&config.path(path))? {
            roots.add(certificate).with_context(|| format!("{} is no authority", path.display()))?;
        }
    }
    if config.tls.system_roots {
        // A machine's store may have a certificate that rustls does not take; the others count.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        bail!("no authority is trusted: set tls.roots or tls.system_roots");
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// The certificates of a PEM file.
///
/// # Errors
/// Missing, or none in it.
pub fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .with_context(|| format!("reading {}", path.display()))?
        .collect::<Result<_, _>>()
        .with_context(|| format!("in {}", path.display()))?;
    if chain.is_empty() {
        bail!("no certificate in {}", path.display());
    }
    Ok(chain)
}
