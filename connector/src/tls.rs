//! TLS for both sides: rustls with ring, certificates from PEM files, which can be read anew while the node runs.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::certificate::{self, Certificate, Life};
use crate::config::Config;
use crate::{clock, secrets};

/// How often it is looked whether a certificate runs out.
const LOOK: Duration = Duration::from_secs(12 * 60 * 60);

/// Installs the provider; once, at start.
pub fn install_provider() {
    // A second call finds it installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What the listeners use, at any moment the newest that was read.
pub type Serving = watch::Receiver<Arc<ServerConfig>>;

/// The certificates of a running node.
#[derive(Debug)]
pub struct Live {
    config: Config,
    public: watch::Sender<Arc<ServerConfig>>,
    management: Option<watch::Sender<Arc<ServerConfig>>>,
    peers: Arc<Peers>,
    /// What the listeners show now, by the keys of the configuration.
    shown: RwLock<Vec<(&'static str, Certificate)>>,
}

/// What the client side trusts, and what it shows to a peer that asks for a certificate.
#[derive(Debug)]
struct Peers {
    trusted: RwLock<Arc<WebPkiServerVerifier>>,
    own: RwLock<Arc<CertifiedKey>>,
}

impl Live {
    /// Reads everything that the configuration names.
    ///
    /// # Errors
    /// A file is missing or wrong, or nothing is trusted.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            public: watch::channel(public(config)?).0,
            management: management(config)?.map(|one| watch::channel(one).0),
            peers: Arc::new(Peers {
                trusted: RwLock::new(verifier(config)?),
                own: RwLock::new(own(config)?),
            }),
            shown: RwLock::new(shown(config)?),
            config: config.clone(),
        })
    }

    /// Reads everything anew: connections from now on use it. Where anything is wrong, nothing changes.
    ///
    /// # Errors
    /// As [`Live::load`], or a certificate has expired.
    pub fn reload(&self) -> anyhow::Result<()> {
        let (fresh_public, fresh_management) = (public(&self.config)?, management(&self.config)?);
        let (trusted, own) = (verifier(&self.config)?, own(&self.config)?);
        let shown = shown(&self.config)?;
        for (key, certificate) in &shown {
            if certificate.life(clock::now()) == Life::Over {
                bail!("{key}: the certificate expired on {}", certificate::day(certificate.until));
            }
        }
        self.public.send_replace(fresh_public);
        if let (Some(sender), Some(fresh)) = (&self.management, fresh_management) {
            sender.send_replace(fresh);
        }
        *self.peers.trusted.write().unwrap_or_else(PoisonError::into_inner) = trusted;
        *self.peers.own.write().unwrap_or_else(PoisonError::into_inner) = own;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(())
    }

    /// Tells in the log which certificates run out, now and twice a day until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => self.tell(),
            }
        }
    }

    fn tell(&self) {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        let renew = "put a new one in its place and run `concordat identity reload-certificates`";
        for (key, certificate) in shown.iter() {
            let until = certificate::day(certificate.until);
            match certificate.life(clock::now()) {
                Life::Over => {
                    tracing::error!(
                        key,
                        "the certificate expired on {until}, and nobody accepts it any longer: {renew}"
                    );
                }
                Life::Early => {
                    let from = certificate::day(certificate.from);
                    tracing::warn!(key, "nobody accepts the certificate before {from}");
                }
                Life::Days(days) if days < certificate::WARNING_DAYS => {
                    tracing::warn!(key, "the certificate expires on {until}, in {days} days: {renew}");
                }
                Life::Days(_) => {}
            }
        }
    }

    /// For the public listener.
    #[must_use]
    pub fn public(&self) -> Serving {
        self.public.subscribe()
    }

    /// For the management listener, where it speaks TLS.
    #[must_use]
    pub fn management(&self) -> Option<Serving> {
        self.management.as_ref().map(watch::Sender::subscribe)
    }

    /// The side towards peers and upstreams.
    #[must_use]
    pub fn client(&self) -> ClientConfig {
        client_of(Arc::clone(&self.peers))
    }
}

fn client_of(peers: Arc<Peers>) -> ClientConfig {
    ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Peers>::clone(&peers))
        .with_client_cert_resolver(peers)
}

