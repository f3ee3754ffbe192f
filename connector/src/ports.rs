//! Listening: where it fails, what stands in the way and what to do about it.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Listens on `address`, which the configuration gives under `key`.
///
/// # Errors
/// Says who has the port, as far as this user may see that, or what else is in the way.
pub async fn listen(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| anyhow::anyhow!(reason(address, key, &error)))
}

fn reason(address: SocketAddr, key: &str, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            let who =
                holder(address).unwrap_or_else(|| "a program that this user may not look at".to_owned());
            format!(
                "port {} is in use by {who}: stop that program, or set another port under `{key}` (now {address}) in {}",
                address.port(),
                crate::config::FILE
            )
        }
        ErrorKind::PermissionDenied => format!(
            "this user may not listen on port {} (`{key}`): ports below 1024 need CAP_NET_BIND_SERVICE (of a systemd service: \
             `AmbientCapabilities=CAP_NET_BIND_SERVICE`), or set one above 1023 and put a proxy before it",
            address.port()
        ),
        ErrorKind::AddrNotAvailable => format!(
            "this machine has no address {} (`{key}`): set one of its own, or 0.0.0.0 for all of them",
            address.ip()
        ),
        _ => format!("listening on {address} (`{key}`): {error}"),
    }
}

/// The program that listens on the port of `address`.
#[cfg(target_os = "linux")]
fn holder(address: SocketAddr) -> Option<String> {
    use procfs::net::TcpState;
    use procfs::process::{FDTarget, all_processes};
    let entries = procfs::net::tcp().into_iter().flatten().chain(procfs::net::tcp6().into_iter().flatten());
    let sockets: Vec<u64> = entries
        .filter(|one| one.state == TcpState::Listen && one.local_address.port() == address.port())
        .map(|one| one.inode)
        .collect();
    let has = |fd: FDTarget| matches!(fd, FDTarget::Socket(inode) if sockets.contains(&inode));
    // What ends meanwhile, or belongs to another user, is passed over.
    let process = all_processes()
        .ok()?
        .flatten()
        .find(|process| process.fd().into_iter().flatten().flatten().any(|fd| has(fd.target)))?;
    let name = process.stat().ok()?.comm;
    let folder = (name == "concordat").then(|| process.cwd().ok()).flatten();
    let arguments = process.cmdline().unwrap_or_default();
    let given =
        arguments.iter().position(|one| one == "--dir" || one == "-d").and_then(|at| arguments.get(at + 1));
    let folder = folder.map(|folder| match given {
        Some(given) => format!(", the node in {}", folder.join(given).display()),
        None => format!(", started in {}", folder.display()),
    });
    Some(format!("{name} (process {}{})", process.pid, folder.unwrap_or_default()))
}

#[cfg(not(target_os = "linux"))]
const fn holder(_: SocketAddr) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_told_with_who_has_it_and_what_to_change() {
        let first = listen("127.0.0.1:0".parse().unwrap(), "public.listen").await.unwrap();
        let address = first.local_addr().unwrap();
        let said = listen(address, "management.listen").await.unwrap_err().to_string();
        assert!(said.starts_with(&format!("port {} is in use by ", address.port())), "{said}");
        assert!(said.contains(&format!("(process {}", std::process::id())), "{said}");
        assert!(said.contains("set another port under `management.listen`"), "{said}");
    }

    #[test]
    fn each_cause_has_its_own_advice() {
        let said = |kind: ErrorKind| reason("192.0.2.1:443".parse().unwrap(), "public.listen", &kind.into());
        assert!(said(ErrorKind::PermissionDenied).contains("CAP_NET_BIND_SERVICE"));
        assert!(said(ErrorKind::AddrNotAvailable).contains("no address 192.0.2.1"));
    }
}
