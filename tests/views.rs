//! Views at the gateway, of data as cities publish it: what is read, what is refused and why, parts of them, and what they
//! cost.

use http::StatusCode;
use serde_json::{Value, json};

use crate::gateway::{read, reading_key};
use crate::support::{Node, PURPOSE, World};

fn case(name: &str) -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/cases/data/").to_owned() + name).unwrap()
}

/// Two nodes, the second of which uses each of these files as `f0`, `f1` and so on; and its key.
fn sharing(world: &World, files: &[(&str, Vec<u8>)]) -> (Node, Node, String) {
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    for (at, (name, bytes)) in files.iter().enumerate() {
        let file = provider.data().join(name);
        std::fs::write(&file, bytes).unwrap();
        let id = format!("urn:file:{at}");
        let file = file.to_str().unwrap();
        provider.json(&["publish", file, "--id", &id, "--title", name, "--purpose", PURPOSE]);
        let name = format!("f{at}");
        consumer.json(&["use", &id, "--from", &provider.did, "--as", &name, "--purpose", PURPOSE]);
    }
    let key = reading_key(&consumer);
    (provider, consumer, key)
}

/// Waits until the provider counts a dataset as read so often.
async fn uses(provider: &Node, id: &str, count: u64) {
    let found = provider.json(&["agreements", "list"]);
    let agreement = found.as_array().unwrap().iter().find(|one| one["assetId"] == id).unwrap();
    let path = format!("/v4/contractagreements/{}", trust::did::segment(agreement["@id"].as_str().unwrap()));
    provider.until(&path, |one| one["urn:concordat:requests"].as_u64().unwrap_or_default() == count).await;
}

async fn reason(consumer: &Node, key: &str, path: &str, status: StatusCode) -> String {
    let answer = read(consumer, key, path).await;
    let found = answer.status();
    let text = answer.text().await.unwrap();
    assert_eq!(found, status, "{path}: {text}");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["code"], "view");
    json["reason"][0].as_str().unwrap().to_owned()
}

async fn json_of(consumer: &Node, key: &str, path: &str) -> (Value, String) {
    let answer = read(consumer, key, path).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    let told = answer.headers().get("concordat-read-as").map(|value| value.to_str().unwrap().to_owned());
    (answer.json().await.unwrap(), told.unwrap_or_default())
}

#[tokio::test]
async fn what_a_city_publishes_is_read_as_it_is_meant() {
    let world = World::new();
    let files = ["semi_latin1.csv", "codes.csv", "dup.csv", "comment.csv", "lambert.geojson"];
    let files: Vec<_> = files.into_iter().map(|name| (name, case(name))).collect();
    let (_provider, consumer, key) = sharing(&world, &files);
    let (rows, told) = json_of(&consumer, &key, "/d/f0.json").await;
    assert_eq!((&rows[0]["Länge in m"], &rows[0]["PLZ"]), (&json!(1234.56), &json!("01067")));
    assert_eq!(told, "charset=windows-1252; delimiter=\";\"");
    let (rows, _) = json_of(&consumer, &key, "/d/f0.json?types=text").await;
    assert_eq!(rows[0]["Länge in m"], "1.234,56");
    let (rows, _) = json_of(&consumer, &key, "/d/f1.json").await;
    assert_eq!((&rows[0]["code"], &rows[3]["code"]), (&json!("1E5"), &json!("1.50")));
    let (rows, told) = json_of(&consumer, &key, "/d/f2.json").await;
    assert_eq!(rows[0], json!({"id": 1, "name": "a", "name_2": "b", "value": 2}));
    assert_eq!(told, "renamed=\"name:name%5F2\"");
    let (rows, told) = json_of(&consumer, &key, "/d/f3.json").await;
    assert_eq!((rows, told.as_str()), (json!([{"a": 1, "b": 2}]), "comment-lines=2"));
    let (map, told) = json_of(&consumer, &key, "/d/f4.geojson").await;
    let place = &map["features"][0]["geometry"]["coordinates"];
    assert!((place[0].as_f64().unwrap() - 4.397_39).abs() < 1e-4, "{map}");
    assert_eq!(told, "crs=\"EPSG:31370\"");
}

