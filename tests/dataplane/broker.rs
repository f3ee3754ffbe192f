//! A context broker that speaks as much NGSI-LD as a source needs, as a program of its own would: entities by type and
//! page, subscriptions with notifications.

use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, patch, post};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{publish, secret, take};
use crate::gateway::{read, reading_key};
use crate::live::Followed;
use crate::support::World;

#[derive(Clone, Default)]
struct Broker(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    subscriptions: Vec<Value>,
    asked: Vec<Value>,
}

fn entity(n: usize) -> Value {
    json!({"id": format!("urn:ngsi-ld:AirQualityObserved:{n}"), "type": "AirQualityObserved",
        "no2": {"type": "Property", "value": n, "unitCode": "GQ", "observedAt": "2026-01-01T00:00:00Z"},
        "owner": {"type": "Relationship", "object": "urn:anna"},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [4.4, 51.2]}}})
}

async fn entities(State(broker): State<Broker>, Query(asked): Query<Value>, headers: HeaderMap) -> Response {
    if headers.get("x-auth").is_none_or(|key| key != "s3cret") || headers.get("ngsild-tenant").is_none() {
        return StatusCode::FORBIDDEN.into_response();
    }
    let number =
        |name: &str| asked[name].as_str().and_then(|text| text.parse::<usize>().ok()).unwrap_or_default();
    let (limit, offset) = (number("limit"), number("offset"));
    broker.0.lock().unwrap().asked.push(asked);
    Json((offset..450.min(offset + limit)).map(entity).collect::<Vec<_>>()).into_response()
}

async fn subscribe(State(broker): State<Broker>, Json(body): Json<Value>) -> Response {
    broker.0.lock().unwrap().subscriptions.push(body);
    (StatusCode::CREATED, [("location", "/ngsi-ld/v1/subscriptions/urn:s1")]).into_response()
}

async fn renew(State(_): State<Broker>, Path(_): Path<String>) -> StatusCode {
    StatusCode::NO_CONTENT
}

#[tokio::test(flavor = "multi_thread")]
async fn entities_are_read_by_page_and_changes_are_followed() {
    let world = World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let broker = Broker::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new()
        .route("/ngsi-ld/v1/entities", get(entities))
        .route("/ngsi-ld/v1/temporal/entities", get(entities))
        .route("/ngsi-ld/v1/subscriptions", post(subscribe))
        .route("/ngsi-ld/v1/subscriptions/{id}", patch(renew))
        .with_state(broker.clone());
    let stop = tokio_util::sync::CancellationToken::new();
    tokio::spawn(connector::http::listener::serve(
        listener,
        None,
        router,
        connector::config::Bounds::default(),
        stop,
    ));

    let file = secret(&provider.dir, "broker.secret", "s3cret");
    let mut address = json!({"type": "NgsiLd", "baseUrl": url, "entityType": "AirQualityObserved", "q": "no2>=0",
        "tenant": "city", "authKey": "x-auth", "secretFile": file});
    publish(&provider, "urn:entities", &address, &["--keep", "no2,location", "--rows", "no2 < 440"]);
    address["temporal"] = json!(true);
    address["queryParameters"] = json!(["timerel", "timeAt"]);
    publish(&provider, "urn:history", &address, &[]);
    take(&consumer, &provider, "urn:entities", "entities");
    take(&consumer, &provider, "urn:history", "history");
    let key = reading_key(&consumer);
    let all: Value =
        serde_json::from_str(&read(&consumer, &key, "/d/entities").await.text().await.unwrap()).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 440, "three pages, less what the agreement leaves out");
    assert!(
        all[7].get("owner").is_none() && all[7]["id"] == "urn:ngsi-ld:AirQualityObserved:7",
        "{}",
        all[7]
    );
    let table = read(&consumer, &key, "/d/entities.csv?limit=1").await.text().await.unwrap();
    assert!(table.starts_with("id,type,no2,no2.observedAt,location\n"), "{table}");
    let map = read(&consumer, &key, "/d/entities.geojson?limit=1").await.text().await.unwrap();
    assert!(map.contains("[4.4,51.2]"), "{map}");
    assert_eq!(
        read(&consumer, &key, "/d/entities?q=owner==anna").await.status(),
        400,
        "what is not offered is not asked"
    );
    assert_eq!(
        read(&consumer, &key, "/d/history?timerel=after&timeAt=2026-01-01T00:00:00Z").await.status(),
        200
    );
    let last = broker.0.lock().unwrap().asked.last().cloned().unwrap();
    assert_eq!((&last["timerel"], &last["q"]), (&json!("after"), &json!("no2>=0")));

    let mut events = Followed::open(&consumer, &key, "/d/entities/live").await;
    let endpoint = loop {
        let found = broker.0.lock().unwrap().subscriptions.first().cloned();
        match found {
            Some(one) => break one["notification"]["endpoint"]["uri"].as_str().unwrap().to_owned(),
            None => tokio::task::yield_now().await,
        }
    };
    let client = world.client();
    let notify = |body: Value| client.post(&endpoint).json(&body).send();
    let sent = notify(json!({"type": "Notification", "data": [entity(5), entity(449)]})).await.unwrap();
    assert_eq!(sent.status(), 204);
    let (_, _, data) = events.next().await.unwrap();
    let data: Value = serde_json::from_str(&data).unwrap();
    assert_eq!(data["no2"]["value"], 5);
    assert!(data.get("owner").is_none());
    assert_eq!(notify(json!({"type": "Notification"})).await.unwrap().status(), 400);
    let guessed = client
        .post(endpoint.replace(endpoint.rsplit('/').next().unwrap(), "guessed"))
        .json(&json!({"data": []}));
    assert_eq!(guessed.send().await.unwrap().status(), 404);
}
