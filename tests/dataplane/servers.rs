//! Servers in temporary folders on free ports, stopped when they are dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::free_port;

/// A program of a server.
pub struct Server {
    pub port: u16,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program on this machine; says that its test is left out where it is missing, which `./test` does not accept.
pub fn program(names: &[&str]) -> Option<PathBuf> {
    let found = names.iter().find_map(|name| {
        let path = Path::new(name);
        if path.is_absolute() {
            return path.exists().then(|| path.to_owned());
        }
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.exists())
    });
    if found.is_none() {
        let told = format!("left out: {} is not on this machine (./test installs it)", names[0]);
        assert!(std::env::var_os("CONCORDAT_ALL_SERVERS").is_none(), "{told}");
        eprintln!("{told}");
    }
    found
}

/// The Python environment with the packages of `tests/dataplane/requirements.txt`.
pub fn python() -> Option<PathBuf> {
    let named = std::env::var("CONCORDAT_PYTHON").unwrap_or_default();
    program(&[if named.is_empty() { "/no/python/environment" } else { &named }])
}

/// Starts a program and waits until its port is open.
pub fn start(command: &mut Command, port: u16, log: &Path) -> Server {
    let log_file = std::fs::File::create(log).unwrap();
    let child =
        command.stdin(Stdio::null()).stdout(log_file.try_clone().unwrap()).stderr(log_file).spawn().unwrap();
    let mut server = Server { port, child };
    let until = Instant::now() + Duration::from_secs(60);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        let gone = server.child.try_wait().unwrap().is_some();
        let told = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(!gone && Instant::now() < until, "{command:?}: {}", told());
        // A program of others gives no event when it is ready.
        std::thread::sleep(Duration::from_millis(50));
    }
    server
}

/// NATS with JetStream.
pub fn nats(folder: &Path) -> Option<Server> {
    let program = program(&["nats-server", "/usr/sbin/nats-server"])?;
    let port = free_port();
    let mut command = Command::new(program);
    command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]).arg(folder.join("nats"));
    Some(start(&mut command, port, &folder.join("nats.log")))
}

/// Mosquitto with TLS, a name and a password.
pub fn mosquitto(folder: &Path, tls: &Path) -> Option<Server> {
    let program = program(&["mosquitto", "/usr/sbin/mosquitto"])?;
    let passwords = folder.join("mosquitto.passwords");
    let made =
        Command::new("mosquitto_passwd").args(["-c", "-b"]).arg(&passwords).args(["city", "s3cret"]).output();
    assert!(made.unwrap().status.success());
    let port = free_port();
    let settings = format!(
        "listener {port} 127.0.0.1\ncertfile {0}/certificate.pem\nkeyfile {0}/key.pem\npassword_file {1}\nuser root\n",
        tls.display(),
        passwords.display()
    );
    let file = folder.join("mosquitto.conf");
    std::fs::write(&file, settings).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(&file);
    Some(start(&mut command, port, &folder.join("mosquitto.log")))
}

/// An S3 server (moto) with TLS.
pub fn s3(folder: &Path, tls: &Path) -> Option<Server> {
    let python = python()?;
    let port = free_port();
    let mut command = Command::new(python);
    command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string(), "--ssl"]);
    command.arg("--ssl-cert").arg(tls.join("certificate.pem")).arg("--ssl-key").arg(tls.join("key.pem"));
    Some(start(&mut command, port, &folder.join("s3.log")))
}

/// PostgreSQL in a cluster of its own, with a superuser `owner` and a role `reader` that may only read.
pub struct Postgres {
    pub server: Server,
    binaries: PathBuf,
    folder: PathBuf,
}

/// PostgreSQL does not run as root: then it runs as the user that its package made.
fn as_user(program: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout.starts_with(b"0");
    if is_root {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

impl Postgres {
    pub fn start() -> Option<Self> {
        let installed = std::fs::read_dir("/usr/lib/postgresql").ok().and_then(|versions| {
            versions.filter_map(Result::ok).map(|version| version.path().join("bin")).max()
        });
        let binaries = match installed {
            Some(binaries) => binaries,
            None => program(&["initdb"])?.parent().unwrap().to_owned(),
        };
        // Its user must reach the folder.
        let folder = std::env::temp_dir().join(format!("concordat-postgres-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        let cluster = folder.join("cluster");
        let made = as_user(&binaries.join("initdb"))
            .args(["-A", "trust", "-U", "owner", "--no-sync", "-D"])
            .arg(&cluster)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let mut command = as_user(&binaries.join("postgres"));
        command
            .arg("-D")
            .arg(&cluster)
            .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-F", "-k"])
            .arg(&folder);
        let server = start(&mut command, port, &folder.join("log"));
        // It listens before it answers.
        let began = Instant::now();
        let is_ready = || {
            let mut asked = Command::new(binaries.join("pg_isready"));
            asked.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).status().unwrap().success()
        };
        while !is_ready() {
            assert!(began.elapsed() < Duration::from_secs(60), "PostgreSQL does not come up");
        }
        Some(Self { server, binaries, folder })
    }

    pub fn run(&self, sql: &str) {
        let done = Command::new(self.binaries.join("psql"))
            .args(["-h", "127.0.0.1", "-p", &self.server.port.to_string(), "-U", "owner", "-d", "postgres"])
            .args(["-v", "ON_ERROR_STOP=1", "-q", "-c", sql])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its own children end with it only in good order.
        let _ = as_user(&self.binaries.join("pg_ctl"))
            .args(["stop", "-m", "immediate", "-D"])
            .arg(self.folder.join("cluster"))
            .output();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
