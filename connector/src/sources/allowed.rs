//! Which files of this machine sources may name: what lies below the folders that the configuration names, and what it
//! allows by a line of its own, which `concordat publish` adds. Of the node's own folder, nothing else; keys, store and
//! certificates never.
//!
//! The configuration is read anew when its file changes, so that a line counts without a restart, and a removed one no
//! more. Who only has a key of the API cannot write it.

use std::fs::{File, Metadata};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use catalog::Asset;
use dataplane::Places;
use jiff::Timestamp;
use serde_json::{Map, Value as Json};
use store::Batch;

use super::address::Address;
use crate::config::{Allowance, Config, FILE, SourceSettings};
use crate::tables::{self, prefix};
use crate::{clock, keyring, secrets};

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Data that is handed on.
    Data,
    /// What a source shows its upstream.
    Secret,
}

/// What a data address names of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) path: PathBuf,
    pub(crate) purpose: Purpose,
}

/// Why a path is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is the node's own.
    Own,
    /// No line allows it.
    Elsewhere,
}

/// Where sources' files may lie.
#[derive(Debug, Clone)]
pub(crate) struct Allowed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The node's folder, links followed.
    folder: PathBuf,
    /// What of this machine is the node's own, wherever the configuration says that it lies.
    own: Vec<PathBuf>,
    /// The folder where rotation writes the keys that sign.
    keyring: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    stamp: Option<Stamp>,
    settings: SourceSettings,
}

/// Which state of the configuration's file was read.
type Stamp = (u64, i64, i64, u64);

impl Allowed {
    /// What `config` allows.
    pub(crate) fn new(config: &Config) -> Self {
        let folder = real(&config.folder);
        let own = own_paths(config);
        // The file may have changed since it was read: it is looked at again at the first question.
        let current = Current { stamp: None, settings: config.sources.clone() };
        let keyring = config.path(&config.participant.key).parent().map(real).unwrap_or_default();
        Self(Arc::new(Inner { folder, own, keyring, current: Mutex::new(current) }))
    }

    /// Files of data.
    pub(super) fn places(&self) -> Places {
        let this = self.clone();
        Places::new(move |path, meta| this.judge_opened(path, meta, Purpose::Data).is_ok())
    }

    /// The content of a secret file: of the one that was opened and looked at.
    pub(super) fn secret(&self, path: &Path) -> anyhow::Result<String> {
        let this = self.clone();
        let places = Places::new(move |path, meta| this.judge_opened(path, meta, Purpose::Secret).is_ok());
        self.check(&Named { path: path.to_owned(), purpose: Purpose::Secret })?;
        let mut file =
            places.open(path).with_context(|| format!("reading the key file {}", path.display()))?;
        secrets::read_open(&mut file, path)
    }

    /// Whether what an address names may be used.
    ///
    /// # Errors
    /// It may not; says what to do.
    pub(crate) fn check(&self, named: &Named) -> anyhow::Result<()> {
        let path = named.path.display();
        let member = if named.purpose == Purpose::Data { "path" } else { "secretFile" };
        if !named.path.is_absolute() {
            bail!("dataAddress.{member} `{path}` is not absolute");
        }
        let settings = self.settings();
        let real = real(&named.path);
        match self.judge_with(&settings, &real, real.metadata().ok().as_ref(), named.purpose) {
            Ok(()) => Ok(()),
            Err(Refused::Own) => bail!(
                "dataAddress.{member} `{path}` is this node's own; put a copy of what is meant below {}",
                folders(&settings, named.purpose)
            ),
            Err(Refused::Elsewhere) => bail!(
                "dataAddress.{member} `{path}` lies outside of {}; put it there, name its folder in [sources] of {FILE}, or \
                 publish it with `concordat publish` on the node's machine, which adds the line",
                folders(&settings, named.purpose)
            ),
        }
    }

    /// Whether what lies at `path`, links followed, may be opened.
    pub(crate) fn judge(&self, path: &Path, purpose: Purpose) -> Result<(), Refused> {
        self.judge_with(&self.settings(), path, path.metadata().ok().as_ref(), purpose)
    }

    /// Whether what was opened, and lies at `path`, may be handed on.
    fn judge_opened(&self, path: &Path, meta: &Metadata, purpose: Purpose) -> Result<(), Refused> {
        self.judge_with(&self.settings(), path, Some(meta), purpose)
    }

