//! Eclipse EDC as a participant runs it: IdentityHub with its token service, and a control plane with a data plane, each a process
//! of its own, behind a reverse proxy that speaks TLS.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::{Node, Peer, World, free_port};

/// Where EDC's libraries and our launchers are, if this run has them (`./test edc`).
pub fn folder() -> Option<PathBuf> {
    let folder = std::env::var("CONCORDAT_EDC").ok().map(PathBuf::from);
    if folder.is_none() {
        eprintln!("EDC is left out; `./test edc` runs it");
    }
    folder
}

const API: &str = "https://w3id.org/edc/v0.0.1/ns/";
/// Most that a step of EDC is waited for.
const WAIT: Duration = Duration::from_secs(60);
const HEADER: &str = "x-api-key";
const KEY: &str = "password";

/// A Java process.
struct Runtime {
    child: Child,
    log: PathBuf,
    /// From its start until it was ready.
    took: Duration,
}

impl Runtime {
    /// Starts `name` of EDC's folder with these settings, and waits for its readiness.
    fn start(
        edc: &Path,
        name: &str,
        work: &Path,
        label: &str,
        memory: &str,
        settings: &[(&str, String)],
    ) -> Self {
        let (file, log) = (work.join(format!("{label}.properties")), work.join(format!("{label}.log")));
        let escaped = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
        let lines: String =
            settings.iter().map(|(key, value)| format!("{key}={}\n", escaped(value))).collect();
        std::fs::write(&file, lines).unwrap();
        let began = Instant::now();
        let mut child = Command::new("java")
            .arg(format!("-Xmx{memory}"))
            .arg(format!("-Djavax.net.ssl.trustStore={}", work.join("trust.p12").display()))
            .arg("-Djavax.net.ssl.trustStorePassword=changeit")
            .arg(format!("-Dedc.fs.config={}", file.display()))
            .arg("-cp")
            .arg(format!("{0}/{name}-classes:{0}/{name}/*", edc.display()))
            .arg("org.eclipse.edc.boot.system.runtime.BaseRuntime")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut file = std::fs::File::create(&log).unwrap();
        let mut line = String::new();
        let ready = loop {
            line.clear();
            if lines.read_line(&mut line).unwrap() == 0 {
                break false;
            }
            file.write_all(line.as_bytes()).unwrap();
            if line.contains(" ready") {
                break true;
            }
        };
        let took = began.elapsed();
        let mut also = file.try_clone().unwrap();
        std::thread::spawn(move || std::io::copy(&mut lines, &mut file));
        let errors = std::thread::spawn(move || std::io::copy(&mut errors, &mut also));
        if !ready {
            let _ = (child.wait(), errors.join());
            panic!("{label} did not start: {}", std::fs::read_to_string(&log).unwrap());
        }
        Self { child, log, took }
    }

