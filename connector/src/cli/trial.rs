//! Trial nodes: all of a user's on one machine trust the certificates of each other, and no two are given the same ports.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::certificates::{self, Hosts};
use super::init;
use crate::certificate::{Certificate, Life};
use crate::config::{Config, FILE};
use crate::{clock, secrets};

/// The first pair of ports; each further one is two above.
const FIRST_PORT: u16 = 8443;
/// Most trial nodes of a user.
const MOST: u16 = 200;
/// Days before the end of a trial certificate at which it is made anew.
const RENEWED_AT: i64 = 30;
/// The rows that a trial node has to share from the start.
const EXAMPLE: &str = include_str!("../../../examples/three_agencies/antwerp.csv");
/// Their file, below the node's folder.
pub(super) const EXAMPLE_FILE: &str = "data/example.csv";

/// What trial nodes of this user have in common, as long as nobody else changes it.
struct Shared {
    folder: PathBuf,
    _lock: File,
}

impl Shared {
    fn open() -> anyhow::Result<Self> {
        let folder = folder()?;
        let opening = || format!("opening the folder of trial nodes, {}", folder.display());
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).with_context(opening)?;
        let mode = std::fs::metadata(&folder).with_context(opening)?.permissions().mode();
        if mode & 0o077 != 0 {
            bail!(
                "others can look into {0}, where trial nodes have their authority's key; run `chmod 700 {0}`",
                folder.display()
            );
        }
        let lock = File::create(folder.join("lock")).with_context(opening)?;
        lock.lock().with_context(opening)?;
        Ok(Self { folder, _lock: lock })
    }

    fn list(&self) -> PathBuf {
        self.folder.join("nodes")
    }

    /// The trial nodes that are still there, by their folders.
    fn nodes(&self) -> Vec<Config> {
        let text = std::fs::read_to_string(self.list()).unwrap_or_default();
        let there = text.lines().filter_map(|line| Config::load(Path::new(line)).ok());
        there.filter(|config| config.participant.trial).collect()
    }
}

/// `$XDG_DATA_HOME/concordat/trial`.
fn folder() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
    let data =
        data.context("trial nodes keep what they share in the user's folder: set HOME or XDG_DATA_HOME")?;
    Ok(data.join("concordat/trial"))
}

/// Makes a trial node in `dir`: on free ports, with a certificate that trial nodes of this user trust, open to this machine
/// only.
pub(super) fn create(dir: &Path, name: Option<&str>, arguments: &init::Arguments) -> anyhow::Result<Config> {
    let shared = Shared::open()?;
    let nodes = shared.nodes();
    let taken: BTreeSet<u16> =
        nodes.iter().flat_map(|one| [one.public.listen.port(), one.management.listen.port()]).collect();
    let (public, management) = free_ports(&taken)?;
    let name = name.map_or_else(|| format!("Trial node {}", public.port()), |name| format!("{name} (trial)"));
    certificates::ensure(&shared.folder, Hosts::ThisMachine)?;
    let wanted = init::Arguments {
        name,
        address: format!("https://localhost:{}", public.port()),
        listen: public,
        management,
        authority: Some(shared.folder.clone()),
        trial: true,
        allow_network: vec!["127.0.0.0/8".parse()?, "::1/128".parse()?],
        ..arguments.clone()
    };
    let config = init::create(dir, &wanted)?;
    let example = dir.join(EXAMPLE_FILE);
    std::fs::write(&example, EXAMPLE).with_context(|| format!("writing {}", example.display()))?;
    let folders = nodes.iter().map(|one| one.folder.clone()).chain([dir.canonicalize()?]);
    let mut lines = String::new();
    for folder in folders {
        // A name that is no text, or more than a line, is not remembered: its ports are seen as taken while it runs.
        if let Some(line) = folder.to_str().filter(|line| !line.contains('\n')) {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    secrets::replace(&shared.list(), &lines)?;
    Ok(config)
}

/// Two ports that no other trial node has, and nobody listens on now.
fn free_ports(taken: &BTreeSet<u16>) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let is_free =
        |port: u16| !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut firsts = (FIRST_PORT..).step_by(2).take(MOST.into());
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match firsts.find(|port| is_free(*port) && is_free(port + 1)) {
        Some(port) => Ok((at(port), at(port + 1))),
        None => bail!(
            "there is no free pair of ports from {FIRST_PORT} on for a trial node: remove folders of trial nodes that are not \
             needed, or name ports with `concordat init --listen ADDRESS:PORT --management ADDRESS:PORT`"
        ),
    }
}

/// Makes the certificate of a trial node anew where it runs out soon.
pub(super) fn renew(config: &Config) -> anyhow::Result<()> {
    let file = config.path(&config.tls.certificate);
    if matches!(Certificate::read(&file)?.life(clock::now()), Life::Days(days) if days >= RENEWED_AT) {
        return Ok(());
    }
    let shared = Shared::open()?;
    let (certificate, key) = certificates::issue(&shared.folder, "localhost")?;
    secrets::replace(&config.path(&config.tls.key), &key)?;
    std::fs::write(&file, certificate).with_context(|| format!("writing {}", file.display()))
}

/// What to try with the trial node in `dir`: one command a line.
pub(super) fn next(dir: &Path, config: &Config) -> Vec<String> {
    let others = Shared::open().map(|shared| shared.nodes()).unwrap_or_default();
    let other = others.into_iter().find(|one| one.participant.did != config.participant.did);
    let port = config.public.listen.port();
    let dataset = format!("urn:trial:{port}:no2");
    let (here, program) = (quoted(dir), program());
    let publish = format!(
        "{program} --dir {here} publish {} --id {dataset} --title \"Hourly NO2\"",
        quoted(&dir.join(EXAMPLE_FILE))
    );
    let (there, second) = match &other {
        Some(other) => {
            let there = quoted(&other.folder);
            let runs = TcpListener::bind(other.management.listen).is_err();
            let second = match runs {
                true => format!("{program} --dir {there} catalog {}", config.participant.did),
                false => format!("{program} --dir {there} up"),
            };
            (there, second)
        }
        None => {
            let there = quoted(&match dir.file_name() {
                Some(name) => dir.with_file_name(format!("{}-2", name.to_string_lossy())),
                None => dir.join("../node-2"),
            });
            let second = format!("{program} --dir {there} up");
            (there, second)
        }
    };
    let with = format!("{program} --dir {there} use {dataset} --as no2 --from {}", config.participant.did);
    vec![publish, second, with]
}

/// How a shell calls this program: by its name where it finds it, else by its path.
fn program() -> String {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let name = "concordat";
    let path = std::env::current_exe().ok();
    let path = path.filter(|_| !std::env::split_paths(&folders).any(|folder| folder.join(name).is_file()));
    path.map_or_else(|| name.to_owned(), |path| quoted(&path))
}

/// A path as a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Whether a node can be made in `dir`: it is not there yet, or empty.
pub(super) fn is_free(dir: &Path) -> anyhow::Result<bool> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("looking into {}", dir.display())),
    }
}

/// Whether there is a node in `dir`.
pub(super) fn is_there(dir: &Path) -> bool {
    dir.join(FILE).exists()
}