    fn judge_with(
        &self,
        settings: &SourceSettings,
        path: &Path,
        meta: Option<&Metadata>,
        purpose: Purpose,
    ) -> Result<(), Refused> {
        if meta.is_some_and(|meta| self.is_own_by_another_name(meta)) {
            return Err(Refused::Own);
        }
        self.judge_path(settings, path, purpose)?;
        let Some(meta) = meta else { return Ok(()) };
        // A secret that has a name among the data as well is no data.
        let is_secret = || {
            let mut secrets = named_by(settings, Purpose::Secret).map(|path| real(&self.0.folder.join(path)));
            let is_no_data = |path: &Path| self.judge_path(settings, path, Purpose::Data).is_err();
            secrets.any(|secret| holds(&secret, meta, &is_no_data))
        };
        if purpose == Purpose::Data && meta.is_file() && meta.nlink() > 1 && is_secret() {
            return Err(Refused::Elsewhere);
        }
        Ok(())
    }

    /// As far as the path tells.
    fn judge_path(&self, settings: &SourceSettings, path: &Path, purpose: Purpose) -> Result<(), Refused> {
        let inner = &self.0;
        if self.is_own(path) {
            return Err(Refused::Own);
        }
        // What lies in the node's folder is allowed by nothing that contains that folder.
        let is_inside = path.starts_with(&inner.folder);
        let longest = |purpose: Purpose| {
            let written = named_by(settings, purpose).map(|path| inner.folder.join(path));
            let covers = |one: &PathBuf| {
                path.starts_with(one)
                    && (!is_inside || one.starts_with(&inner.folder) && *one != inner.folder)
            };
            let covering = written.filter_map(|one| {
                if covers(&one) {
                    return Some(one);
                }
                Some(real(&one)).filter(covers)
            });
            covering.map(|one| one.components().count()).max()
        };
        let (wanted, other) = match purpose {
            Purpose::Data => (longest(Purpose::Data), longest(Purpose::Secret)),
            Purpose::Secret => (longest(Purpose::Secret), None),
        };
        match wanted {
            // A secret within a folder of data is no data.
            Some(_) if wanted >= other => Ok(()),
            _ if is_inside => Err(Refused::Own),
            _ => Err(Refused::Elsewhere),
        }
    }

    /// Whether a path is what the node keeps for itself, or contains it.
    fn is_own(&self, path: &Path) -> bool {
        // What replaces a file is written beside it first.
        let replaces = |own: &Path| {
            path.extension().is_some_and(|one| one == "new") && *path == own.with_extension("new")
        };
        let of_keyring = || {
            path.parent().is_some_and(|folder| self.0.keyring == folder)
                && path.file_name().is_some_and(|name| keyring::is_file_of(&name.to_string_lossy()))
        };
        self.0.own.iter().any(|own| path.starts_with(own) || own.starts_with(path) || replaces(own))
            || of_keyring()
    }

    /// Whether what lies at a path is what the node keeps for itself, by this name or another.
    fn keeps(&self, path: &Path) -> bool {
        self.is_own(path) || path.metadata().is_ok_and(|meta| self.is_own_by_another_name(&meta))
    }

    /// Whether it is what the node keeps for itself, which has another name where it was opened: a hard link, a mount.
    fn is_own_by_another_name(&self, meta: &Metadata) -> bool {
        let any = |_: &Path| true;
        let of_keyring =
            |path: &Path| path.file_name().is_some_and(|name| keyring::is_file_of(&name.to_string_lossy()));
        // What is written in the place of another has the other's name with an ending first.
        self.0.own.iter().any(|own| holds(own, meta, &any) || is_same(&own.with_extension("new"), meta))
            || entries(&self.0.keyring).any(|path| of_keyring(&path) && is_same(&path, meta))
    }

    /// `[sources]` as it stands in the file now.
    fn settings(&self) -> SourceSettings {
        let inner = &self.0;
        let mut current = inner.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp(&inner.folder);
        if now != current.stamp {
            current.stamp = now;
            match Config::load(&inner.folder) {
                Ok(config) => current.settings = config.sources,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(
                        error,
                        "the changed configuration cannot be read; its [sources] count as before"
                    );
                }
            }
        }
        current.settings.clone()
    }
}

