//! Every example of the documentation runs: commands against nodes, JSON where it is said to belong, and what is named in passing.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::documents::read;
use crate::membership;
use crate::support::{Node, PURPOSE, World, free_port};

/// What people read.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "SECURITY.md",
    "docs/configuration.md",
    "docs/dcp.md",
    "docs/dsp.md",
    "docs/guide.md",
    "docs/operate.md",
    "docs/performance.md",
    "docs/policies.md",
    "docs/programs.md",
    "docs/tools.md",
    "examples/three_agencies/README.md",
];
/// Commands that have a test of their own, since they take long.
const ELSEWHERE: &[&str] =
    &["./demo", "./test", "concordat demo", "concordat bench", "concordat --dir one up"];

/// An example: its language, and where it stands.
struct Example {
    place: String,
    language: String,
    text: String,
}

/// The fenced blocks of a document.
fn examples(document: &str) -> Vec<Example> {
    let text = read(document);
    let (mut found, mut open) = (Vec::new(), None);
    for (number, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                let place = format!("{document}:{}", number + 1);
                open = Some(Example { place, language: language.to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(example)) => example.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{document}: a block does not end");
    found
}

/// The commands of a block of the shell, each in one line, without remarks.
fn commands(text: &str) -> Vec<String> {
    let whole = text.replace("\\\n", " ");
    let lines = whole.lines().map(|line| line.split(" # ").next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// Nodes as the examples speak of them, and a folder in which their commands run.
struct Stage {
    world: World,
    authority: Node,
    antwerp: Node,
    paris: Node,
    folder: PathBuf,
    /// What commands printed that later ones name.
    named: BTreeMap<&'static str, String>,
}

impl Stage {
    async fn new() -> Self {
        let world = World::new();
        let authority = membership::authority(&world);
        let (antwerp, paris) = (world.local_node("antwerp"), world.local_node("paris"));
        let folder = world.folder.path().join("examples");
        std::fs::create_dir(&folder).unwrap();
        for node in [&antwerp, &paris] {
            let lines = "station,at,no2\nA1,2026-01-01T00:00:00Z,21.5\n";
            std::fs::write(node.data().join("no2.csv"), lines).unwrap();
        }
        std::fs::copy(antwerp.data().join("no2.csv"), folder.join("no2.csv")).unwrap();
        let rows = paris.data().join("paris.csv");
        std::fs::write(&rows, "station,no2\nP1,20\n").unwrap();
        let publish =
            ["publish", rows.to_str().unwrap(), "--id", "urn:paris:no2", "--title", "Noise, hourly"];
        paris.json(&[&publish[..], &["--keyword", "noise", "--purpose", PURPOSE]].concat());
        // Somebody asks, and waits for a person's answer.
        antwerp.publish("urn:antwerp:asked", b"a\n1\n", &["--automation", "manual"]);
        let asked = ["negotiate", &antwerp.did, "urn:antwerp:asked", "--purpose", PURPOSE, "--no-wait"];
        paris.json(&asked);
        let waits = antwerp.until_text(&["negotiations", "list"], "urn:antwerp:asked").await;
        let id = waits.split_whitespace().find(|word| word.starts_with("urn:uuid:")).unwrap().to_owned();
        antwerp.json(&["catalog", &paris.did]);
        // A certificate as a city has one.
        let city = world.folder.path().join("city");
        let trial = world.folder.path().join("authority");
        let made = Command::new(&antwerp.program)
            .args([
                "--dir",
                city.to_str().unwrap(),
                "init",
                "--name",
                "x",
                "--address",
                "https://data.antwerp.example",
            ])
            .args(["--authority", trial.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::copy(city.join("tls/certificate.pem"), folder.join("chain.pem")).unwrap();
        std::fs::copy(city.join("tls/key.pem"), folder.join("key.pem")).unwrap();
        std::fs::set_permissions(folder.join("key.pem"), std::fs::Permissions::from_mode(0o600)).unwrap();
        Self {
            world,
            authority,
            antwerp,
            paris,
            folder,
            named: BTreeMap::from([(" ID ", format!(" {id} "))]),
        }
    }

    /// A command as it is written, with this world's participants in place of the examples'.
    fn here(&self, command: &str) -> String {
        let mut text = command
            .replace("did:web:data.paris.example", &self.paris.did)
            .replace("did:web:authority.example", &self.authority.did)
            .replace("did:web:council.example", &self.authority.did)
            .replace("did:web:data.antwerp.example", &self.antwerp.did)
            .replace("did:web:air.antwerp.example", &self.antwerp.did)
            .replace(" /backup/", &format!(" {}/", self.folder.display()))
            .replace("--dir council ", "")
            .replace("--dir antwerp ", "");
        for (name, value) in &self.named {
            text = text.replace(name, value);
        }
        text
    }

    fn sh(&self, node: &Path, command: &str) -> Output {
        let text = format!("concordat() {{ \"$PROGRAM\" --dir \"$NODE\" \"$@\"; }}\n{command}");
        Command::new("bash")
            .args(["-c", &text])
            .current_dir(&self.folder)
            .env("PROGRAM", &self.antwerp.program)
            .env("NODE", node)
            .output()
            .unwrap()
    }

    /// Runs a command of an example, and holds it to what the documentation says of its end.
    fn run(&mut self, place: &str, before: &str, command: &str) {
        if ELSEWHERE.iter().any(|one| command.starts_with(one)) {
            return;
        }
        if command.starts_with("concordat init ") {
            let fresh = self.world.folder.path().join(format!("fresh-{}", free_port()));
            let ports = format!("--listen 127.0.0.1:{} --management 127.0.0.1:{}", free_port(), free_port());
            let made = self.sh(&fresh, &command.replace("--listen 0.0.0.0:443", &ports));
            assert!(made.status.success(), "{place}: {command}: {}", String::from_utf8_lossy(&made.stderr));
            return;
        }
        // The nodes of this test were started so.
        if command == "concordat serve" {
            return;
        }
        let of_authority = command.starts_with("concordat authority") || command.contains("--dir council");
        let node = if of_authority { self.authority.dir.clone() } else { self.antwerp.dir.clone() };
        if command.starts_with("concordat authority init") {
            let fresh = self.world.node("another", &[]);
            let made = self.sh(&fresh.dir, command);
            assert!(made.status.success(), "{place}: {command}: {}", String::from_utf8_lossy(&made.stderr));
            return;
        }
        let output = self.sh(&node, &format!("{before}{}", self.here(command)));
        let (code, said) =
            (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned());
        // It exits with 5 when something is wrong, as with the certificate of a trial.
        let may = if command == "concordat doctor" { &[0, 5][..] } else { &[0] };
        assert!(
            may.contains(&code),
            "{place}: {command}: {code} {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        if let Some(agreement) = said.lines().find_map(|line| line.strip_prefix("agreement ")) {
            self.named.insert("AGREEMENT", agreement.to_owned());
        }
    }

    /// Gives JSON to the command that takes it.
    fn take(&self, place: &str, text: &str) {
        let json: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{place}: {error}"));
        let file = self.folder.join(format!("{}.json", place.replace([':', '/'], "-")));
        std::fs::write(&file, text).unwrap();
        let (file, rows) = (file.to_str().unwrap(), self.antwerp.data().join("no2.csv"));
        let id = format!("urn:example:{}", place.rsplit(':').next().unwrap());
        let publish = [
            "publish",
            rows.to_str().unwrap(),
            "--id",
            &id,
            "--title",
            "Rows",
            "--purpose",
            PURPOSE,
            "--yes",
        ];
        let is = |member: &str| !json[member].is_null();
        let output = if is("clauses") {
            let book = text.replace("https://space.example", membership::SPACE);
            std::fs::write(file, book).unwrap();
            self.authority.run(&["rulebook", "publish", file])
        } else if is("levels") {
            self.antwerp.run(&[&publish[..], &["--service-levels", file]].concat())
        } else if is("subject") {
            std::fs::write(&rows, "rider,start,plan\nanna,Plaza,gold\n").unwrap();
            self.antwerp.run(&[&publish[..], &["--personal", file]].concat())
        } else if is("broader") {
            let policy = self.folder.join("policy.json");
            let made = self.antwerp.run(&[
                "policy",
                "new",
                "--purpose",
                "https://city.example/purpose/flood-warning",
            ]);
            std::fs::write(&policy, made.stdout).unwrap();
            self.antwerp.run(&["policy", "check", policy.to_str().unwrap(), "--terms", file])
        } else {
            panic!("{place}: say in tests/examples.rs where this belongs: {text}")
        };
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{place}: {}", String::from_utf8_lossy(&said));
    }

    /// Reads the address that a line of Python reads, in the way in which it says that the key is passed.
    async fn read(&self, place: &str, text: &str) {
        let address = text.split('"').nth(1).unwrap_or_default();
        assert!(text.contains("storage_options={\"X-Api-Key\": KEY}"), "{place}: {text}");
        let path = address.splitn(4, '/').nth(3).unwrap_or_default();
        let used = self.antwerp.run(&["use", "urn:paris:no2", "--as", "paris", "--purpose", PURPOSE]);
        assert!(used.status.success(), "{}", String::from_utf8_lossy(&used.stderr));
        let url = format!("{}/{path}", self.antwerp.management);
        let answer =
            self.antwerp.client.get(url).header("X-Api-Key", &self.antwerp.key).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{place}: {text}");
        assert!(answer.text().await.unwrap().starts_with("station,no2"), "{place}");
    }
}

#[tokio::test]
async fn every_example_runs() {
    let mut stage = Stage::new().await;
    let mut count = 0;
    for document in DOCUMENTS {
        for example in examples(document) {
            let Example { place, language, text } = &example;
            match language.as_str() {
                "sh" => {
                    // What is said to the shell holds for the commands after it.
                    let mut before = String::new();
                    for command in commands(text) {
                        match command.starts_with("umask ") {
                            true => before += &format!("{command}\n"),
                            false => stage.run(place, &before, &command),
                        }
                    }
                }
                "json" => stage.take(place, text),
                "python" => stage.read(place, text).await,
                // What a command prints.
                "" => continue,
                other => panic!("{place}: say in tests/examples.rs what runs `{other}`"),
            }
            count += 1;
        }
    }
    assert!(count >= 12, "only {count} examples were found");
}

/// What is named in passing, such as `concordat peers --refresh`, is a command with such options.
#[test]
fn every_command_that_is_named_is_one() {
    let world = World::new();
    let mut help = BTreeMap::new();
    let mut wrong = Vec::new();
    for document in DOCUMENTS {
        let text = read(document).replace('\n', " ");
        for code in text.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("concordat ")) {
            let words: Vec<_> = code.split_whitespace().collect();
            let is_name = |word: &&&str| {
                word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
            };
            let mut path: Vec<_> = words.iter().take_while(is_name).copied().collect();
            // A word behind a command may be a value of it.
            let text = loop {
                let known = help.entry(path.join(" ")).or_insert_with(|| {
                    let asked = Command::new(&world.program).args(&path).arg("--help").output().unwrap();
                    asked.status.success().then(|| String::from_utf8(asked.stdout).unwrap())
                });
                match known {
                    Some(text) => break text.clone(),
                    None if path.len() > 1 => drop(path.pop()),
                    None => {
                        wrong.push(format!("{document}: there is no `concordat {code}`"));
                        break String::new();
                    }
                }
            };
            let options = words.iter().filter(|word| word.starts_with("--") && word.len() > 2);
            for option in options.filter(|_| !text.is_empty()) {
                let option = option.split(['=', ',', '.']).next().unwrap_or_default();
                if !text.contains(option) {
                    wrong.push(format!("{document}: `concordat {code}`: there is no {option}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