impl Peers {
    fn trusted(&self) -> Arc<WebPkiServerVerifier> {
        Arc::clone(&self.trusted.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Everything is for the verifier of the moment to decide.
impl ServerCertVerifier for Peers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.trusted().verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trusted().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trusted().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trusted().supported_verify_schemes()
    }
}

/// A peer that asks for a certificate gets this node's own.
impl ResolvesClientCert for Peers {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let own = Arc::clone(&self.own.read().unwrap_or_else(PoisonError::into_inner));
        own.key.choose_scheme(schemes).map(|_| own)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The certificates that the listeners show, by the keys of the configuration.
fn shown(config: &Config) -> anyhow::Result<Vec<(&'static str, Certificate)>> {
    let mut shown = vec![("tls.certificate", Certificate::read(&config.path(&config.tls.certificate))?)];
    if let Some(tls) = &config.management.tls {
        shown.push(("management.tls.certificate", Certificate::read(&config.path(&tls.certificate))?));
    }
    Ok(shown)
}

/// Refuses a key that is not the certificate's.
///
/// # Errors
/// It is not, or is none.
pub fn check_pair(certificate: &Path, key: &Path) -> anyhow::Result<()> {
    let chain = certificates(certificate)?;
    let private =
        PrivateKeyDer::from_pem_file(key).with_context(|| format!("no private key in {}", key.display()))?;
    CertifiedKey::from_der(chain, private, &rustls::crypto::ring::default_provider()).with_context(|| {
        format!("{} is not the private key of the certificate {}", key.display(), certificate.display())
    })?;
    Ok(())
}

/// The public listener's side.
///
/// # Errors
/// Certificate or key are missing or do not fit, or a file of `public.client_roots` cannot be read.
pub fn public(config: &Config) -> anyhow::Result<Arc<ServerConfig>> {
    let (certificate, key) = (&config.tls.certificate, &config.tls.key);
    server(config, certificate, key, &config.public.client_roots)
}

fn management(config: &Config) -> anyhow::Result<Option<Arc<ServerConfig>>> {
    let Some(tls) = &config.management.tls else { return Ok(None) };
    server(config, &tls.certificate, &tls.key, &tls.client_roots).map(Some)
}

/// A listener's side; with `client_roots`, callers must show a certificate of one of those authorities.
fn server(
    config: &Config,
    certificate: &Path,
    key: &Path,
    client_roots: &[std::path::PathBuf],
) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = certificates(&config.path(certificate))?;
    let key_path = config.path(key);
    let builder = ServerConfig::builder();
    let builder = if client_roots.is_empty() {
        builder.with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        add_roots(&mut roots, config, client_roots)?;
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
        builder.with_client_cert_verifier(verifier.context("the authorities of client_roots")?)
    };
    let mut server = builder
        .with_single_cert(chain, private_key(&key_path)?)
        .with_context(|| format!("the key {} does not fit the certificate", key_path.display()))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

/// The side towards peers, as it is now: for commands.
///
/// # Errors
/// A file cannot be read, or nothing is trusted.
pub fn client(config: &Config) -> anyhow::Result<ClientConfig> {
    let peers = Peers { trusted: RwLock::new(verifier(config)?), own: RwLock::new(own(config)?) };
    Ok(client_of(Arc::new(peers)))
}

/// The side of the command line towards the management API, where that speaks TLS.
///
/// # Errors
/// A file cannot be read.
pub fn operator(config: &Config) -> anyhow::Result<Option<ClientConfig>> {
    let Some(tls) = &config.management.tls else { return Ok(None) };
    let mut roots = trusted_roots(config)?;
    // One that vouches for itself is trusted where it stands.
    add_roots(&mut roots, config, std::slice::from_ref(&tls.certificate))?;
    let builder = ClientConfig::builder().with_root_certificates(roots);
    Ok(Some(match (&tls.client_certificate, &tls.client_key) {
        (Some(certificate), Some(key)) => builder
            .with_client_auth_cert(certificates(&config.path(certificate))?, private_key(&config.path(key))?)
            .context("management.tls.client_certificate and client_key do not fit")?,
        _ => builder.with_no_client_auth(),
    }))
}

/// The side of who looks at a stranger's node: the machine's own authorities count, those that the node of `config` trusts,
/// and those in the file `root`.
///
/// # Errors
/// A file cannot be read.
pub fn looking(config: Option<&Config>, root: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let mut roots = config.map_or_else(|| Ok(RootCertStore::empty()), trusted_roots)?;
    for certificate in root.map_or_else(|| Ok(Vec::new()), certificates)? {
        roots.add(certificate).context("an authority of the file cannot be used")?;
    }
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

fn verifier(config: &Config) -> anyhow::Result<Arc<WebPkiServerVerifier>> {
    let roots = trusted_roots(config)?;
    if roots.is_empty() {
        bail!("no authority is trusted: set tls.roots or tls.system_roots");
    }
    WebPkiServerVerifier::builder(Arc::new(roots)).build().context("the trusted authorities")
}

fn trusted_roots(config: &Config) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    add_roots(&mut roots, config, &config.tls.roots)?;
    if config.tls.system_roots {
        // A machine's store may have a certificate that rustls does not take; the others count.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(roots)
}

fn add_roots(roots: &mut RootCertStore, config: &Config, files: &[std::path::PathBuf]) -> anyhow::Result<()> {
    for path in files {
        for certificate in certificates(&config.path(path))? {
            roots.add(certificate).with_context(|| format!("{} is no authority", path.display()))?;
        }
    }
    Ok(())
}

/// This node's certificate, as a client.
fn own(config: &Config) -> anyhow::Result<Arc<CertifiedKey>> {
    let chain = certificates(&config.path(&config.tls.certificate))?;
    let key = private_key(&config.path(&config.tls.key))?;
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(key).context("tls.key")?;
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

fn private_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(secrets::read(path)?.as_bytes())
        .with_context(|| format!("no private key in {}", path.display()))
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
