//! Starts nodes, asks them, plays strangers.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use reqwest::{Client, Response};
use serde_json::{Value, json};
use trust::{Algorithm, PrivateKey};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_concordat");
pub const CONTEXT: &str = "https://w3id.org/dspace/2025/1/context.jsonld";
pub const PURPOSE: &str = "urn:concordat:purpose:environmental-monitoring";

/// A folder with an authority and nodes.
pub struct World {
    pub folder: tempfile::TempDir,
    /// The program that its nodes run: this one, or one of another release.
    pub program: String,
    is_older: bool,
}

/// Where a node listens, and where it is reached.
pub struct Ports {
    pub public: u16,
    pub management: u16,
    /// In its DID and address; another than `public` where something stands in between.
    pub reached: u16,
}

impl Ports {
    fn free() -> Self {
        let public = free_port();
        Self { public, management: free_port(), reached: public }
    }
}

impl World {
    /// A world whose nodes run the program under test: what cargo built, or `CONCORDAT_UNDER_TEST`, such as a release build.
    pub fn new() -> Self {
        let program = std::env::var("CONCORDAT_UNDER_TEST").unwrap_or_else(|_| PROGRAM.to_owned());
        Self { is_older: false, ..Self::of(&program) }
    }

    /// A world whose nodes run `program`, of an older release.
    pub fn of(program: &str) -> Self {
        connector::tls::install_provider();
        Self { folder: tempfile::tempdir().unwrap(), program: program.to_owned(), is_older: true }
    }

    /// Makes a node with further arguments of `init`, and starts it.
    pub fn node(&self, name: &str, arguments: &[&str]) -> Node {
        self.node_at(name, &Ports::free(), arguments)
    }

    /// As [`World::node`], at these ports.
    pub fn node_at(&self, name: &str, ports: &Ports, arguments: &[&str]) -> Node {
        let dir = self.folder.path().join(name);
        let authority = self.folder.path().join("authority");
        let made = Command::new(&self.program)
            .args(["--dir", dir.to_str().unwrap(), "init", "--name", name])
            .args(["--address", &format!("https://localhost:{}", ports.reached)])
            .args(["--listen", &format!("127.0.0.1:{}", ports.public)])
            .args(["--management", &format!("127.0.0.1:{}", ports.management)])
            .args(["--authority", authority.to_str().unwrap()])
            .args(arguments)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        if !self.is_older {
            // Whatever a test puts beside its nodes may be shared.
            let beside = self.folder.path().display();
            let allowed = format!(
                "\n[[sources.allowed]]\npath = \"{beside}\"\n[[sources.allowed]]\nsecret = \"{beside}\"\n"
            );
            let config = std::fs::read_to_string(dir.join("concordat.toml")).unwrap() + &allowed;
            std::fs::write(dir.join("concordat.toml"), config).unwrap();
        }
        let mut node = self.node_in(dir, ports);
        node.start();
        node
    }

    /// The node of a folder that is there, not started.
    pub fn node_in(&self, dir: PathBuf, ports: &Ports) -> Node {
        Node {
            did: format!("did:web:localhost%3A{}", ports.reached),
            address: format!("https://localhost:{}", ports.reached),
            management: format!("http://127.0.0.1:{}", ports.management),
            key: std::fs::read_to_string(dir.join("keys/management.key")).unwrap(),
            dir,
            program: self.program.clone(),
            child: None,
            client: self.client(),
        }
    }

    /// A node whose peers may be on this machine.
    pub fn local_node(&self, name: &str) -> Node {
        self.node(name, &["--allow-network", "127.0.0.0/8", "--allow-network", "::1/128"])
    }

    /// A client that trusts the authority.
    pub fn client(&self) -> Client {
        self.build(|builder| builder)
    }

    /// As [`World::client`], which goes nowhere by itself.
    pub fn client_that_stays(&self) -> Client {
        self.build(|builder| builder.redirect(reqwest::redirect::Policy::none()))
    }

