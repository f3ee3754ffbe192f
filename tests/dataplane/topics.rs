//! Topics of MQTT and NATS as live data.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::servers::{mosquitto, nats};
use super::{publish, secret, take};
use crate::gateway::reading_key;
use crate::live::Followed;
use crate::support::{World, number};

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_mqtt_is_followed_over_tls() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let tls = provider.dir.join("tls");
    let Some(server) = mosquitto(world.folder.path(), &tls) else { return };
    let file = secret(&provider.dir, "mqtt.secret", "city:s3cret");
    let address = json!({"type": "Mqtt", "url": format!("mqtts://localhost:{}", server.port),
        "topic": "air/+/no2", "withTopic": true, "secretFile": file});
    publish(&provider, "urn:mqtt", &address, &["--keep", "topic,payload.no2", "--rows", "payload.no2 > 1"]);
    take(&consumer, &provider, "urn:mqtt", "mqtt");
    let key = reading_key(&consumer);
    let mut first = Followed::open(&consumer, &key, "/d/mqtt/live").await;
    let mut second = Followed::open(&consumer, &key, "/d/mqtt/live").await;
    let ca = world.folder.path().join("authority/authority.pem");
    let send = |n: u32| {
        let sent = Command::new("mosquitto_pub")
            .args([
                "-h",
                "localhost",
                "-p",
                &server.port.to_string(),
                "-u",
                "city",
                "-P",
                "s3cret",
                "-q",
                "1",
            ])
            .arg("--cafile")
            .arg(&ca)
            .args(["-t", "air/station7/no2", "-m", &json!({"no2": n, "owner": "anna"}).to_string()])
            .output()
            .unwrap();
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    };
    // Who follows is told nothing of before; when the broker has let the node in is not told either.
    let mut n = 1;
    let (kind, _, data) = loop {
        send(n);
        n += 1;
        if let Ok(event) = tokio::time::timeout(Duration::from_millis(500), first.next()).await {
            break event.unwrap();
        }
    };
    assert_eq!(kind, "");
    let data: Value = serde_json::from_str(&data).unwrap();
    assert_eq!(data["topic"], "air/station7/no2");
    assert_eq!(data["payload"].as_object().unwrap().len(), 1, "the owner is left out: {data}");
    let (_, _, same) = second.next().await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&same).unwrap(), data, "both hear it, over one connection");
    // The broker goes away: the followers are told that something may be lost.
    drop(server);
    let (kind, _, data) = first.next().await.unwrap();
    assert_eq!((kind.as_str(), data.as_str()), ("lost", "{\"lost\":null}"));
    assert!(!provider.log().contains("s3cret"));
}

/// `CONCORDAT_LIVE_SECONDS` sets the length; the provider is killed in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_jetstream_is_followed_over_a_kill_without_loss() {
    let seconds = number("CONCORDAT_LIVE_SECONDS").unwrap_or(4);
    let world = World::new();
    let Some(server) = nats(world.folder.path()) else { return };
    let (mut provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let url = format!("nats://127.0.0.1:{}", server.port);
    let client = async_nats::connect(&url).await.unwrap();
    let context = async_nats::jetstream::new(client.clone());
    let config = async_nats::jetstream::stream::Config {
        name: "AIR".to_owned(),
        subjects: vec!["air.>".to_owned()],
        ..async_nats::jetstream::stream::Config::default()
    };
    context.create_stream(config).await.unwrap();
    let address = |subject: &str, stream: Option<&str>| {
        let mut address = json!({"type": "Nats", "url": url, "subject": subject});
        if let Some(stream) = stream {
            address["stream"] = json!(stream);
            address["from"] = json!("beginning");
        }
        address
    };
    publish(&provider, "urn:stream", &address("air.no2", Some("AIR")), &[]);
    publish(&provider, "urn:subject", &address("air.no2", None), &[]);
    take(&consumer, &provider, "urn:stream", "stream");
    take(&consumer, &provider, "urn:subject", "subject");
    let key = reading_key(&consumer);
    let mut events = Followed::open(&consumer, &key, "/d/stream/live").await;
    let mut plain = Followed::open(&consumer, &key, "/d/subject/live").await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let writer = tokio::spawn(async move {
        let mut stopped = stopped;
        let mut n: u64 = 0;
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        while stopped.try_recv().is_err() {
            pace.tick().await;
            n += 1;
            context.publish("air.no2", json!({"n": n}).to_string().into()).await.unwrap().await.unwrap();
        }
        n
    });
    let number = |data: &str| serde_json::from_str::<Value>(data).unwrap()["n"].as_u64().unwrap();
    let (kind, id, first) = plain.next().await.unwrap();
    assert_eq!((kind.as_str(), id.as_str()), ("", ""), "a plain subject cannot be taken up again");
    let (_, _, next) = plain.next().await.unwrap();
    assert_eq!(number(&next), number(&first) + 1);
    let end = std::time::Instant::now() + Duration::from_secs(seconds);
    let (mut expected, mut killed) = (1, false);
    while std::time::Instant::now() < end {
        if !killed && expected > 100 {
            killed = true;
            provider.kill();
            provider.start();
        }
        let (kind, _, data) = events.next().await.unwrap();
        assert_eq!((kind.as_str(), number(&data)), ("", expected), "in order, each once");
        expected += 1;
    }
    let _ = stop.send(());
    let last = writer.await.unwrap();
    while expected <= last {
        assert_eq!(number(&events.next().await.unwrap().2), expected);
        expected += 1;
    }
    assert!(killed && last > 200, "{last}");
    // Over the kill, a plain subject loses; whoever follows it is told so.
    loop {
        let (kind, _, _) = plain.next().await.unwrap();
        if kind == "lost" {
            break;
        }
    }
    eprintln!("{last} events in {seconds} s");
}