/// Folders and lines that allow files for `purpose`.
fn named_by(settings: &SourceSettings, purpose: Purpose) -> impl Iterator<Item = &Path> {
    let folders = match purpose {
        Purpose::Data => &settings.folders,
        Purpose::Secret => &settings.secrets,
    };
    let lines = settings.allowed.iter().filter_map(move |line| match (line, purpose) {
        (Allowance::Path(path), Purpose::Data) | (Allowance::Secret(path), Purpose::Secret) => {
            Some(path.as_path())
        }
        _ => None,
    });
    folders.iter().map(PathBuf::as_path).chain(lines)
}

fn folders(settings: &SourceSettings, purpose: Purpose) -> String {
    let (key, folders) = match purpose {
        Purpose::Data => ("sources.folders", &settings.folders),
        Purpose::Secret => ("sources.secrets", &settings.secrets),
    };
    let named: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    format!("{key} ({})", if named.is_empty() { "none".to_owned() } else { named.join(", ") })
}

/// The path with links followed, as far as it exists.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        // `..` below what does not exist leads nowhere that anything is allowed.
        _ if path.parent().is_none() => path.to_owned(),
        _ => PathBuf::from("/"),
    }
}

/// Folders within the node's own folders that are looked into.
const MAX_DEPTH: usize = 8;

/// Whether the file or folder at `path`, or one within it, is the one that `meta` is of, where `counts` says yes to its path.
fn holds(path: &Path, meta: &Metadata, counts: &dyn Fn(&Path) -> bool) -> bool {
    let mut waiting = vec![(path.to_owned(), 0)];
    while let Some((path, depth)) = waiting.pop() {
        // What is named through a link is looked at; below one nothing is, so that no circle is followed.
        if is_same(&path, meta) && counts(&path) {
            return true;
        }
        let is_folder = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
        if (is_folder || depth == 0) && depth < MAX_DEPTH {
            waiting.extend(entries(&path).map(|path| (path, depth + 1)));
        }
    }
    false
}

/// What is in a folder; nothing where it is none.
fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Whether what lies at `path`, links followed, is the file that `meta` is of.
fn is_same(path: &Path, meta: &Metadata) -> bool {
    path.metadata().is_ok_and(|there| (there.dev(), there.ino()) == (meta.dev(), meta.ino()))
}

fn own_paths(config: &Config) -> Vec<PathBuf> {
    let mut own: Vec<PathBuf> = ["keys", "tls", FILE].into_iter().map(PathBuf::from).collect();
    own.extend([
        config.participant.key.clone(),
        config.tls.key.clone(),
        config.tls.certificate.clone(),
        config.management.key.clone(),
        config.store.folder.clone(),
        config.federation.folder.clone(),
        config.credentials.vault_key.clone(),
        config.personal.key.clone(),
        config.personal.subject_keys.clone(),
    ]);
    if let Some(tls) = &config.management.tls {
        own.extend([tls.certificate.clone(), tls.key.clone()]);
        own.extend(tls.client_key.clone());
    }
    let mut all: Vec<PathBuf> = own.iter().map(|path| real(&config.path(path))).collect();
    all.dedup();
    all
}

