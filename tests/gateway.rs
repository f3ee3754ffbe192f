//! The consumer's gateway: shared data at an address that stays, for programs that know nothing of data spaces.

use http::StatusCode;
use reqwest::Response;
use serde_json::{Value, json};

use crate::support::{Node, PURPOSE, World};

const ROWS: &str = "station,at,no2,lat,lon\n\
    A,2026-01-01T00:00:00Z,12.4,48.1,11.5\n\
    B,2026-01-01T01:00:00Z,17.6,48.2,11.6\n\
    A,2026-01-01T02:00:00Z,40,48.1,11.5\n";

/// A key that may read what `node` uses, and no more.
pub fn reading_key(node: &Node) -> String {
    let made = node.json(&["keys", "create", "dashboard", "--scope", "consume"]);
    made["key"].as_str().unwrap().to_owned()
}

pub async fn read(node: &Node, key: &str, path: &str) -> Response {
    let url = format!("{}{path}", node.management);
    node.client.get(url).header("x-api-key", key).send().await.unwrap()
}

async fn text(node: &Node, key: &str, path: &str) -> String {
    let response = read(node, key, path).await;
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{path}: {text}");
    text
}

fn take(consumer: &Node, provider: &Node, dataset: &str, name: &str) -> Value {
    consumer.json(&["use", dataset, "--from", &provider.did, "--as", name, "--purpose", PURPOSE])
}

