//! The first minutes: trial nodes of one user on one machine, and what stands in the way of others.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::support::{Node, PROGRAM, Ports, World};

/// What a trial node has to share from the start.
const EXAMPLE: &[u8] = include_bytes!("../examples/three_agencies/antwerp.csv");

/// A user's machine: where trial nodes keep what they share. There is one at a time, for users do not know of each other's
/// ports before these are in use.
struct Machine {
    world: World,
    _alone: MutexGuard<'static, ()>,
}

impl Machine {
    fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Self { world: World::new(), _alone: alone }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.folder.path().join(name)
    }

    /// The command line of the user called `user`.
    fn command(&self, user: &str, dir: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.env("XDG_DATA_HOME", self.path(user)).arg("--dir").arg(dir).args(arguments);
        command
    }

    fn run(&self, dir: &Path, arguments: &[&str]) -> Output {
        self.command("home", dir, arguments).output().unwrap()
    }

    /// A trial node of `user`, made and started with no flag beside `--trial`.
    fn trial(&self, user: &str, name: &str) -> Node {
        let dir = self.path(name);
        let made = self.command(user, &dir, &["--json", "init", "--trial"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        assert_eq!(made["trial"], true);
        let port = |name: &str| made[name].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        let public = port("address");
        let ports = Ports { public, management: port("management"), reached: public };
        std::fs::copy(
            self.path(user).join("concordat/trial/authority.pem"),
            self.path("authority/authority.pem"),
        )
        .or_else(|_| {
            std::fs::create_dir_all(self.path("authority"))?;
            std::fs::copy(
                self.path(user).join("concordat/trial/authority.pem"),
                self.path("authority/authority.pem"),
            )
        })
        .unwrap();
        let mut node = self.world.node_in(dir, &ports);
        node.start();
        node
    }
}

#[tokio::test]
async fn two_trial_nodes_meet_with_no_further_flag() {
    let machine = Machine::new();
    let (provider, consumer) = (machine.trial("home", "one"), machine.trial("home", "two"));
    let shared = machine.path("home/concordat/trial");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&shared), mode(&shared.join("authority.key"))), (0o700, 0o600));

    let file = provider.dir.join("data/example.csv");
    provider.text(&["publish", file.to_str().unwrap(), "--id", "urn:trial:no2", "--title", "Hourly NO2"]);
    let used = consumer.json(&["use", "urn:trial:no2", "--as", "no2", "--from", &provider.did]);
    let read = consumer.run(&["pull", used["agreement"].as_str().unwrap()]);
    assert_eq!(read.stdout, EXAMPLE);

    // It says what it is.
    for node in [&provider, &consumer] {
        assert!(node.log().contains("TRIAL NODE"), "{}", node.log());
        let checks = node.json(&["doctor"]);
        let trial = checks.as_array().unwrap().iter().find(|one| one["check"] == "trial").unwrap();
        assert_eq!(trial["verdict"], "warning");
        assert!(node.did.starts_with("did:web:localhost%3A"));
    }

    // Another user's authority counts for nothing here.
    let stranger = machine.trial("elsewhere", "three");
    let refused = stranger.run(&["catalog", &provider.did]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("certificate"), "{said}");

    // And none of them counts for another host than this machine, whoever has its key.
    let config = std::fs::read_to_string(provider.dir.join("concordat.toml")).unwrap();
    let dir = machine.path("four");
    let outside = ["init", "--address", "https://data.city.example", "--authority", shared.to_str().unwrap()];
    assert!(machine.run(&dir, &outside).status.success());
    let chain = connector::tls::certificates(&dir.join("tls/certificate.pem")).unwrap();
    let authority = connector::tls::certificates(&shared.join("authority.pem")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority[0].clone()).unwrap();
    let verifier = rustls::client::WebPkiServerVerifier::builder(std::sync::Arc::new(roots)).build().unwrap();
    let checked = rustls::client::danger::ServerCertVerifier::verify_server_cert(
        verifier.as_ref(),
        &chain[0],
        &[],
        &"data.city.example".try_into().unwrap(),
        &[],
        rustls::pki_types::UnixTime::now(),
    );
    assert!(checked.unwrap_err().to_string().contains("NameConstraint"));

    // A trial node faces nobody else.
    let mut opened = provider;
    opened.stop();
    let config = config.replacen("listen = \"127.0.0.1", "listen = \"0.0.0.0", 1);
    std::fs::write(opened.dir.join("concordat.toml"), config).unwrap();
    let refused = opened.run(&["serve"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("a trial node is for this machine only"));
}