    fn build(&self, change: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Client {
        let authority = self.folder.path().join("authority/authority.pem");
        let mut roots = rustls::RootCertStore::empty();
        for certificate in connector::tls::certificates(&authority).unwrap() {
            roots.add(certificate).unwrap();
        }
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        change(Client::builder().tls_backend_preconfigured(tls).no_proxy()).build().unwrap()
    }
}

/// A port that nobody uses, and that the operating system gives to nobody who does not ask for it by number: a node that is
/// stopped and started again finds it free.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    const RANGE: std::ops::Range<u16> = 10_000..32_000;
    let span = u32::from(RANGE.end - RANGE.start);
    let next = NEXT
        .get_or_init(|| AtomicU16::new(u16::try_from(std::process::id().wrapping_mul(97) % span).unwrap()));
    loop {
        let port = RANGE.start + next.fetch_add(1, Ordering::Relaxed) % (RANGE.end - RANGE.start);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A node that can be killed and started again.
pub struct Node {
    pub did: String,
    pub address: String,
    pub management: String,
    pub key: String,
    pub dir: PathBuf,
    pub client: Client,
    pub program: String,
    child: Option<Child>,
}

impl Node {
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// As [`Node::start`], with variables in its environment.
    pub fn start_with(&mut self, variables: &[(&str, &str)]) {
        let log =
            std::fs::OpenOptions::new().append(true).create(true).open(self.dir.join("node.log")).unwrap();
        let mut child = Command::new(&self.program)
            .args(["--dir", self.dir.to_str().unwrap(), "--json", "serve", "--until-stdin-closes"])
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{}: {}", self.did, self.log());
        self.child = Some(child);
    }

    /// Puts the node into a closed test network: it listens at `plain`, is reached at `address`, sends `header`, and
    /// knows the others by theirs.
    pub fn close_network(&mut self, plain: u16, address: &str, header: &str, others: &[(&str, &str)]) {
        self.stop();
        let file = self.dir.join("concordat.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        // Suites begin more in a minute than a participant usually may.
        let mut text = text.replace("signatures = \"required\"", "signatures = \"none\"");
        text = text.replace("messages_per_minute = 1200", "messages_per_minute = 1000000");
        text.push_str(&format!(
            "\n[closed_test_network]\nlisten = \"127.0.0.1:{plain}\"\naddress = \"{address}\"\n\
             authorization = \"{header}\"\n"
        ));
        for (id, header) in others {
            text.push_str(&format!(
                "[[closed_test_network.participants]]\nid = \"{id}\"\nauthorization = \"{header}\"\n"
            ));
        }
        std::fs::write(&file, text).unwrap();
        self.start();
    }

    pub fn process_id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Changes its configuration and starts it anew.
    pub fn configure(&mut self, before: &str, after: &str) {
        self.stop();
        let file = self.dir.join("concordat.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(before), "{text}");
        std::fs::write(&file, text.replacen(before, after, 1)).unwrap();
        self.start();
    }

    /// Puts something into the record `key` that nobody can read, while the node does not run.
    pub async fn spoil(&self, key: &str) {
        self.spoil_all(&[key]).await;
    }

    /// As [`Node::spoil`], for several records at once.
    pub async fn spoil_all(&self, keys: &[&str]) {
        self.write(|batch| keys.iter().for_each(|key| batch.put(*key, b"spoilt".to_vec()))).await;
    }

    /// Puts a record under `key`, while the node does not run.
    pub async fn put(&self, key: &str, record: &Value) {
        let bytes = connector::tables::encode(key, record).unwrap();
        self.write(|batch| batch.put(key, bytes)).await;
    }

    /// Changes the record `key`, while the node does not run.
    pub async fn alter(&self, key: &str, change: impl FnOnce(&mut Value)) {
        let found = self.store().get(key).unwrap().unwrap();
        let mut record: Value = connector::tables::decode(key, &found.value).unwrap();
        change(&mut record);
        self.put(key, &record).await;
    }

    /// Removes the record `key`, while the node does not run.
    pub async fn forget(&self, key: &str) {
        self.write(|batch| batch.delete(key)).await;
    }

    /// The records below `prefix`, while the node does not run.
    pub fn records(&self, prefix: &str) -> Vec<(String, store::Versioned)> {
        self.store().scan(prefix, None, 10_000).unwrap()
    }

    async fn write(&self, change: impl FnOnce(&mut store::Batch)) {
        let mut batch = store::Batch::new();
        change(&mut batch);
        self.store().commit(batch).await.unwrap();
    }

    fn store(&self) -> store::Store {
        let options = store::Options { engine: store::Engine::Sled, ..store::Options::default() };
        let began = std::time::Instant::now();
        loop {
            match store::Store::open(&self.dir.join("store"), &options) {
                // A program that another test starts holds what this process has open until it runs.
                Err(store::StoreError::Locked(_)) if began.elapsed().as_secs() < 20 => {
                    std::thread::yield_now()
                }
                opened => return opened.unwrap().0,
            }
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends it in good order.
    pub fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success(), "{}", self.log());
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("node.log")).unwrap_or_default()
    }

    /// The command line of this node.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(&self.program).arg("--dir").arg(&self.dir).args(arguments).output().unwrap()
    }

    /// As [`Node::run`], which must succeed; its JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// As [`Node::json`], which must end with the exit code `code`.
    pub fn json_with(&self, arguments: &[&str], code: i32) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// As [`Node::run`], which must succeed; what it prints.
    pub fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<(u16, Value), reqwest::Error> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request =
            self.client.request(method, format!("{}{path}", self.management)).header("x-api-key", &self.key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok((status, response.json().await.unwrap_or_default()))
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None).await.unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask("POST", path, Some(body)).await.unwrap();
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// The folder whose files it shares.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Publishes `content` as `id` under the usual terms.
    pub fn publish(&self, id: &str, content: &[u8], arguments: &[&str]) {
        let file = self.data().join(format!("{}.csv", id.replace(':', "-")));
        std::fs::write(&file, content).unwrap();
        let usual = [
            "publish",
            file.to_str().unwrap(),
            "--id",
            id,
            "--title",
            "Test rows",
            "--purpose",
            PURPOSE,
            "--valid-until",
            "2100-01-01T00:00:00Z",
            "--no-distribution",
        ];
        self.json(&[&usual, arguments].concat());
    }

    /// Waits until a command prints `text`: run again whenever the node has a new event.
    pub async fn until_text(&self, arguments: &[&str], text: &str) -> String {
        self.until("/v4/identity", |_| self.text(arguments).contains(text)).await;
        self.text(arguments)
    }

    /// The texts of all audit events.
    pub fn events(&self) -> Vec<String> {
        self.text(&["events"]).lines().map(str::to_owned).collect()
    }

    /// Waits until the document at `path` satisfies `done`: asked again whenever the node has a new event.
    pub async fn until(&self, path: &str, done: impl Fn(&Value) -> bool) -> Value {
        let waiting = async {
            loop {
                let url = format!("{}/v4/events", self.management);
                let Ok(mut events) = self.client.get(url).header("x-api-key", &self.key).send().await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                loop {
                    let found = self.get(path).await;
                    if done(&found) {
                        return found;
                    }
                    match events.chunk().await {
                        Ok(Some(_)) => {}
                        _ => break,
                    }
                }
            }
        };
        match tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await {
            Ok(found) => found,
            Err(_) => panic!("{path} did not get there: {}\n{}", self.get(path).await, self.log()),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A participant that the test plays: a did:key with its own key.
pub struct Stranger {
    pub key: PrivateKey,
    pub did: String,
    pub kid: String,
    pub client: Client,
}

impl Stranger {
    pub fn new(world: &World) -> Self {
        Self::of(PrivateKey::generate(Algorithm::Ed25519).unwrap(), world)
    }

    /// Who has `key`.
    pub fn of(key: PrivateKey, world: &World) -> Self {
        let did = trust::did::key_of(key.public_jwk()).unwrap();
        let kid = format!("{did}#{}", did.trim_start_matches("did:key:"));
        Self { key, did, kid, client: world.client() }
    }

    pub fn token(&self, audience: &str) -> String {
        let now = connector::clock::now();
        trust::token::issue(&self.key, &self.kid, &self.did, audience, &connector::ids::urn(), None, now)
            .unwrap()
    }

    /// A token with claims of the test's own making.
    pub fn odd_token(&self, audience: &str, change: impl FnOnce(&mut Value)) -> String {
        let now = connector::clock::now().as_second();
        let mut claims = json!({"iss": self.did, "sub": self.did, "aud": audience, "jti": connector::ids::urn(),
            "iat": now, "nbf": now, "exp": now + 60});
        change(&mut claims);
        self.key.sign(&self.kid, "JWT", claims.to_string().as_bytes()).unwrap()
    }

    pub async fn send(&self, node: &Node, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.send_with(node, method, path, body.to_string(), Some(self.token(&node.did))).await
    }

    pub async fn send_with(
        &self,
        node: &Node,
        method: &str,
        path: &str,
        body: String,
        token: Option<String>,
    ) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("{}/dsp/2025-1{path}", node.address);
        let mut request =
            self.client.request(method, url).header("content-type", "application/json").body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        answer(request.send().await.unwrap()).await
    }
}

/// A peer that says yes to everything.
pub struct Peer {
    pub address: String,
}

impl Peer {
    pub fn start(world: &World) -> Self {
        Self::serving(world, |_| axum::Router::new().fallback(|| async { http::StatusCode::OK }))
    }

    /// A peer with routes of its own, made for its address.
    pub fn serving(world: &World, routes: impl FnOnce(&str) -> axum::Router) -> Self {
        Self::serving_at(world, 0, routes)
    }

    /// As [`Peer::serving`], at a port; at any free one where that is 0.
    pub fn serving_at(world: &World, port: u16, routes: impl FnOnce(&str) -> axum::Router) -> Self {
        let dir = world.folder.path().join("authority");
        // The certificate of any node of this world is for `localhost`.
        let node_tls = std::fs::read_dir(world.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path().join("tls"))
            .find(|path| path.exists())
            .unwrap();
        assert!(dir.exists());
        let chain = connector::tls::certificates(&node_tls.join("certificate.pem")).unwrap();
        let key = std::fs::read(node_tls.join("key.pem")).unwrap();
        let key =
            <rustls::pki_types::PrivateKeyDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(&key)
                .unwrap();
        let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let router = routes(&address);
        let stop = tokio_util::sync::CancellationToken::new();
        tokio::spawn(connector::http::listener::serve(
            listener,
            Some(tokio::sync::watch::channel(std::sync::Arc::new(tls)).1),
            router,
            connector::config::Bounds::default(),
            stop,
        ));
        Self { address }
    }
}

pub async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

/// A small generator, so that a run can be repeated from its seed (splitmix64).
pub struct Chance(pub u64);

impl Chance {
    /// A seed from the environment, else one of this moment.
    pub fn seed(variable: &str) -> u64 {
        let fresh = || u64::try_from(connector::clock::now().as_nanosecond() & 0xffff_ffff).unwrap();
        number(variable).unwrap_or_else(fresh)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// A number in the environment.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// All processes of a kind once none has a message in flight: our pid to (their pid, state).
pub async fn settled(node: &Node, kind: &str) -> BTreeMap<String, (String, String)> {
    let mut found = BTreeMap::new();
    let mut offset = 0;
    loop {
        let page = node.post(&format!("/v4/{kind}/request"), json!({"limit": 500, "offset": offset})).await;
        let page = page.as_array().unwrap().clone();
        if page.is_empty() {
            return found;
        }
        offset += page.len();
        for one in page {
            let pid = one["@id"].as_str().unwrap();
            let path = format!("/v4/{kind}/{}", trust::did::segment(pid));
            let one = node.until(&path, |one| one.get("urn:concordat:pending").is_none()).await;
            let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            found.insert(pid.to_owned(), (text("correlationId"), text("state")));
        }
    }
}