#[tokio::test]
async fn a_dataset_in_use_is_read_at_an_address_in_whatever_form() {
    let world = World::new();
    let (provider, mut consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish("urn:no2", ROWS.as_bytes(), &[]);
    let used = take(&consumer, &provider, "urn:no2", "no2");
    assert_eq!(used["reused"], false);
    let again = take(&consumer, &provider, "urn:no2", "air");
    assert_eq!(
        (&again["reused"], &again["agreement"]),
        (&json!(true), &used["agreement"]),
        "it stands already"
    );
    let key = reading_key(&consumer);

    assert_eq!(text(&consumer, &key, "/d/no2").await, ROWS);
    assert_eq!(text(&consumer, &key, "/d/no2.csv").await, ROWS);
    let rows: Value = serde_json::from_str(&text(&consumer, &key, "/d/no2.json?limit=2").await).unwrap();
    assert_eq!(
        rows[1],
        json!({"station": "B", "at": "2026-01-01T01:00:00Z", "no2": 17.6, "lat": 48.2, "lon": 11.6})
    );
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!(text(&consumer, &key, "/d/no2.ndjson").await.lines().count(), 3);
    let map: Value = serde_json::from_str(&text(&consumer, &key, "/d/no2.geojson").await).unwrap();
    assert_eq!(map["features"][0]["geometry"]["coordinates"], json!([11.5, 48.1]));
    for (ending, magic) in
        [("parquet", &b"PAR1"[..]), ("arrow", &b"ARROW1"[..]), ("arrows", &[0xff, 0xff, 0xff, 0xff][..])]
    {
        let bytes = read(&consumer, &key, &format!("/d/no2.{ending}")).await.bytes().await.unwrap();
        assert!(bytes.starts_with(magic), "{ending}");
    }

    // Length and parts of a view, for programs that jump to the end of a table first.
    let whole = read(&consumer, &key, "/d/no2.parquet").await.bytes().await.unwrap();
    let table = format!("{}/d/no2.parquet", consumer.management);
    let head = consumer.client.head(&table).header("x-api-key", &key).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], whole.len().to_string().as_str());
    assert_eq!(head.headers()["accept-ranges"], "bytes");
    let end = format!("bytes={}-", whole.len() - 4);
    let end =
        consumer.client.get(&table).header("x-api-key", &key).header("range", end).send().await.unwrap();
    assert_eq!(
        (end.status(), end.bytes().await.unwrap().as_ref()),
        (StatusCode::PARTIAL_CONTENT, &b"PAR1"[..])
    );

    // As any file on the web.
    let url = |path: &str| format!("{}{path}", consumer.management);
    let asked = || consumer.client.get(url("/d/no2")).bearer_auth(&key);
    let part = asked().header("range", "bytes=8-9").send().await.unwrap();
    assert_eq!((part.status(), part.text().await.unwrap().as_str()), (StatusCode::PARTIAL_CONTENT, "at"));
    let head = consumer.client.head(url("/d/no2")).basic_auth("anybody", Some(&key)).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], ROWS.len().to_string().as_str());
    let etag = head.headers()["etag"].to_str().unwrap().to_owned();
    let known = asked().header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    let view = read(&consumer, &key, "/d/no2.json").await;
    let view_etag = view.headers()["etag"].to_str().unwrap().to_owned();
    assert_ne!(view_etag, etag, "another form is another thing");
    let known = consumer.client.get(url("/d/no2.json")).bearer_auth(&key).header("if-none-match", &view_etag);
    assert_eq!(known.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);

    // Who may.
    for (sent, expected) in [(None, 401), (Some("guessed"), 401), (Some(key.as_str()), 200)] {
        let mut request = consumer.client.get(url("/d/no2"));
        if let Some(sent) = sent {
            request = request.header("x-api-key", sent);
        }
        assert_eq!(request.send().await.unwrap().status(), expected, "{sent:?}");
    }
    assert_eq!(consumer.client.get(url(&format!("/d/no2?key={key}"))).send().await.unwrap().status(), 401);
    let page = consumer.client.get(url("/v4/uses")).header("x-api-key", &key).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::FORBIDDEN, "a key that reads data does no more");
    for (wrong, expected) in
        [("/d/none", 404), ("/d/no2.xlsx", 404), ("/d/no2.json?limit=many", 400), ("/d/no2/below", 404)]
    {
        assert_eq!(read(&consumer, &key, wrong).await.status(), expected, "{wrong}");
    }
    let stranger =
        consumer.client.get(url("/d/no2")).bearer_auth(&key).header("origin", "https://evil.example");
    assert!(stranger.send().await.unwrap().headers().get("access-control-allow-origin").is_none());

    // After a kill, at the same address; a key in the address and a page's origin where the operator says so.
    consumer.kill();
    consumer.start();
    let before = "[gateway]\norigins = []\nkey_in_address = false";
    consumer.configure(before, "[gateway]\norigins = [\"https://dashboard.example\"]\nkey_in_address = true");
    // The connections of before are gone with the node.
    let fresh = world.client();
    let url = |path: &str| format!("{}{path}", consumer.management);
    let page = fresh.get(url(&format!("/d/no2?key={key}"))).header("origin", "https://dashboard.example");
    let page = page.send().await.unwrap();
    assert_eq!(page.headers()["access-control-allow-origin"], "https://dashboard.example");
    assert_eq!(page.text().await.unwrap(), ROWS);
    let preflight =
        fresh.request(http::Method::OPTIONS, url("/d/no2")).header("origin", "https://dashboard.example");
    let preflight = preflight.header("access-control-request-method", "GET").send().await.unwrap();
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    assert!(!consumer.log().contains(&key), "keys do not stand in the log");

    // Counted on both sides.
    let listed = consumer.json(&["uses"]);
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["name"] == "no2" && one["requests"].as_u64().unwrap() >= 6),
        "{listed}"
    );
    let agreement = used["agreement"].as_str().unwrap();
    let path = format!("/v4/contractagreements/{}", trust::did::segment(agreement));
    let provider_side = provider.until(&path, |one| one["urn:concordat:rows"].as_u64() > Some(15)).await;
    assert!(provider_side["urn:concordat:bytes"].as_u64().unwrap() > 600, "{provider_side}");

    let told = provider.text(&["agreements", "show", agreement]);
    assert!(told.contains(" rows, first byte after "), "{told}");

    // An end is told, and a new agreement takes the place of the old one.
    provider.json(&["agreements", "end", agreement, "--reason", "recalibration"]);
    let used = consumer.get("/v4/uses/no2").await;
    let transfer = trust::did::segment(used["transfer"].as_str().unwrap());
    consumer.until(&format!("/v4/transferprocesses/{transfer}"), |one| one["state"] == "TERMINATED").await;
    let kept =
        consumer.client.get(format!("{}/d/no2.parquet", consumer.management)).header("range", "bytes=0-3");
    let kept = kept.header("x-api-key", &key).send().await.unwrap();
    assert_eq!(kept.status(), StatusCode::CONFLICT, "nor what was kept in memory");
    let refused = read(&consumer, &key, "/d/no2").await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert!(refused.text().await.unwrap().contains("concordat use"));
    consumer.json(&["negotiate", &provider.did, "urn:no2", "--purpose", PURPOSE]);
    assert_eq!(text(&consumer, &key, "/d/no2").await, ROWS);
    consumer.json(&["uses", "end", "no2"]);
    assert_eq!(read(&consumer, &key, "/d/no2").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_the_agreement_demands_is_done_on_the_way_and_told() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let demands =
        ["--keep", "station,at,no2", "--pseudonymise", "station", "--round", "no2=5", "--rows", "no2 < 30"];
    provider.publish("urn:no2", ROWS.as_bytes(), &demands);
    let catalog = provider.json(&["offers"]).to_string();
    assert!(catalog.contains("`no2` is rounded to multiples of 5"), "{catalog}");
    take(&consumer, &provider, "urn:no2", "no2");
    let key = reading_key(&consumer);
    let response = read(&consumer, &key, "/d/no2").await;
    let applied = response.headers()["concordat-applied"].to_str().unwrap().to_owned();
    assert!(applied.contains("rounded to multiples of 5"), "{applied}");
    assert!(response.headers().get("accept-ranges").is_none(), "what is made on the way has no ranges");
    let got = response.text().await.unwrap();
    let rows: Vec<Vec<&str>> = got.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0], ["station", "at", "no2"]);
    assert_eq!((rows[1][2], rows[2][2], rows.len()), ("10", "20", 3), "{got}");
    assert!(!got.contains("48.1") && rows[1][0].len() == 32 && rows[1][0] != rows[2][0], "{got}");
    let part = consumer
        .client
        .get(format!("{}/d/no2", consumer.management))
        .bearer_auth(&key)
        .header("range", "bytes=0-3");
    assert_eq!(part.send().await.unwrap().status(), StatusCode::OK);
    let agreements = provider.json(&["agreements", "list"]);
    let agreement = agreements[0]["@id"].as_str().unwrap();
    let path = format!("/v4/contractagreements/{}", trust::did::segment(agreement));
    let metered = provider.until(&path, |one| one["urn:concordat:rows"].as_u64() >= Some(4)).await;
    assert_eq!(metered["urn:concordat:leftOut"], json!(2), "{metered}");

    // A column that was renamed does not slip through, and the provider is told.
    std::fs::write(provider.data().join("urn-no2.csv"), ROWS.replace("station", "place")).unwrap();
    let broken = read(&consumer, &key, "/d/no2").await;
    let is_fine = broken.status() == StatusCode::OK;
    let text_of_it = broken.text().await;
    assert!(!is_fine || text_of_it.is_err(), "nothing of it is handed on: {text_of_it:?}");
    // Data without rows cannot be shared under such terms.
    std::fs::write(provider.data().join("picture.png"), b"\x89PNG").unwrap();
    let picture = provider.data().join("picture.png");
    let publish =
        ["publish", picture.to_str().unwrap(), "--id", "urn:png", "--title", "P", "--purpose", PURPOSE];
    provider.json(&[&publish[..], &["--keep", "a"]].concat());
    take(&consumer, &provider, "urn:png", "png");
    let refused = read(&consumer, &key, "/d/png").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(refused.text().await.unwrap().contains("no rows and columns"));

    // Another agreement has other pseudonyms.
    consumer.json(&[
        "use",
        "urn:no2",
        "--from",
        &provider.did,
        "--as",
        "no2b",
        "--purpose",
        PURPOSE,
        "--anew",
    ]);
    std::fs::write(provider.data().join("urn-no2.csv"), ROWS).unwrap();
    let other = text(&consumer, &key, "/d/no2b").await;
    assert_ne!(other.lines().nth(1), got.lines().nth(1));
}

