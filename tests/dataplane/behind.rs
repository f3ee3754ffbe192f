//! A node behind nginx, with the configuration that the documents name.

use std::process::Command;

use super::servers::{program, start};
use crate::support::{PURPOSE, Ports, World, free_port};

const SHIPPED: &str = include_str!("../../packaging/nginx.conf");

#[tokio::test]
async fn a_node_behind_nginx_as_the_documents_say() {
    let Some(nginx) = program(&["/usr/sbin/nginx", "nginx"]) else { return };
    let world = World::new();
    let ports = Ports { public: free_port(), management: free_port(), reached: free_port() };
    let loopback = ["--allow-network", "127.0.0.0/8", "--allow-network", "::1/128"];
    let mut provider = world.node_at("provider", &ports, &loopback);
    provider.configure("proxies = []", "proxies = [\"127.0.0.1/32\"]");
    let consumer = world.local_node("consumer");

    let tls = provider.dir.join("tls");
    let mut text = SHIPPED.to_owned();
    for (from, to) in [
        ("server 127.0.0.1:8443;", format!("server 127.0.0.1:{};", ports.public)),
        ("listen 443 ssl http2;", format!("listen 127.0.0.1:{} ssl http2;", ports.reached)),
        ("/etc/ssl/data.city.example.pem", tls.join("certificate.pem").display().to_string()),
        ("/etc/ssl/data.city.example.key", tls.join("key.pem").display().to_string()),
        (
            "/srv/concordat/tls/certificate.pem",
            world.folder.path().join("authority/authority.pem").display().to_string(),
        ),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, &to);
    }
    text = text.replace("data.city.example", "localhost");
    let folder = world.folder.path().join("nginx");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("nginx.conf");
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {}/{name};", folder.display()))
        .join("\n");
    let user = if is_root() { "user root;\n" } else { "" };
    std::fs::write(
        &file,
        format!(
            "{user}daemon off;\npid {0}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\n{text}\n}}\n",
            folder.display()
        ),
    )
    .unwrap();
    let command = || {
        let mut command = Command::new(&nginx);
        command.args(["-e", "stderr", "-c"]).arg(&file);
        command
    };
    let checked = command().arg("-t").output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let _nginx = start(&mut command(), ports.reached, &folder.join("log"));

    provider.publish("urn:test:behind", b"a,b\n1,2\n", &[]);
    let used = consumer.json(&[
        "use",
        "urn:test:behind",
        "--as",
        "behind",
        "--from",
        &provider.did,
        "--purpose",
        PURPOSE,
    ]);
    assert_eq!(consumer.run(&["pull", used["agreement"].as_str().unwrap()]).stdout, b"a,b\n1,2\n");
    assert!(provider.text(&["doctor"]).contains("answers over TLS"));

    // What a client claims of its address is nothing; what nginx says of it counts.
    provider.stop();
    provider.start_with(&[("CONCORDAT_LOG", "connector=debug")]);
    for address in [&provider.address, &format!("https://localhost:{}", ports.public)] {
        let asked = world.client().get(format!("{address}/health")).header("x-forwarded-for", "192.0.2.7");
        assert_eq!(asked.send().await.unwrap().text().await.unwrap(), "ok\n");
    }
    let log = provider.log();
    let from = |address: &str| log.matches(&format!("from={address} method=GET face=\"health\"")).count();
    assert_eq!((from("127.0.0.1"), from("192.0.2.7")), (1, 1), "once through nginx, once as a proxy: {log}");
}

/// Whether nginx would change its user.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}