#[tokio::test]
async fn a_view_that_cannot_be_made_says_why_before_the_first_byte() {
    let world = World::new();
    let broken = b"{\"a\":1}\n{\"a\":2\n".to_vec();
    let files = [
        ("ragged.csv", case("ragged.csv")),
        ("picture.png", b"\x89PNG".to_vec()),
        ("broken.ndjson", broken),
        ("far.csv", b"id,y,x\n1,212000.2,152000.5\n".to_vec()),
        ("unnamed.csv", ",".repeat(9000).into_bytes()),
    ];
    let (provider, consumer, key) = sharing(&world, &files);
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    for ending in ["csv", "json", "ndjson", "parquet", "arrow", "arrows"] {
        let said = reason(&consumer, &key, &format!("/d/f0.{ending}"), unprocessable).await;
        assert!(said.starts_with("record 3 has 2 cells, but there are 3 columns"), "{ending}: {said}");
    }
    let (filled, _) = json_of(&consumer, &key, "/d/f0.json?ragged=fill").await;
    assert_eq!(filled[2], json!({"a": 6, "b": 7, "c": 8, "column_4": 9}));
    let said = reason(&consumer, &key, "/d/f2.csv", unprocessable).await;
    assert!(said.contains("breaks off"), "{said}");
    let said = reason(&consumer, &key, "/d/f3.geojson", unprocessable).await;
    assert!(said.starts_with("row 1: `y` and `x` are no latitude and longitude"), "{said}");
    let (far, _) = json_of(&consumer, &key, "/d/f3.json").await;
    assert_eq!(far[0]["y"], 212_000.2);
    // Nothing is read of what has no rows, nor for a part of it.
    let part = consumer.client.get(format!("{}/d/f1.parquet", consumer.management)).bearer_auth(&key);
    let part = part.header("range", "bytes=0-9").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::NOT_ACCEPTABLE);
    let said = reason(&consumer, &key, "/d/f1.parquet", StatusCode::NOT_ACCEPTABLE).await;
    assert!(said.contains("`image/png`, which has no rows") && said.ends_with("/d/f1"), "{said}");
    uses(&provider, "urn:file:1", 0).await;
    // What is told of a table fits a header.
    let unnamed = read(&consumer, &key, "/d/f4.json").await;
    let told = unnamed.headers()["concordat-read-as"].to_str().unwrap().to_owned();
    assert!(told.len() < 3000 && told.contains("; further="), "{told}");
    // It stands in the log and among the events.
    let events = consumer.text(&["events"]);
    assert!(events.contains("f0.csv was not shown: record 3 has 2 cells"), "{events}");
    assert!(consumer.log().contains("f0.csv was not shown"));
    for wrong in ["ragged=drop", "types=none", "limit=x", "view=xlsx"] {
        let answer = read(&consumer, &key, &format!("/d/f0.json?{wrong}")).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn parts_of_every_view_cost_one_use_in_all() {
    let world = World::new();
    let mut table = b"id,text\n".to_vec();
    for at in 0..40_000 {
        table.extend(format!("{at},{}\n", "x".repeat(at % 50)).bytes());
    }
    let (provider, consumer, key) = sharing(&world, &[("rows.csv", table.clone())]);
    for ending in ["csv", "json", "ndjson", "parquet", "arrow", "arrows"] {
        let url = format!("{}/d/f0.{ending}", consumer.management);
        let whole = consumer.client.get(&url).bearer_auth(&key).send().await.unwrap();
        let tag = whole.headers()["etag"].clone();
        let whole = whole.bytes().await.unwrap();
        // A range of a HEAD means nothing (RFC 9110, section 14.2).
        let head = consumer.client.head(&url).bearer_auth(&key).header("range", "bytes=0-1");
        let head = head.send().await.unwrap();
        assert_eq!(head.status(), StatusCode::OK, "{ending}");
        assert_eq!(head.headers()["content-length"], whole.len().to_string().as_str(), "{ending}");
        assert_eq!(
            (&head.headers()["accept-ranges"], &head.headers()["etag"]),
            (&"bytes".parse().unwrap(), &tag)
        );
        for (from, to) in
            [(0, 9), (whole.len() / 2, whole.len() / 2 + 10), (whole.len() - 8, whole.len() - 1)]
        {
            let part =
                consumer.client.get(&url).bearer_auth(&key).header("range", format!("bytes={from}-{to}"));
            let part = part.header("if-range", &tag).send().await.unwrap();
            assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{ending}");
            assert_eq!(part.bytes().await.unwrap(), whole.slice(from..=to), "{ending} {from}-{to}");
        }
        let beyond = consumer.client.get(&url).bearer_auth(&key).header("range", "bytes=999999999-");
        assert_eq!(beyond.send().await.unwrap().status(), StatusCode::RANGE_NOT_SATISFIABLE);
        for asked in [consumer.client.get(&url), consumer.client.head(&url)] {
            let known = asked.bearer_auth(&key).header("if-none-match", &tag).send().await.unwrap();
            assert_eq!(known.status(), StatusCode::NOT_MODIFIED, "{ending}");
            assert_eq!(known.headers()["etag"], tag);
        }
    }
    uses(&provider, "urn:file:0", 1).await;
    // What changed is read anew.
    std::fs::write(provider.data().join("rows.csv"), "id\n1\n").unwrap();
    assert_eq!(json_of(&consumer, &key, "/d/f0.json").await.0, json!([{"id": 1}]));
    uses(&provider, "urn:file:0", 2).await;
    // What is kept is not handed on once its transfer is over, and leaves nothing behind.
    let agreements = consumer.json(&["agreements", "list"]);
    let agreement = agreements[0]["@id"].as_str().unwrap();
    consumer.json(&["agreements", "end", agreement, "--reason", "enough"]);
    let part = consumer.client.get(format!("{}/d/f0.json", consumer.management)).header("range", "bytes=0-1");
    assert!(part.bearer_auth(&key).send().await.unwrap().status().is_client_error());
}

#[tokio::test]
async fn views_keep_to_their_room_and_are_gone_after_a_kill() {
    let world = World::new();
    let rows = |count: usize| -> Vec<u8> {
        b"id,text\n"
            .iter()
            .copied()
            .chain((0..count).flat_map(|at| format!("{at},{at:0>90}\n").into_bytes()))
            .collect()
    };
    let (_provider, mut consumer, key) =
        sharing(&world, &[("large.csv", rows(30_000)), ("small.csv", rows(1000))]);
    consumer.configure("views_megabytes = 4096", "views_megabytes = 2");
    consumer.client = world.client();
    let said = reason(&consumer, &key, "/d/f0.json", StatusCode::INSUFFICIENT_STORAGE).await;
    assert!(said.contains("limits.views_megabytes"), "{said}");
    assert_eq!(json_of(&consumer, &key, "/d/f1.json").await.0.as_array().unwrap().len(), 1000);
    // As it is, it needs no room.
    assert_eq!(read(&consumer, &key, "/d/f0").await.bytes().await.unwrap().len(), rows(30_000).len());
    let left = || {
        let all = std::fs::read_dir(consumer.data().with_file_name("store"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut all: Vec<_> = all.collect();
        all.sort();
        all
    };
    let before = left();
    assert_eq!(read(&consumer, &key, "/d/f1.parquet").await.status(), StatusCode::OK);
    assert_eq!(left(), before, "what waits has no name");
    consumer.kill();
    consumer.start();
    consumer.client = world.client();
    assert_eq!(json_of(&consumer, &key, "/d/f1.json").await.0.as_array().unwrap().len(), 1000);
}

#[tokio::test]
async fn rows_are_packed_for_who_takes_them_so_and_parts_are_not() {
    let world = World::new();
    let table: Vec<u8> = b"id,text\n".iter().copied().chain(b"1,always the same\n".repeat(5000)).collect();
    let (_provider, consumer, key) = sharing(&world, &[("rows.csv", table.clone())]);
    for path in ["/d/f0", "/d/f0.csv"] {
        let url = format!("{}{path}", consumer.management);
        let asked = |method: http::Method| {
            consumer.client.request(method, &url).bearer_auth(&key).header("accept-encoding", "gzip")
        };
        let plain = consumer.client.get(&url).bearer_auth(&key).send().await.unwrap();
        let tag = plain.headers()["etag"].to_str().unwrap().to_owned();
        assert!(plain.headers().get("content-encoding").is_none() && !tag.starts_with("W/"));
        assert_eq!(plain.bytes().await.unwrap(), table);
        let packed = asked(http::Method::GET).send().await.unwrap();
        assert_eq!(packed.headers()["content-encoding"], "gzip", "{path}");
        assert_eq!(packed.headers()["etag"], format!("W/{tag}").as_str(), "other bytes have another tag");
        assert!(packed.headers()["vary"].to_str().unwrap().contains("accept-encoding"));
        let bytes = packed.bytes().await.unwrap_or_else(|error| panic!("{error:?} {}", consumer.log()));
        assert!(bytes.len() * 10 < table.len() && bytes.starts_with(&[0x1F, 0x8B]), "{}", bytes.len());
        let known =
            asked(http::Method::GET).header("if-none-match", format!("W/{tag}")).send().await.unwrap();
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED, "{path}");
        let head = asked(http::Method::HEAD).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], table.len().to_string().as_str());
        let part = asked(http::Method::GET).header("range", "bytes=0-1").send().await.unwrap();
        assert_eq!(
            (part.status(), part.bytes().await.unwrap().as_ref()),
            (StatusCode::PARTIAL_CONTENT, &b"id"[..])
        );
    }
}