#[tokio::test]
async fn files_of_a_folder_are_listed_and_read_one_by_one() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let folder = provider.data().join("days");
    std::fs::create_dir(&folder).unwrap();
    for day in ["2026-01-01", "2026-01-02"] {
        std::fs::write(folder.join(format!("{day}.csv")), ROWS).unwrap();
    }
    std::fs::write(folder.join("notes.txt"), "not shared").unwrap();
    provider.json(&[
        "publish",
        folder.to_str().unwrap(),
        "--files",
        "*.csv",
        "--id",
        "urn:days",
        "--title",
        "Days",
        "--purpose",
        PURPOSE,
    ]);
    take(&consumer, &provider, "urn:days", "days");
    let key = reading_key(&consumer);
    let list: Value = serde_json::from_str(&text(&consumer, &key, "/d/days").await).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
    assert_eq!(list[1]["path"], "2026-01-02.csv");
    assert_eq!(text(&consumer, &key, "/d/days/2026-01-02.csv").await, ROWS);
    assert_eq!(text(&consumer, &key, "/d/days/2026-01-02.csv?view=ndjson").await.lines().count(), 3);
    for outside in ["/d/days/notes.txt", "/d/days/..%2f..%2fconcordat.toml", "/d/days/%2e%2e/concordat.toml"]
    {
        assert_eq!(read(&consumer, &key, outside).await.status(), StatusCode::NOT_FOUND, "{outside}");
    }
}