#[test]
fn trial_nodes_that_do_not_run_yet_get_different_ports() {
    let machine = Machine::new();
    let mut seen = std::collections::BTreeSet::new();
    for name in ["one", "two", "three"] {
        assert!(machine.run(&machine.path(name), &["init", "--trial", "--name", "City"]).status.success());
        let config = connector::config::Config::load(&machine.path(name)).unwrap();
        assert!(seen.insert(config.public.listen.port()) && seen.insert(config.management.listen.port()));
        assert_eq!(config.participant.name, "City (trial)");
    }
    // What was removed is given out again.
    let first = connector::config::Config::load(&machine.path("one")).unwrap().public.listen;
    std::fs::remove_dir_all(machine.path("one")).unwrap();
    assert!(machine.run(&machine.path("four"), &["init", "--trial"]).status.success());
    let fourth = connector::config::Config::load(&machine.path("four")).unwrap().public.listen;
    assert!(fourth.port() <= first.port() || std::net::TcpListener::bind(first).is_err());
}

/// A program that was started, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn up_makes_a_node_serves_it_and_tells_three_commands_that_work() {
    let machine = Machine::new();
    let bin = machine.path("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(PROGRAM, bin.join("concordat")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let shell = |line: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", line]).env("PATH", &path).env("XDG_DATA_HOME", machine.path("home"));
        command.current_dir(machine.world.folder.path());
        command
    };
    let up = |line: &str| {
        let mut command = shell(&format!("exec {line} --until-stdin-closes"));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("Try next")), "{line}");
        let next: Vec<_> = lines.take(3).map(|line| line.trim().to_owned()).collect();
        (Running(child), next)
    };
    let (_first, next) = up("concordat --dir \"a node\" up");
    let [publish, second, use_it] = next.as_slice() else { panic!("{next:?}") };
    let done = shell(publish).output().unwrap();
    assert!(done.status.success(), "{publish}: {}", String::from_utf8_lossy(&done.stderr));
    let (_second, _) = up(second);
    let done = shell(use_it).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{use_it}: {}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("under a new agreement"), "{said}");

    // A folder with something else in it stays as it is.
    let refused = machine.run(&bin, &["up"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("name a folder of its own"), "{refused:?}");
    assert_eq!(std::fs::read_dir(&bin).unwrap().count(), 1);
}

/// A certificate for `host` until `until`, and its key.
fn certificate(host: &str, until: i32) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn init_refuses_a_certificate_that_nobody_would_accept() {
    let machine = Machine::new();
    let (file, key) = (machine.path("chain.pem"), machine.path("key.pem"));
    let init = |made: (String, String)| {
        std::fs::write(&file, made.0).unwrap();
        std::fs::write(&key, made.1).unwrap();
        let (file, key) = (file.to_str().unwrap(), key.to_str().unwrap());
        let given = [
            "init",
            "--address",
            "https://data.city.example",
            "--certificate",
            file,
            "--certificate-key",
            key,
        ];
        let made = machine.run(&machine.path("node"), &given);
        (made.status.code(), String::from_utf8_lossy(&made.stderr).into_owned())
    };
    let good = certificate("data.city.example", 2090);
    for (made, said) in [
        (certificate("data.city.example", 2021), "the certificate expired on 2021-01-01 00:00 UTC"),
        (
            certificate("other.example", 2090),
            "the certificate is for other.example, not for `data.city.example`",
        ),
        // A part of a name is not the name.
        (certificate("data.city.example.evil", 2090), "not for `data.city.example`"),
        (
            (good.0.clone(), certificate("data.city.example", 2090).1),
            "is not the private key of the certificate",
        ),
        ((good.0.clone(), "nothing".to_owned()), "no private key in"),
    ] {
        let (code, text) = init(made);
        assert!(code == Some(1) && text.contains(said), "{said}: {text}");
        assert!(!machine.path("node").exists(), "nothing is left behind");
    }
    assert_eq!(init(good).0, Some(0));
    let alone = machine.run(&machine.path("other"), &["init", "--certificate", file.to_str().unwrap()]);
    assert_eq!(alone.status.code(), Some(2), "a certificate without a key");
}

