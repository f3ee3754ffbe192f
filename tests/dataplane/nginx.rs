//! The comparison with nginx, in small: that both serve the same upstream, and that all figures are told.

use std::process::Command;

use serde_json::Value;

use super::servers::program;
use crate::support::PROGRAM;

#[test]
fn a_node_and_nginx_serve_the_same_upstream() {
    if program(&["/usr/sbin/nginx", "nginx"]).is_none() {
        return;
    }
    let done =
        Command::new(PROGRAM).args(["--json", "bench", "--against-nginx", "--brief"]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let figures: Value = serde_json::from_slice(&done.stdout).unwrap();
    let names: Vec<_> = figures.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    for size in ["1 KiB", "64 KiB", "16 MiB", "1 GiB"] {
        for figure in ["rate, as a share", "requests a second", "throughput", "p99", "processor time a GB"] {
            assert!(
                names.iter().any(|name| name.starts_with(size) && name.contains(figure)),
                "{size} {figure}: {names:?}"
            );
        }
    }
    assert!(names.iter().any(|name| name.contains("1000 live readers")), "{names:?}");
    assert!(figures.as_array().unwrap().iter().all(|one| one["value"].as_f64().unwrap() > 0.0), "{figures}");
}
