//! A fixed query of PostgreSQL.

use serde_json::{Value, json};

use super::servers::Postgres;
use super::{publish, secret, take};
use crate::gateway::{read, reading_key};
use crate::support::World;

#[tokio::test]
async fn a_query_is_shared_with_typed_parameters_and_nothing_else() {
    let Some(postgres) = Postgres::start() else { return };
    postgres.run(
        "CREATE TABLE observation (id int, at timestamptz, no2 numeric(6,2), station text, tags jsonb, person text);
         INSERT INTO observation SELECT n, '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 minute', n % 100 + 0.25,
             'S' || n % 3, jsonb_build_object('n', n), 'secret' FROM generate_series(1, 100000) n;
         CREATE ROLE reader LOGIN; GRANT SELECT ON observation TO reader;",
    );
    let world = World::new();
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider.configure("database_connections = 8", "database_connections = 2");
    provider.client = world.client();
    let connection = |user: &str| format!("postgres://{user}@127.0.0.1:{}/postgres", postgres.server.port);
    let file = secret(&provider.dir, "reader.secret", &connection("reader"));
    let address = |file: &str, form: &str| {
        json!({
            "type": "PostgreSql", "secretFile": file, "form": form,
            "query": "SELECT id, at, no2, station, tags FROM observation WHERE at >= $1 AND id <= $2 ORDER BY id;",
            "parameters": [{"name": "from", "type": "dateTime", "default": "2026-01-01T00:00:00Z"},
                           {"name": "most", "type": "integer", "default": "100000"}],
        })
    };
    publish(&provider, "urn:csv", &address(&file, "csv"), &[]);
    publish(
        &provider,
        "urn:lines",
        &address(&file, "jsonLines"),
        &["--keep", "id,no2", "--rows", "no2 < 10"],
    );
    publish(&provider, "urn:arrow", &address(&file, "arrow"), &[]);
    for id in ["csv", "lines", "arrow"] {
        take(&consumer, &provider, &format!("urn:{id}"), id);
    }
    let key = reading_key(&consumer);
    let all = read(&consumer, &key, "/d/csv").await.text().await;
    let all = all.unwrap_or_else(|error| panic!("{error}: {:?}", provider.events()));
    assert_eq!(all.lines().count(), 100_001);
    assert_eq!(
        all.lines().take(2).collect::<Vec<_>>(),
        ["id,at,no2,station,tags.n", "1,2026-01-01T00:01:00+00:00,1.25,S1,1"]
    );
    let some =
        read(&consumer, &key, "/d/csv.json?most=3&from=2026-01-01T00:02:00Z").await.text().await.unwrap();
    let some: Value = serde_json::from_str(&some).unwrap();
    assert_eq!((some.as_array().unwrap().len(), &some[1]["id"]), (2, &json!(3)));
    let lines = read(&consumer, &key, "/d/lines?most=20").await.text().await.unwrap();
    assert_eq!(lines.lines().next(), Some("{\"id\":1,\"no2\":1.25}"));
    assert_eq!(lines.lines().count(), 9, "{lines}");
    let arrow = read(&consumer, &key, "/d/arrow?most=5").await;
    assert_eq!(arrow.headers()["content-type"], "application/vnd.apache.arrow.stream");
    assert!(arrow.bytes().await.unwrap().starts_with(&[0xff; 4]));

    // What is asked stays a value, whatever it says.
    for wrong in [
        "most=many",
        "most=9999999999",
        "most=9999999999999999999",
        "most=1%3B%20DROP%20TABLE%20observation",
        "from=yesterday",
        "person=1",
    ] {
        let refused = read(&consumer, &key, &format!("/d/csv?{wrong}")).await;
        assert_eq!(refused.status(), 400, "{wrong}");
    }
    // A role that may do more than read is not used; the database's words stay with its provider.
    let owner = secret(&provider.dir, "owner.secret", &connection("owner"));
    publish(&provider, "urn:owner", &address(&owner, "csv"), &[]);
    take(&consumer, &provider, "urn:owner", "owner");
    let refused = read(&consumer, &key, "/d/owner").await;
    assert_eq!(refused.status(), 502);
    assert!(!refused.text().await.unwrap().contains("superuser"));
    assert!(provider.events().iter().any(|line| line.contains("superuser")));
    // So many connections at once, whoever reads; others wait for theirs.
    let mut slow = address(&file, "csv");
    slow["query"] = json!("SELECT 1 AS n FROM pg_sleep(1)");
    slow["parameters"] = json!([]);
    publish(&provider, "urn:slow", &slow, &[]);
    take(&consumer, &provider, "urn:slow", "slow");
    let began = std::time::Instant::now();
    let reads = (0..6).map(|_| read(&consumer, &key, "/d/slow"));
    for answer in futures_util::future::join_all(reads).await {
        assert_eq!(answer.text().await.unwrap(), "n\n1\n");
    }
    assert!(began.elapsed() >= std::time::Duration::from_secs(3), "{:?}", began.elapsed());
    // A connection is kept for the next read, which finds nothing of the one before; one that the database ended is not used.
    let mut which = slow.clone();
    which["query"] = json!(
        "SELECT pg_backend_pid() AS process, current_setting('x.y', true) AS before, set_config('x.y', 'z', false) AS now"
    );
    publish(&provider, "urn:which", &which, &[]);
    take(&consumer, &provider, "urn:which", "which");
    let which = async || {
        let text = read(&consumer, &key, "/d/which.json").await.text().await.unwrap();
        let rows: Value = serde_json::from_str(&text).unwrap();
        assert!(rows[0]["before"].is_null() || rows[0]["before"] == "", "{rows}");
        rows[0]["process"].clone()
    };
    let mut processes = Vec::new();
    for _ in 0..6 {
        processes.push(which().await.as_u64().unwrap());
    }
    processes.sort_unstable();
    processes.dedup();
    assert!(processes.len() <= 2, "so many connections there are: {processes:?}");
    postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'");
    assert!(!processes.contains(&which().await.as_u64().unwrap()));
    drop(postgres);
    assert_eq!(read(&consumer, &key, "/d/csv").await.status(), 502, "the database is gone");
}