/// While the provider is away, readers learn that at once, each of them, and one transfer waits for it, which is read then.
#[tokio::test]
async fn reads_in_an_outage_end_at_once_and_leave_one_transfer() {
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.publish("urn:no2", ROWS.as_bytes(), &[]);
    take(&consumer, &provider, "urn:no2", "no2");
    let key = reading_key(&consumer);
    provider.kill();
    for _ in 0..2 {
        let began = std::time::Instant::now();
        let reads = (0..3).map(|_| read(&consumer, &key, "/d/no2"));
        for answer in futures_util::future::join_all(reads).await {
            assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
            let said = answer.text().await.unwrap();
            assert!(said.contains("does not take the request for the data now"), "{said}");
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    }
    let transfers = consumer.json(&["transfers", "list"]);
    assert_eq!(transfers.as_array().unwrap().len(), 1, "{transfers}");
    provider.start();
    let id = trust::did::segment(transfers[0]["@id"].as_str().unwrap());
    consumer.until(&format!("/v4/transferprocesses/{id}"), |one| one["state"] == "STARTED").await;
    assert_eq!(text(&consumer, &key, "/d/no2").await, ROWS);
    assert_eq!(consumer.json(&["transfers", "list"]).as_array().unwrap().len(), 1);
}

/// What a node holds of a table follows its bytes, not its rows.
#[tokio::test]
async fn views_of_long_rows_take_no_more_memory_than_others() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let file = provider.data().join("long.ndjson");
    let row = format!("{{\"n\":1,\"text\":\"{}\"}}\n", "x".repeat(4_000_000));
    let mut written = std::fs::File::create(&file).unwrap();
    for _ in 0..50 {
        std::io::Write::write_all(&mut written, row.as_bytes()).unwrap();
    }
    let file = file.to_str().unwrap();
    provider.json(&["publish", file, "--id", "urn:long", "--title", "Long", "--purpose", PURPOSE]);
    take(&consumer, &provider, "urn:long", "long");
    let key = reading_key(&consumer);
    let peak = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", consumer.process_id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    };
    let before = peak();
    for view in ["csv", "parquet", "arrow"] {
        let mut answer = read(&consumer, &key, &format!("/d/long.{view}")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let mut bytes = 0;
        while let Some(chunk) = answer.chunk().await.unwrap() {
            bytes += chunk.len();
        }
        let grown = peak() - before;
        eprintln!("{view}: {bytes} bytes, {grown} MiB more at the peak");
        // All rows together are 190 MiB, and would be held several times over: as rows, as columns and as pages.
        assert!(grown < 240, "{view}: {grown} MiB");
    }
}