#[tokio::test]
async fn a_certificate_that_runs_out_is_told_by_serve_and_doctor_and_none_that_has_is_taken() {
    let world = World::new();
    let mut node = world.local_node("node");
    let put = |days: i64| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let at = |days: i64| {
            let at = connector::clock::now() + jiff::SignedDuration::from_hours(24 * days);
            let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
            rcgen::date_time_ymd(
                date.year().into(),
                date.month().try_into().unwrap(),
                date.day().try_into().unwrap(),
            )
        };
        (params.not_before, params.not_after) = (at(-400), at(days));
        std::fs::write(node.dir.join("tls/certificate.pem"), params.self_signed(&key).unwrap().pem())
            .unwrap();
        std::fs::write(node.dir.join("tls/key.pem"), key.serialize_pem()).unwrap();
    };
    // One that has expired does not take the place of one that is good.
    put(-3);
    let refused = node.run(&["identity", "reload-certificates"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the certificate expired on"), "{refused:?}");
    assert!(world.client().get(format!("{}/health", node.address)).send().await.is_ok());
    let checks = node.json_with(&["doctor"], 5);
    let of = |checks: &Value| {
        checks.as_array().unwrap().iter().find(|one| one["check"] == "certificate").unwrap().clone()
    };
    assert_eq!(of(&checks)["verdict"], "WRONG");

    put(5);
    node.stop();
    node.start();
    let told = |log: &str| {
        log.lines().any(|line| line.contains("WARN") && line.contains("the certificate expires on"))
    };
    // The look at the start is a task of its own.
    while !told(&node.log()) {
        tokio::task::yield_now().await;
    }
    let checks = node.run(&["--json", "doctor"]);
    let checks: Value = serde_json::from_slice(&checks.stdout).unwrap();
    assert_eq!(of(&checks)["verdict"], "warning", "{checks}");
}

#[tokio::test]
async fn a_port_in_use_is_told_with_who_has_it_and_what_to_change() {
    let world = World::new();
    let first = world.local_node("first");
    let mut second = world.local_node("second");
    second.stop();
    let file = second.dir.join("concordat.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (own, taken) = (second.management.clone(), first.management.clone());
    let text = text.replacen(own.trim_start_matches("http://"), taken.trim_start_matches("http://"), 1);
    std::fs::write(&file, &text).unwrap();
    let port = taken.rsplit(':').next().unwrap();
    let expected = format!(
        "port {port} is in use by concordat (process {}, the node in {}): stop that program, or set another port under \
         `management.listen`",
        first.process_id(),
        first.dir.display()
    );
    let refused = second.run(&["serve"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains(&expected), "{said}");
    let checked = second.run(&["doctor"]);
    assert!(String::from_utf8_lossy(&checked.stdout).contains("is in use by"), "{checked:?}");

    // Also what ends a node at its start is a line of the log, in its form.
    std::fs::write(&file, text.replacen("format = \"text\"", "format = \"json\"", 1)).unwrap();
    let refused = second.run(&["serve"]);
    let lines: Vec<Value> = String::from_utf8_lossy(&refused.stderr)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(
        lines.iter().any(|line| line["level"] == "ERROR" && line.to_string().contains("is in use by")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn log_files_have_no_colours_and_json_lines_tell_the_client() {
    let world = World::new();
    let mut node = world.local_node("node");
    let client = world.client();
    node.stop();
    std::fs::write(node.dir.join("node.log"), "").unwrap();
    let debug = [("CONCORDAT_LOG", "connector=debug")];
    node.start_with(&debug);
    client.get(format!("{}/health?secret=7h1s", node.address)).send().await.unwrap();
    node.stop();
    let log = node.log();
    assert!(!log.contains('\u{1b}'), "{log}");
    assert!(log.lines().any(|line| line.contains("from=127.0.0.1") && line.contains("answered")), "{log}");

    let file = node.dir.join("concordat.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("format = \"text\"", "format = \"json\"", 1)).unwrap();
    std::fs::write(node.dir.join("node.log"), "").unwrap();
    node.start_with(&debug);
    world.client().get(format!("{}/notify/7h1s", node.address)).send().await.unwrap();
    node.stop();
    let log = node.log();
    assert!(!log.contains("7h1s"), "secrets of addresses stay out of the log: {log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answered = lines.iter().find(|line| line["span"]["face"] == "notify").unwrap();
    assert_eq!(answered["span"]["from"], "127.0.0.1");
    assert_eq!(answered["span"]["method"], "GET");
}
