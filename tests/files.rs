//! Which files of its machine a node hands on: not its own, and not what nobody allowed; whoever names them, and wherever links
//! lead.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Node, World};

/// For everybody.
const OPEN: &[&str] = &[
    "--title",
    "Rows",
    "--open",
    "--license",
    "http://publications.europa.eu/resource/authority/licence/CC0",
];

/// A node that shares what lies in its `data/` and nothing else.
fn plain_node(world: &World) -> Node {
    let mut node = world.local_node("provider");
    let config = std::fs::read_to_string(node.dir.join("concordat.toml")).unwrap();
    let beside = config.split_at(config.find("\n[[sources.allowed]]").unwrap()).1.to_owned();
    node.configure(&beside, "\n");
    node
}

fn secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Makes an asset with a key that may do everything that a key of the API can.
async fn put(node: &Node, key: &str, id: &str, address: Value) -> (u16, String) {
    let body = json!({"@id": id, "properties": {}, "dataAddress": address});
    let sent = node
        .client
        .post(format!("{}/v4/assets", node.management))
        .header("x-api-key", key)
        .json(&body)
        .send();
    let answer = sent.await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_key_of_the_api_names_no_file_of_the_node_and_none_that_nobody_allowed() {
    let world = World::new();
    let node = plain_node(&world);
    let made = node.json(&["keys", "create", "program", "--scope", "admin"]);
    let key = made["key"].as_str().unwrap();
    let outside = world.folder.path().join("outside.csv");
    std::fs::write(&outside, "a\n1\n").unwrap();
    std::fs::write(node.data().join("rows.csv"), "a\n1\n").unwrap();
    symlink(node.dir.join("keys/participant.jwk"), node.data().join("key.csv")).unwrap();
    symlink(&outside, node.data().join("out.csv")).unwrap();
    symlink(node.dir.join("keys"), node.data().join("keys")).unwrap();
    let dir = node.dir.to_str().unwrap();
    for path in [
        format!("{dir}/keys/participant.jwk"),
        format!("{dir}/keys/management.key"),
        format!("{dir}/concordat.toml"),
        format!("{dir}/tls/key.pem"),
        format!("{dir}/node.log"),
        format!("{dir}/data/../keys/participant.jwk"),
        format!("{dir}/data/key.csv"),
        format!("{dir}/data/out.csv"),
        format!("{dir}/data/keys/vault.key"),
        "/etc/shadow".to_owned(),
        "/etc/passwd".to_owned(),
        "/proc/self/environ".to_owned(),
        "/none/there".to_owned(),
        outside.display().to_string(),
    ] {
        let (status, said) = put(&node, key, "urn:x", json!({"type": "File", "path": path})).await;
        assert_eq!(status, 400, "{path}: {said}");
        assert!(said.contains("dataAddress.path") && said.contains("sources.folders"), "{path}: {said}");
    }
    for folder in [
        dir.to_owned(),
        format!("{dir}/keys"),
        format!("{dir}/store"),
        format!("{dir}/data/keys"),
        "/etc".to_owned(),
        "/".to_owned(),
    ] {
        for kind in ["Folder", "Tail"] {
            let (status, said) = put(&node, key, "urn:x", json!({"type": kind, "path": folder})).await;
            assert_eq!(status, 400, "{kind} {folder}: {said}");
        }
    }
    // Nor does it send them anywhere.
    for secret in [
        format!("{dir}/keys/management.key"),
        format!("{dir}/keys/participant.jwk"),
        "/etc/shadow".to_owned(),
        outside.display().to_string(),
    ] {
        for address in [
            json!({"type": "HttpData", "baseUrl": "http://127.0.0.1:9/", "authKey": "x-key", "secretFile": secret}),
            json!({"type": "ObjectStore", "url": "s3://bucket/key", "secretFile": secret}),
            json!({"type": "PostgreSql", "query": "SELECT 1", "secretFile": secret}),
            json!({"type": "Mqtt", "url": "mqtt://127.0.0.1:9", "topic": "a", "secretFile": secret}),
            json!({"type": "Nats", "url": "nats://127.0.0.1:9", "subject": "a", "secretFile": secret}),
        ] {
            let (status, said) = put(&node, key, "urn:x", address).await;
            assert_eq!(status, 400, "{secret}: {said}");
            assert!(said.contains("dataAddress.secretFile"), "{said}");
        }
    }
    // Nor whoever the machine is to its cloud, nor what a program says.
    for (url, options) in [
        ("az://c/k", json!({"azure_federated_token_file": format!("{dir}/keys/management.key")})),
        ("az://c/k", json!({"azure_use_azure_cli": "true", "azure_storage_endpoint": "https://x.example"})),
        ("az://c/k", json!({"azure_msi_endpoint": "https://x.example"})),
        ("s3://b/k", json!({"aws_metadata_endpoint": "https://x.example"})),
        ("s3://b/k", json!({"aws_container_credentials_relative_uri": "/x"})),
        ("gs://b/k", json!({"google_service_account": "/etc/passwd"})),
    ] {
        let (status, said) =
            put(&node, key, "urn:x", json!({"type": "ObjectStore", "url": url, "options": options})).await;
        assert!(status == 400 && said.contains("may not stand in an address"), "{options}: {said}");
    }
    // What lies where it may is shared as ever.
    secret(&node.dir.join("secrets/upstream"), "s3cret");
    let fine = [
        json!({"type": "File", "path": node.data().join("rows.csv")}),
        json!({"type": "Folder", "path": node.data()}),
        json!({"type": "HttpData", "baseUrl": "http://127.0.0.1:9/", "authKey": "x-key", "secretFile": node.dir.join("secrets/upstream")}),
    ];
    for (number, address) in fine.into_iter().enumerate() {
        let (status, said) = put(&node, key, &format!("urn:fine:{number}"), address).await;
        assert_eq!(status, 200, "{said}");
    }
    // A secret is no data.
    let (status, _) =
        put(&node, key, "urn:x", json!({"type": "File", "path": node.dir.join("secrets/upstream")})).await;
    assert_eq!(status, 400);
}

/// Keys that rotation writes lie beside the one that the configuration names, wherever that is.
#[tokio::test]
async fn a_rotated_key_is_no_secret_of_an_upstream() {
    let world = World::new();
    let mut node = world.local_node("a");
    node.stop();
    let config = node.dir.join("concordat.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::create_dir_all(node.dir.join("secrets")).unwrap();
    std::fs::copy(node.dir.join("keys/participant.jwk"), node.dir.join("secrets/participant.jwk")).unwrap();
    let moved = text.replace("keys/participant.jwk", "secrets/participant.jwk");
    assert_ne!(moved, text);
    std::fs::write(&config, moved).unwrap();
    node.start();
    node.json(&["identity", "rotate", "--lead", "0"]);
    assert!(node.dir.join("secrets/key-2.jwk").exists());
    let management = std::fs::read_to_string(node.dir.join("keys/management.key")).unwrap();
    let key = management.trim();
    for name in ["participant.jwk", "key-2.jwk", "key-3.jwk", "key-2.new", "keyring.json", "keyring.new"] {
        let secret_file = node.dir.join("secrets").join(name);
        let address = json!({"type": "HttpData", "baseUrl": "http://127.0.0.1:9/", "authKey": "x-key", "secretFile": secret_file});
        let (status, said) = put(&node, key, "urn:x", address).await;
        assert!(status == 400 && said.contains("this node's own"), "{name}: {said}");
    }
}

#[tokio::test]
async fn a_link_that_is_laid_later_leads_nowhere() {
    let world = World::new();
    let node = plain_node(&world);
    let (file, folder) = (node.data().join("rows.csv"), node.data().join("folder"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(&file, "a\n1\n").unwrap();
    std::fs::write(folder.join("rows.csv"), "a\n1\n").unwrap();
    node.json(&[&["publish", file.to_str().unwrap(), "--id", "urn:file"], OPEN].concat());
    node.json(&[&["publish", folder.to_str().unwrap(), "--id", "urn:folder"], OPEN].concat());
    let ask = |path: &str| node.client.get(format!("{}/open/data/{path}", node.address)).send();
    for path in ["urn:file", "urn:folder/rows.csv"] {
        assert_eq!(ask(path).await.unwrap().text().await.unwrap(), "a\n1\n", "{path}");
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    symlink(node.dir.join("keys/participant.jwk"), &file).unwrap();
    symlink(node.dir.join("keys"), &folder).unwrap();
    for path in ["urn:file", "urn:folder", "urn:folder/participant.jwk"] {
        let answer = ask(path).await.unwrap();
        assert!(answer.status().as_u16() >= 400, "{path}");
        assert!(!answer.text().await.unwrap().contains("kty"), "{path}");
    }
}

/// A hard link leads where no path shows it: what counts is which file was opened.
#[tokio::test]
async fn another_name_of_a_file_of_the_node_is_that_file() {
    let world = World::new();
    let node = plain_node(&world);
    node.json(&["identity", "rotate", "--lead", "0"]);
    let folder = node.data().join("folder");
    std::fs::create_dir(&folder).unwrap();
    secret(&node.dir.join("secrets/upstream"), "kty, s3cret");
    // Rows of their own may have as many names as they like.
    std::fs::write(node.data().join("rows.csv"), "a\n1\n").unwrap();
    std::fs::hard_link(node.data().join("rows.csv"), folder.join("rows.csv")).unwrap();
    let journal = std::fs::read_dir(node.dir.join("store")).unwrap().flatten().map(|entry| entry.path());
    let journal = journal.flat_map(|path| match std::fs::read_dir(&path) {
        Ok(inside) => inside.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![path],
    });
    let own =
        ["keys/participant.jwk", "keys/key-2.jwk", "keys/management.key", "tls/key.pem", "concordat.toml"];
    let own: Vec<_> = own
        .map(|name| node.dir.join(name))
        .into_iter()
        .chain(journal.filter(|path| path.is_file()))
        .collect();
    assert!(own.len() > 5, "{own:?}");
    for own in own {
        let (link, secret) = (node.data().join("linked.csv"), node.dir.join("secrets/linked"));
        for other in [&link, &secret] {
            std::fs::hard_link(&own, other).unwrap();
        }
        let sent = json!({"type": "HttpData", "baseUrl": "http://127.0.0.1:9/", "authKey": "x-key", "secretFile": secret});
        for address in [json!({"type": "File", "path": link}), sent] {
            let (status, said) = put(&node, &node.key, "urn:x", address).await;
            assert!(status == 400 && said.contains("this node's own"), "{own:?}: {said}");
        }
        for other in [link, secret] {
            std::fs::remove_file(other).unwrap();
        }
    }
    // Laid after the asset was made, also a secret's second name.
    let file = node.data().join("file.csv");
    std::fs::write(&file, "a\n1\n").unwrap();
    std::fs::write(folder.join("later.csv"), "a\n1\n").unwrap();
    node.json(&[&["publish", file.to_str().unwrap(), "--id", "urn:file"], OPEN].concat());
    node.json(&[&["publish", folder.to_str().unwrap(), "--id", "urn:folder"], OPEN].concat());
    let ask = |path: &str| node.client.get(format!("{}/open/data/{path}", node.address)).send();
    assert_eq!(ask("urn:file").await.unwrap().text().await.unwrap(), "a\n1\n");
    for own in ["keys/participant.jwk", "keys/key-2.jwk", "secrets/upstream"] {
        for other in [file.clone(), folder.join("later.csv")] {
            std::fs::remove_file(&other).unwrap();
            std::fs::hard_link(node.dir.join(own), &other).unwrap();
        }
        for path in ["urn:file", "urn:folder/later.csv"] {
            let answer = ask(path).await.unwrap();
            assert!(answer.status().as_u16() >= 400, "{own} as {path}");
            assert!(!answer.text().await.unwrap().contains("kty"), "{own} as {path}");
        }
        let list = ask("urn:folder").await.unwrap().text().await.unwrap();
        assert!(list.contains("rows.csv") && !list.contains("later.csv"), "{own}: {list}");
    }
    assert_eq!(ask("urn:folder/rows.csv").await.unwrap().text().await.unwrap(), "a\n1\n");
}

#[tokio::test]
async fn what_is_published_from_elsewhere_is_allowed_by_a_line_that_is_shown_and_counts_while_it_stands() {
    let world = World::new();
    let node = plain_node(&world);
    let file = world.folder.path().join("elsewhere.csv");
    std::fs::write(&file, "a\n1\n").unwrap();
    let key = world.folder.path().join("upstream.key");
    secret(&key, "s3cret");
    let publish = |source: &str, id: &str, more: &[&str]| {
        node.run(&[&["publish", source, "--id", id], OPEN, more].concat())
    };
    let before = std::fs::read_to_string(node.dir.join("concordat.toml")).unwrap();
    // Of the node's own nothing, also not by the command line.
    for own in ["keys/participant.jwk", "concordat.toml", "keys", "."] {
        let refused = publish(node.dir.join(own).to_str().unwrap(), "urn:own", &[]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("this node's own"), "{own}: {said}");
    }
    let stolen = publish(
        "http://127.0.0.1:9/",
        "urn:own",
        &["--auth-header", "x", "--secret-file", node.dir.join("keys/management.key").to_str().unwrap()],
    );
    assert!(!stolen.status.success());
    assert_eq!(std::fs::read_to_string(node.dir.join("concordat.toml")).unwrap(), before);
    // A line is added for what lies elsewhere, and shown; without a restart.
    let said = publish(file.to_str().unwrap(), "urn:elsewhere", &[]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let real = file.canonicalize().unwrap();
    let line = format!("path = \"{}\"", real.display());
    assert!(String::from_utf8_lossy(&said.stdout).contains(&line), "it is shown");
    let after = std::fs::read_to_string(node.dir.join("concordat.toml")).unwrap();
    assert!(after.starts_with(&before) && after.contains(&line), "{after}");
    let ask = || node.client.get(format!("{}/open/data/urn:elsewhere", node.address)).send();
    assert_eq!(ask().await.unwrap().text().await.unwrap(), "a\n1\n");
    // Nothing is added twice, or for what is not published in the end.
    assert!(!publish(file.to_str().unwrap(), "urn:elsewhere", &[]).status.success(), "the id is taken");
    let other = world.folder.path().join("other.csv");
    std::fs::write(&other, "a\n1\n").unwrap();
    assert!(!publish(other.to_str().unwrap(), "urn:elsewhere", &[]).status.success(), "the id is taken");
    assert_eq!(std::fs::read_to_string(node.dir.join("concordat.toml")).unwrap(), after);
    let secretly = publish(
        "http://127.0.0.1:9/",
        "urn:up",
        &["--auth-header", "x-key", "--secret-file", key.to_str().unwrap()],
    );
    assert!(secretly.status.success(), "{}", String::from_utf8_lossy(&secretly.stderr));
    assert!(String::from_utf8_lossy(&secretly.stdout).contains("secret = "));
    // A line that is gone allows nothing any more.
    std::fs::write(node.dir.join("concordat.toml"), before).unwrap();
    assert_eq!(ask().await.unwrap().status(), 502);
}

#[tokio::test]
async fn assets_of_a_node_that_knew_no_such_folders_go_on_but_not_with_its_own_keys() {
    let world = World::new();
    let mut node = plain_node(&world);
    let file = world.folder.path().join("long-shared.csv");
    std::fs::write(&file, "a\n1\n").unwrap();
    let beside = node.dir.join("beside.csv");
    std::fs::write(&beside, "a\n2\n").unwrap();
    let license = "http://publications.europa.eu/resource/authority/licence/CC0";
    let data = node.data().join("rows.csv");
    std::fs::write(&data, "a\n3\n").unwrap();
    for id in ["urn:old", "urn:beside", "urn:key"] {
        node.json(&[
            "publish",
            data.to_str().unwrap(),
            "--id",
            id,
            "--title",
            "Rows",
            "--open",
            "--license",
            license,
        ]);
    }
    node.stop();
    // As such a node would have left its store.
    let lies = [
        ("urn:old", file.clone()),
        ("urn:beside", beside),
        ("urn:key", node.dir.join("keys/participant.jwk")),
    ];
    for (id, path) in lies {
        node.alter(&format!("asset/{id}"), |asset| asset["dataAddress"]["path"] = json!(path)).await;
    }
    node.forget("assets-allowed").await;
    node.start();
    let ask = async |id: &str| {
        let answer = node.client.get(format!("{}/open/data/{id}", node.address)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask("urn:old").await, (200, "a\n1\n".to_owned()));
    assert_eq!(ask("urn:beside").await, (200, "a\n2\n".to_owned()));
    assert_eq!(ask("urn:key").await.0, 502);
    let config = std::fs::read_to_string(node.dir.join("concordat.toml")).unwrap();
    assert!(
        config.contains("long-shared.csv")
            && config.contains("beside.csv")
            && !config.contains("/keys/participant.jwk\""),
        "{config}"
    );
    assert!(node.log().contains("long-shared.csv") && node.log().contains("names a file of this node's own"));
    // Only once: what the operator takes away stays away.
    node.stop();
    std::fs::write(node.dir.join("concordat.toml"), config.replace("long-shared.csv", "another.csv"))
        .unwrap();
    node.start();
    let answer = world.client().get(format!("{}/open/data/urn:old", node.address)).send().await.unwrap();
    assert_eq!(answer.status(), 502);
}