fn stamp(folder: &Path) -> Option<Stamp> {
    let meta = folder.join(FILE).metadata().ok()?;
    Some((meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
}

/// What the addresses of an asset name of this machine.
///
/// # Errors
/// An address cannot be read.
pub(crate) fn named(address: &Map<String, Json>) -> anyhow::Result<Vec<Named>> {
    if address.is_empty() {
        return Ok(Vec::new());
    }
    let data = |path: PathBuf| Named { path, purpose: Purpose::Data };
    let secret = |path: PathBuf| Named { path, purpose: Purpose::Secret };
    Ok(match Address::parse(address)? {
        Address::File { path, .. } | Address::Folder { path, .. } | Address::Tail { path, .. } => {
            vec![data(path)]
        }
        Address::PostgreSql { secret_file, .. } => vec![secret(secret_file)],
        Address::HttpData { secret_file, .. }
        | Address::NgsiLd { secret_file, .. }
        | Address::ObjectStore { secret_file, .. }
        | Address::Mqtt { secret_file, .. }
        | Address::Nats { secret_file, .. } => secret_file.into_iter().map(secret).collect(),
    })
}

/// Adds lines to the configuration in `folder` that allow what is not allowed yet; gives what was added. Nothing that is the
/// node's own is ever allowed.
///
/// # Errors
/// Something is the node's own, or the file cannot be written; says which line is missing.
pub(crate) fn allow(config: &Config, wanted: &[Named], why: &str) -> anyhow::Result<Vec<Named>> {
    let allowed = Allowed::new(config);
    let mut added: Vec<Named> = Vec::new();
    for named in wanted {
        let path = real(&named.path);
        let named = Named { path, purpose: named.purpose };
        match allowed.judge(&named.path, named.purpose) {
            Ok(()) => {}
            Err(Refused::Own) => allowed.check(&named)?,
            Err(Refused::Elsewhere) if added.contains(&named) => {}
            Err(Refused::Elsewhere) => added.push(named),
        }
    }
    write(config, &added, why)?;
    Ok(added)
}

/// Removes what [`allow`] added a moment ago, as far as nobody changed the file since.
///
/// # Errors
/// The file cannot be read or written.
pub(crate) fn disallow(config: &Config, added: &[Named], why: &str) -> anyhow::Result<()> {
    let file = config.folder.join(FILE);
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    match text.strip_suffix(&lines(added, why)) {
        Some(before) if !added.is_empty() => replace(&file, before),
        _ => Ok(()),
    }
}

fn lines(added: &[Named], why: &str) -> String {
    added.iter().map(|named| format!("\n# {why}\n[[sources.allowed]]\n{}\n", line(named))).collect()
}

/// The first start of a program that knows `[sources]`: what assets name already is allowed by lines of the configuration,
/// so that nothing stops that was shared before; but what is the node's own is not.
///
/// # Errors
/// The store cannot be read or written.
pub(crate) async fn allow_existing(config: &Config, store: &store::Store) -> anyhow::Result<()> {
    if tables::load::<Timestamp>(store, prefix::ASSETS_ALLOWED)?.is_some() {
        return Ok(());
    }
    let allowed = Allowed::new(config);
    let mut wanted: Vec<Named> = Vec::new();
    for asset in tables::all::<Asset>(store, prefix::ASSET)? {
        let addresses = std::iter::once(&asset.data_address).chain(asset.distributions.values());
        for named in addresses.filter_map(|address| named(address).ok()).flatten() {
            let named = Named { path: real(&named.path), purpose: named.purpose };
            match allowed.judge(&named.path, named.purpose) {
                Ok(()) => {}
                // Files beside the configuration were a usual place; only what is the node's is kept from them.
                Err(_) if allowed.keeps(&named.path) => {
                    let (asset, path) = (&asset.id, named.path.display());
                    tracing::error!(asset, %path, "the asset names a file of this node's own, which is handed on no more");
                }
                Err(_) if wanted.contains(&named) => {}
                Err(_) => wanted.push(named),
            }
        }
    }
    let why = "Allowed at the first start of a version that knows [sources]: assets named it before";
    if let Err(error) = write(config, &wanted, why) {
        // It is tried again at the next start.
        let error = format!("{error:#}");
        tracing::error!(error, "files that assets name are not shared, since [sources] does not allow them");
        return Ok(());
    }
    for named in &wanted {
        tracing::warn!(
            line = line(named),
            "allowed in [sources] of the configuration, since an asset names it"
        );
    }
    let mut batch = Batch::new();
    tables::put(&mut batch, prefix::ASSETS_ALLOWED, &clock::now())?;
    store.commit(batch).await?;
    Ok(())
}

pub(crate) fn write(config: &Config, added: &[Named], why: &str) -> anyhow::Result<()> {
    if added.is_empty() {
        return Ok(());
    }
    let file = config.folder.join(FILE);
    let lines = lines(added, why);
    let before = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    // What would not load is not written.
    let after = format!("{before}{lines}");
    Config::parse(&after).with_context(|| format!("adding to {}: {lines}", file.display()))?;
    replace(&file, &after)
        .with_context(|| format!("{} cannot be written; add to it by hand: {lines}", file.display()))
}

/// All of it or nothing, with the rights that the file has.
fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    let fresh = file.with_extension("toml.new");
    let mode = file.metadata()?.mode() & 0o777;
    let mut written =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    std::fs::rename(&fresh, file)?;
    if let Some(folder) = file.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// The line of the configuration that allows it.
pub(crate) fn line(named: &Named) -> String {
    let key = if named.purpose == Purpose::Data { "path" } else { "secret" };
    let value = toml::Value::String(named.path.display().to_string());
    format!("{key} = {value}")
}
