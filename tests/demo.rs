//! The main job, end to end: three processes, real data.

use std::process::{Command, Stdio};

use crate::support::PROGRAM;

#[test]
fn three_agencies_share_and_refuse_as_told() {
    let output = Command::new(PROGRAM).arg("demo").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for expected in [
        "Antwerp  urn:concordat:example:no2:antwerp (95 rows)",
        "London   urn:concordat:example:no2:london (969 rows)",
        "Paris    urn:concordat:example:no2:paris (1004 rows)",
        "clause `/permission/0/constraint/0` of the offer says the purpose must be a kind of environmental monitoring",
        "Paris ends its agreement while Antwerp is streaming",
        "the station is being recalibrated",
        "A request for data without an agreement is refused (401)",
        "altered by one word, it does not verify any more",
        "London   is a member after",
        "The council revokes London's membership; Paris knows and offers it nothing",
        "Everything went as told.",
        "their NO2 stands on one chart and one map",
        "1004 rows as JSON at http://127.0.0.1:",
        "/dashboard?key=",
    ] {
        assert!(text.contains(expected), "missing: {expected}\n{text}");
    }
    assert_eq!(text.matches("as at the source").count(), 6, "six transfers\n{text}");
}

#[test]
fn the_mobility_scenario_goes_as_told() {
    let output = Command::new(PROGRAM).args(["demo", "--scenario", "mobility"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for expected in [
        "riders and their minutes generated",
        "reads 0 rows under a signed agreement",
        "80 riders consent through their operator",
        "under pseudonyms of this agreement",
        "credit 250.00 EUR; both nodes computed",
        "the next read has 0 rows, and the agreement stands",
        "signed notices",
        "M ",
        "able, not exercised ",
        "Everything went as told.",
    ] {
        assert!(text.contains(expected), "missing: {expected}\n{text}");
    }
}

/// The rows that the scenario exercises are met, each with where that was seen; and nothing else is.
#[test]
fn the_mobility_scenario_ends_in_a_report_whose_every_m_has_evidence() {
    let output = Command::new(PROGRAM).args(["demo", "--scenario", "mobility", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let facts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    crate::mim::every_row_is_told(&facts["mim"]);
    let mut met = crate::mim::all_met(&facts["mim"]);
    // Whether a notice of a changed catalog went out depends on who read it when.
    met.remove("MIMs Plus 9.0 MIM0 R3.1");
    let expected: [(&str, &[&str]); 3] = [
        ("MIM4 capabilities 2022/23 MIM4", &["10", "12", "13", "3", "9"]),
        ("MIM4 technical specification 2021 MIM4", &["5.8", "A.I", "A.II", "A.III", "A.IV", "A.V", "A.VI"]),
        (
            "MIMs Plus 9.0",
            &[
                "MIM0 R1.1",
                "MIM0 R1.2",
                "MIM0 R1.3",
                "MIM0 R2.2",
                "MIM1 R1.1",
                "MIM1 R1.2",
                "MIM1 R1.4",
                "MIM1 R1.5",
                "MIM3 RC1.1",
                "MIM3 RC1.2",
                "MIM3 RC2.1",
                "MIM3 RC2.2",
                "MIM3 RC2.3",
                "MIM3 RC2.4",
                "MIM3 RC3.1",
                "MIM3 RC3.2",
                "MIM3 RC4.2",
                "MIM3 RC5.1",
                "MIM3 RC5.2",
                "MIM3 RC5.3",
                "MIM3 RC5.4",
                "MIM3 RC6.1",
                "MIM3 RC6.3",
                "MIM6 access rules",
                "MIM6 authentication",
                "MIM6 cryptography",
                "MIM6 logging",
            ],
        ),
    ];
    let expected = expected.iter().flat_map(|(part, ids)| ids.iter().map(move |id| format!("{part} {id}")));
    assert_eq!(met, expected.collect(), "{}", facts["mim"]["counts"]);
    let rows = facts["mim"]["rows"].as_array().unwrap();
    let one = |id: &str| {
        &rows.iter().find(|row| row["id"] == id && row["edition"] == "MIMs Plus 9.0").unwrap()["evidence"]
    };
    assert_eq!(one("RC3.1")["agreements in force under an accepted rulebook"].as_array().unwrap().len(), 2);
    assert_eq!(one("RC6.1")["signed by both, with signatures that hold"].as_array().unwrap().len(), 2);
}

#[test]
fn machines_get_the_same_facts() {
    let output = Command::new(PROGRAM).args(["demo", "--json"]).output().unwrap();
    assert!(output.status.success());
    let facts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let shared = facts["shared"].as_array().unwrap();
    assert_eq!(shared.len(), 6);
    assert!(
        shared
            .iter()
            .all(|one| one["bytes"].as_u64().unwrap() > 1000 && one["agreedInMs"].as_f64().unwrap() > 0.0)
    );
}

#[test]
fn ctrl_c_stops_all_nodes_and_removes_the_folder() {
    use std::io::{BufRead as _, BufReader};
    let mut child = Command::new(PROGRAM).args(["demo", "--keep"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let folder = loop {
        let line = lines.next().expect("the demo prints what to try next").unwrap();
        if let Some((_, rest)) = line.split_once("--dir ") {
            break std::path::PathBuf::from(rest.split("/antwerp").next().unwrap());
        }
    };
    assert!(folder.join("antwerp/concordat.toml").exists());
    let stopped = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    // Reading to the end keeps its output from blocking it.
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    assert!(!folder.exists(), "the folder is gone");
}
