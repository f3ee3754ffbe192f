//! pandas reads shared data by its address alone, and finds the same rows in every form.

use std::process::Command;

use super::servers::python;
use super::take;
use crate::gateway::reading_key;
use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn pandas_reads_every_form_and_knows_nothing_of_data_spaces() {
    let Some(python) = python() else { return };
    let world = World::new();
    let (provider, mut consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let rows = include_bytes!("../../examples/three_agencies/antwerp.csv");
    provider.publish("urn:no2", rows, &[]);
    consumer.configure("key_in_address = false", "key_in_address = true");
    take(&consumer, &provider, "urn:no2", "no2");
    let key = reading_key(&consumer);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/dataplane/read.py");
    let read = Command::new(python).args([script, &consumer.management, &key]).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let told = String::from_utf8(read.stdout).unwrap();
    let lines = rows.iter().filter(|byte| **byte == b'\n').count() - 1;
    assert_eq!(told.trim(), format!("{lines} rows, the same in every form"));
}
