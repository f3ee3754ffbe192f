//! Sources of every kind behind real servers: PostgreSQL, an S3 server, Mosquitto, NATS, and a context broker of our own;
//! pandas as the reader. `./test data-plane` installs what they need; a plain run says what it leaves out.

mod behind;
mod broker;
mod nginx;
mod objects;
mod pandas;
mod postgres;
pub mod servers;
mod topics;

use serde_json::Value;

use crate::support::{Node, PURPOSE};

/// Publishes what a data address names.
fn publish(provider: &Node, id: &str, address: &Value, terms: &[&str]) {
    let file = provider.dir.join(format!("{}.address.json", id.replace(':', "-")));
    std::fs::write(&file, address.to_string()).unwrap();
    let usual = [
        "publish",
        "--data-address",
        file.to_str().unwrap(),
        "--id",
        id,
        "--title",
        id,
        "--purpose",
        PURPOSE,
    ];
    provider.json(&[&usual[..], terms].concat());
}

/// Takes it into use.
fn take(consumer: &Node, provider: &Node, id: &str, name: &str) {
    consumer.json(&["use", id, "--from", &provider.did, "--as", name, "--purpose", PURPOSE]);
}

/// A file that only its owner reads.
fn secret(folder: &std::path::Path, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder.join("secrets");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}
