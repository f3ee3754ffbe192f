//! Objects of an S3 server: read by Range, listed below a prefix, written by a push.

use serde_json::{Value, json};

use super::servers::s3;
use super::{publish, secret, take};
use crate::gateway::{read, reading_key};
use crate::support::{PURPOSE, World};

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_shared_and_data_is_pushed_into_a_bucket() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let Some(server) = s3(world.folder.path(), &provider.dir.join("tls")) else { return };
    let endpoint = format!("https://localhost:{}", server.port);
    let rows = "a,b\n".to_owned() + &"1,2\n".repeat(500_000);
    let client = world.client();
    for (path, body) in [
        ("/city", ""),
        ("/city/2026/a.csv", rows.as_str()),
        ("/city/2026/b.csv", "x\n"),
        ("/city/other", "o"),
    ] {
        let sent = client.put(format!("{endpoint}{path}")).body(body.to_owned()).send().await.unwrap();
        assert!(sent.status().is_success(), "{path}: {}", sent.status());
    }
    let file = secret(&provider.dir, "s3.secret", "AWS_ACCESS_KEY_ID=key\nAWS_SECRET_ACCESS_KEY=s3cret\n");
    let address = |url: &str| {
        json!({"type": "ObjectStore", "url": url, "secretFile": file,
               "options": {"AWS_REGION": "us-east-1", "AWS_ENDPOINT": endpoint}})
    };
    publish(&provider, "urn:one", &address("s3://city/2026/a.csv"), &[]);
    publish(&provider, "urn:all", &address("s3://city/2026/"), &[]);
    take(&consumer, &provider, "urn:one", "one");
    take(&consumer, &provider, "urn:all", "all");
    let key = reading_key(&consumer);
    let whole = read(&consumer, &key, "/d/one").await;
    assert!(whole.headers().contains_key("etag"));
    assert_eq!(whole.text().await.unwrap(), rows);
    let part = consumer.client.get(format!("{}/d/one", consumer.management)).header("x-api-key", &key);
    let part = part.header("range", "bytes=1999999-2000003").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.text().await.unwrap().as_str()), (206, "\n1,2\n"));
    let list: Value =
        serde_json::from_str(&read(&consumer, &key, "/d/all").await.text().await.unwrap()).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
    assert_eq!(read(&consumer, &key, "/d/all/b.csv").await.text().await.unwrap(), "x\n");
    for outside in ["/d/all/..%2fother", "/d/all/none.csv"] {
        assert_eq!(read(&consumer, &key, outside).await.status(), 404, "{outside}");
    }

    // Into a bucket of the consumer: it is there once all of it is.
    let found = consumer.json(&["negotiate", &provider.did, "urn:one", "--purpose", PURPOSE]);
    let options = world.folder.path().join("push.json");
    let told = json!({"accessKeyId": "key", "secretAccessKey": "s3cret", "region": "us-east-1", "endpointOverride": endpoint});
    std::fs::write(&options, told.to_string()).unwrap();
    let agreement = found["contractAgreementId"].as_str().unwrap();
    let asked = consumer.json(&[
        "transfers",
        "start",
        agreement,
        "--push-to",
        "s3://city/copy.csv",
        "--push-options",
        options.to_str().unwrap(),
    ]);
    let path = format!("/v4/transferprocesses/{}", trust::did::segment(asked["@id"].as_str().unwrap()));
    let done = consumer
        .until(&path, |one| ["COMPLETED", "TERMINATED"].contains(&one["state"].as_str().unwrap_or_default()))
        .await;
    assert_eq!(done["state"], "COMPLETED", "{done}");
    let copy = client.get(format!("{endpoint}/city/copy.csv")).send().await.unwrap().text().await.unwrap();
    assert_eq!(copy, rows);
    assert!(!format!("{}{}", provider.log(), consumer.log()).contains("s3cret"));
}
