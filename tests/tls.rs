//! Certificates: read anew without a restart, and asked of callers.

use std::process::Command;

use crate::support::{Node, PROGRAM, World, free_port};

/// Changes the configuration of a stopped node, and starts it.
fn configured(node: &mut Node, changes: &[(&str, String)]) {
    node.stop();
    let file = node.dir.join("concordat.toml");
    let mut text = std::fs::read_to_string(&file).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}: {text}");
        text = text.replacen(from, to, 1);
    }
    std::fs::write(&file, text).unwrap();
    node.start();
}

/// A folder with a certificate for localhost by the authority `name`, made as a node's.
fn made_by(world: &World, name: &str) -> std::path::PathBuf {
    let dir = world.folder.path().join(format!("certificate-of-{name}"));
    let authority = world.folder.path().join(name);
    let made = Command::new(PROGRAM)
        .args(["--dir", dir.to_str().unwrap(), "init", "--authority", authority.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(made.status.success());
    dir.join("tls")
}

fn replace(node: &Node, from: &std::path::Path) {
    for file in ["certificate.pem", "key.pem"] {
        std::fs::copy(from.join(file), node.dir.join("tls").join(file)).unwrap();
    }
}

#[tokio::test]
async fn certificates_are_read_anew_without_a_restart_and_bad_ones_change_nothing() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish("urn:test:tls", b"a\n", &[]);
    consumer.text(&["catalog", &provider.did]);
    let health = format!("{}/health", provider.address);

    // Not one that fits.
    let other = made_by(&world, "other");
    let key = provider.dir.join("tls/key.pem");
    let good = std::fs::read_to_string(&key).unwrap();
    std::fs::write(&key, std::fs::read_to_string(other.join("key.pem")).unwrap()).unwrap();
    let refused = provider.run(&["identity", "reload-certificates"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("does not fit the certificate"), "{refused:?}");
    assert!(provider.events().iter().any(|line| line.contains("stay as they were")));
    std::fs::write(&key, good).unwrap();
    assert!(world.client().get(&health).send().await.is_ok());

    // Of another authority, which the consumer does not trust, then does.
    replace(&provider, &other);
    provider.text(&["identity", "reload-certificates"]);
    assert!(world.client().get(&health).send().await.is_err(), "the new certificate counts");
    let roots = world.folder.path().join("authority/authority.pem");
    let both = [roots.clone(), world.folder.path().join("other/authority.pem")];
    let both: Vec<_> = both.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    std::fs::write(&roots, both.join("\n")).unwrap();
    // As certificate renewers do it.
    let hangup = Command::new("kill").args(["-HUP", &consumer.process_id().to_string()]).status().unwrap();
    assert!(hangup.success());
    let told = |log: &serde_json::Value| log.to_string().contains("were read anew");
    consumer.until("/v4/events/log?limit=1000", told).await;
    assert!(consumer.text(&["catalog", &provider.did]).contains("urn:test:tls"));
}

#[tokio::test]
async fn callers_of_either_listener_may_have_to_show_a_certificate() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish("urn:test:tls", b"a\n", &[]);
    let roots = world.folder.path().join("authority/authority.pem");
    let own = "tls/certificate.pem";
    configured(
        &mut provider,
        &[
            ("client_roots = []", format!("client_roots = [\"{}\"]", roots.display())),
            (
                "[store]",
                format!(
                    "[management.tls]\ncertificate = \"{own}\"\nkey = \"tls/key.pem\"\nclient_roots = [\"{}\"]\n\
                     client_certificate = \"{own}\"\nclient_key = \"tls/key.pem\"\n\n[store]",
                    roots.display()
                ),
            ),
        ],
    );
    // The consumer's node shows its own certificate, a stranger has none.
    assert!(consumer.text(&["catalog", &provider.did]).contains("urn:test:tls"));
    assert!(world.client().get(format!("{}/health", provider.address)).send().await.is_err());
    // The command line shows what the configuration names; the key alone is not enough any more.
    assert!(provider.text(&["offers"]).contains("urn:test:tls"));
    let management = provider.management.replace("http://127.0.0.1", "https://localhost");
    let refused = world.client().get(format!("{management}/v4/identity")).header("x-api-key", &provider.key);
    assert!(refused.send().await.is_err());

    // Away from loopback only with certificates.
    provider.stop();
    let file = provider.dir.join("concordat.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (with, without) = text.split_at(text.find("[management]").unwrap());
    let open = without.replacen("127.0.0.1", "0.0.0.0", 1);
    std::fs::write(&file, format!("{with}{open}")).unwrap();
    provider.start();
    assert!(provider.text(&["offers"]).contains("urn:test:tls"));
    provider.stop();
    let bare = open.replacen("client_roots = [", "client_roots = [] # [", 1);
    std::fs::write(&file, format!("{with}{bare}")).unwrap();
    let refused = provider.run(&["serve"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("must be a loopback address unless"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_cookie_that_came_over_tls_never_goes_in_clear() {
    let world = World::new();
    let mut node = world.local_node("node");
    let port = free_port();
    let (client, key) = (world.client_that_stays(), node.key.clone());
    let enter = async |management: &str, page: &str| {
        let sent = client
            .post(format!("{management}/{page}/login"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("key={key}"));
        let answer = sent.send().await.unwrap();
        answer.headers()["set-cookie"].to_str().unwrap().to_owned()
    };
    for page in ["dashboard", "officer"] {
        let told = enter(&node.management, page).await;
        assert!(!told.contains("Secure"), "on loopback, in clear: {told}");
    }
    let tls = "[management.tls]\ncertificate = \"tls/certificate.pem\"\nkey = \"tls/key.pem\"\n\n[store]";
    let gateway = format!("[gateway]\nlisten = \"0.0.0.0:{port}\"");
    configured(&mut node, &[("[store]", tls.to_owned()), ("[gateway]", gateway)]);
    let management = node.management.replace("http://127.0.0.1", "https://localhost");
    for (address, page) in [
        (&management, "dashboard"),
        (&management, "officer"),
        (&format!("https://localhost:{port}"), "dashboard"),
    ] {
        let told = enter(address, page).await;
        for said in ["Secure", "HttpOnly", "SameSite=Strict"] {
            assert!(told.split("; ").any(|one| one == said), "{address}/{page}: {told}");
        }
    }
}