    /// Megabytes that it holds now.
    fn resident(&self) -> u64 {
        resident(self.child.id())
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("{}:\n{}", self.log.display(), lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

/// Megabytes that a process holds.
pub fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Shows what happened at a node where the test fails.
pub struct Witness(Command);

impl Witness {
    pub fn of(node: &Node) -> Self {
        let mut events = Command::new(&node.program);
        events.arg("--dir").arg(&node.dir).arg("events");
        Self(events)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let told = self.0.output().map(|output| output.stdout).unwrap_or_default();
            eprintln!("{}", String::from_utf8_lossy(&told));
        }
    }
}

/// IdentityHub, which holds the keys and credentials of several participants.
pub struct Hub {
    edc: PathBuf,
    work: PathBuf,
    runtime: Runtime,
    ports: [u16; 4],
    key: String,
    client: Client,
}

const IDENTITY: usize = 0;
const CREDENTIALS: usize = 1;
const DID: usize = 2;
const STS: usize = 3;

impl Hub {
    pub fn start(world: &World, edc: &Path) -> Self {
        let work = world.folder.path().join("edc");
        std::fs::create_dir_all(&work).unwrap();
        let imported = Command::new("keytool")
            .args([
                "-importcert",
                "-noprompt",
                "-alias",
                "authority",
                "-storepass",
                "changeit",
                "-storetype",
                "PKCS12",
            ])
            .arg("-file")
            .arg(world.folder.path().join("authority/authority.pem"))
            .arg("-keystore")
            .arg(work.join("trust.p12"))
            .output()
            .unwrap();
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stdout));
        let ports = [free_port(), free_port(), free_port(), free_port()];
        let key = work.join("super-user.key");
        let mut settings = vec![
            ("x.key.file", key.display().to_string()),
            ("edc.iam.accesstoken.jti.validation", "true".to_owned()),
            ("edc.iam.did.web.use.https", "true".to_owned()),
            ("web.http.port", free_port().to_string()),
            ("web.http.path", "/api".to_owned()),
        ];
        for (port, path) in [
            (ports[IDENTITY], ["web.http.identity.port", "web.http.identity.path", "/api/identity"]),
            (
                ports[CREDENTIALS],
                ["web.http.credentials.port", "web.http.credentials.path", "/api/credentials"],
            ),
            (ports[DID], ["web.http.did.port", "web.http.did.path", "/"]),
            (ports[STS], ["web.http.sts.port", "web.http.sts.path", "/api/sts"]),
            (free_port(), ["web.http.version.port", "web.http.version.path", "/api/version"]),
            (free_port(), ["web.http.accounts.port", "web.http.accounts.path", "/api/accounts"]),
        ] {
            settings.extend([(path[0], port.to_string()), (path[1], path[2].to_owned())]);
        }
        let runtime = Runtime::start(edc, "identityhub", &work, "identityhub", "256m", &settings);
        let key = std::fs::read_to_string(key).unwrap();
        let client = Client::builder().no_proxy().build().unwrap();
        Self { edc: edc.to_owned(), work, runtime, ports, key, client }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let url =
            format!("http://127.0.0.1:{}/api/identity/v1alpha/participants{path}", self.ports[IDENTITY]);
        let mut request = self.client.request(method, url).header(HEADER, &self.key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// A participant with EDC.
pub struct Participant {
    pub did: String,
    /// Where its peers reach it.
    pub address: String,
    name: String,
    management: String,
    runtime: Runtime,
    client: Client,
}

impl Participant {
    /// A participant whose credentials IdentityHub keeps, and who believes `issuer`.
    pub async fn start(world: &World, hub: &Hub, name: &str, issuer: &str) -> Self {
        Self::start_as(world, hub, name, issuer, None).await
    }

    /// As [`Self::start`], with a participant id that is not its DID.
    pub async fn start_as(world: &World, hub: &Hub, name: &str, issuer: &str, id: Option<&str>) -> Self {
        let [api, management, protocol, control, version, public] = std::array::from_fn(|_| free_port());
        let (did_port, credentials_port) = (hub.ports[DID], hub.ports[CREDENTIALS]);
        let through = hub.client.clone();
        let peer = Peer::serving(world, |_| {
            axum::Router::new().fallback(move |request: Request| {
                let port = match request.uri().path() {
                    path if path.starts_with("/.well-known/did.json") => did_port,
                    path if path.starts_with("/api/credentials") => credentials_port,
                    path if path.starts_with("/public") => public,
                    _ => protocol,
                };
                forward(through.clone(), port, request)
            })
        });
        let address = peer.address;
        let did = trust::did::web(address.strip_prefix("https://").unwrap());
        let encoded = base64::engine::general_purpose::STANDARD.encode(name);
        let made = hub
            .ask(Method::POST, "/", Some(json!({"roles": [], "active": true, "participantContextId": name, "did": did,
                "serviceEndpoints": [
                    {"id": format!("{did}#cs"), "type": "CredentialService",
                     "serviceEndpoint": format!("{address}/api/credentials/v1/participants/{encoded}")},
                    {"id": format!("{did}#dsp"), "type": "DataService",
                     "serviceEndpoint": format!("{address}/api/dsp/.well-known/dspace-version")}],
                "keys": [{"keyId": format!("{did}#key-1"), "privateKeyAlias": format!("{name}-key"), "active": true,
                    "keyGeneratorParams": {"algorithm": "EC", "curve": "secp256r1"}}]})))
            .await;
        let secret = hub.work.join(format!("{name}.secret"));
        std::fs::write(&secret, made["clientSecret"].as_str().unwrap()).unwrap();
        let mut settings = vec![
            ("edc.participant.id", id.unwrap_or(&did).to_owned()),
            ("edc.iam.issuer.id", did.clone()),
            ("edc.participant.context.id", name.to_owned()),
            ("edc.iam.did.web.use.https", "true".to_owned()),
            ("edc.iam.sts.oauth.token.url", format!("http://127.0.0.1:{}/api/sts/token", hub.ports[STS])),
            ("edc.iam.sts.oauth.client.id", did.clone()),
            ("edc.iam.sts.oauth.client.secret.alias", "sts-secret".to_owned()),
            ("edc.iam.trusted-issuer.authority.id", issuer.to_owned()),
            ("edc.iam.trusted-issuer.authority.supportedtypes", "[\"*\"]".to_owned()),
            ("edc.iam.credential.revocation.mimetype", "application/json".to_owned()),
            ("edc.iam.credential.revocation.cache.validity", "1".to_owned()),
            ("edc.dsp.callback.address", format!("{address}/api/dsp")),
            ("web.http.port", api.to_string()),
            ("web.http.path", "/api".to_owned()),
            ("web.http.management.auth.type", "tokenbased".to_owned()),
            ("web.http.management.auth.key", KEY.to_owned()),
            ("edc.management.context.enabled", "true".to_owned()),
            ("edc.dataplane.api.public.baseurl", format!("{address}/public")),
            ("edc.transfer.proxy.token.signer.privatekey.alias", "dp-private".to_owned()),
            ("edc.transfer.proxy.token.verifier.publickey.alias", "dp-public".to_owned()),
            ("edc.dpf.selector.url", format!("http://127.0.0.1:{control}/control/v1/dataplanes")),
            ("x.scopes", "org.eclipse.edc.vc.type:MembershipCredential:read".to_owned()),
            ("x.secret.file", secret.display().to_string()),
        ];
        for (port, path) in [
            (management, ["web.http.management.port", "web.http.management.path", "/management"]),
            (protocol, ["web.http.protocol.port", "web.http.protocol.path", "/api/dsp"]),
            (control, ["web.http.control.port", "web.http.control.path", "/control"]),
            (version, ["web.http.version.port", "web.http.version.path", "/version"]),
            (public, ["web.http.public.port", "web.http.public.path", "/public"]),
        ] {
            settings.extend([(path[0], port.to_string()), (path[1], path[2].to_owned())]);
        }
        // As it comes it looks at its work once a second; this is its time without that.
        for machine in [
            "edc.negotiation.consumer.state-machine.iteration-wait-millis",
            "edc.negotiation.provider.state-machine.iteration-wait-millis",
            "edc.transfer.state-machine.iteration-wait-millis",
            "edc.dataplane.state-machine.iteration-wait-millis",
            "edc.data.plane.selector.state-machine.iteration-wait-millis",
        ] {
            settings.push((machine, "50".to_owned()));
        }
        let runtime = Runtime::start(&hub.edc, "connector", &hub.work, name, "384m", &settings);
        let management = format!("http://127.0.0.1:{management}/management");
        let client = Client::builder().no_proxy().build().unwrap();
        Self { did, address, name: name.to_owned(), management, runtime, client }
    }

    /// Asks `authority` for its credential over DCP, and waits until it is there.
    pub async fn join(&self, hub: &Hub, authority: &Node) {
        authority.text(&["authority", "invite", &self.did]);
        let encoded = base64::engine::general_purpose::STANDARD.encode(&self.name);
        let request = format!("{}-membership", self.name);
        hub.ask(
            Method::POST,
            &format!("/{encoded}/credentials/request"),
            Some(json!({"issuerDid": authority.did,
            "holderPid": request, "credentials": [{"format": "VC1_0_JWT", "type": "MembershipCredential",
                "id": "urn:concordat:credential-object:MembershipCredential:vc11-sl2021/jwt"}]})),
        )
        .await;
        let path = format!("/{encoded}/credentials/request/{request}");
        self.until(async || hub.ask(Method::GET, &path, None).await, "status", "ISSUED").await;
    }

    /// As a client of its management API.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request =
            self.client.request(method, format!("{}/v3{path}", self.management)).header(HEADER, KEY);
        if let Some(mut body) = body {
            body["@context"] = json!({"@vocab": API});
            request = request.json(&body);
        }
        crate::support::answer(request.send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(Method::POST, path, Some(body)).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// Asks until a member says what is waited for.
    #[expect(clippy::disallowed_methods, reason = "EDC's management API tells nothing by itself")]
    async fn until(&self, ask: impl AsyncFn() -> Value, member: &str, wanted: &str) -> Value {
        let began = Instant::now();
        loop {
            let found = ask().await;
            if found[member] == wanted {
                return found;
            }
            assert!(began.elapsed() < WAIT, "{} is not {wanted}: {found}", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a process of EDC is in a state.
    pub async fn reached(&self, kind: &str, id: &str, state: &str) -> Value {
        let ask = async || self.ask(Method::GET, &format!("/{kind}/{id}"), None).await.1;
        self.until(ask, "state", state).await
    }

    pub fn started_in(&self) -> Duration {
        self.runtime.took
    }

    pub fn resident(&self) -> u64 {
        self.runtime.resident()
    }
}

impl Hub {
    pub fn started_in(&self) -> Duration {
        self.runtime.took
    }

    pub fn resident(&self) -> u64 {
        self.runtime.resident()
    }
}

/// What came over TLS goes on as it is: IdentityHub finds the DID by the host.
async fn forward(client: Client, port: u16, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().unwrap().as_str().to_owned();
    let body = to_bytes(body, 1 << 24).await.unwrap();
    let url = format!("http://127.0.0.1:{port}{path}");
    let sent = client.request(parts.method, url).headers(parts.headers).body(body).send().await;
    let Ok(answer) = sent else { return http::StatusCode::BAD_GATEWAY.into_response() };
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if !["transfer-encoding", "connection", "content-length"].contains(&name.as_str()) {
            response = response.header(name, value);
        }
    }
    response.body(Body::from_stream(answer.bytes_stream())).unwrap()
}
