//! Catalog Protocol and its HTTPS binding.

use serde_json::{Value, json};

use super::peer::{DATASET, Peer, message};

async fn catalog(peer: &Peer) -> Value {
    let (status, catalog) =
        peer.send("POST", "/catalog/request", Some(&message("CatalogRequestMessage", json!({})))).await;
    assert_eq!(status, 200, "{catalog}");
    catalog
}

/// CAT:01-01 to 01-03 of the conformance suite.
#[tokio::test]
async fn a_catalog_a_dataset_and_a_dataset_that_is_not_there() {
    let peer = Peer::new("auto").await;
    let found = catalog(&peer).await;
    assert_eq!((&found["@type"], &found["participantId"]), (&json!("Catalog"), &json!(peer.node.did)));
    assert_eq!(found["dataset"][0]["@id"], DATASET);
    let (status, dataset) = peer.send("GET", &format!("/catalog/datasets/{DATASET}"), None).await;
    assert_eq!((status, &dataset["@type"]), (200, &json!("Dataset")));
    let (status, error) = peer.send("GET", "/catalog/datasets/none", None).await;
    assert_eq!((status, &error["@type"]), (404, &json!("CatalogError")));
}

/// Catalog offers have no target; formats name a service of the catalog; its endpoint is of this version.
#[tokio::test]
async fn offers_have_no_target_and_distributions_name_their_service() {
    let peer = Peer::new("auto").await;
    let found = catalog(&peer).await;
    let dataset = &found["dataset"][0];
    assert!(dataset["hasPolicy"][0].get("target").is_none());
    let service = &found["service"][0];
    assert_eq!(dataset["distribution"][0]["accessService"], service["@id"]);
    assert!(service["endpointURL"].as_str().unwrap().ends_with("/dsp/2025-1"));
}

/// A filter that is not supported MUST be answered with 400.
#[tokio::test]
async fn an_unsupported_filter_is_400() {
    let peer = Peer::new("auto").await;
    let body = message("CatalogRequestMessage", json!({"filter": [{"x": 1}]}));
    let (status, error) = peer.send("POST", "/catalog/request", Some(&body)).await;
    assert_eq!((status, &error["@type"]), (400, &json!("CatalogError")));
    let empty = message("CatalogRequestMessage", json!({"filter": []}));
    assert_eq!(peer.send("POST", "/catalog/request", Some(&empty)).await.0, 200);
}

/// Empty lists are left out: the schema demands at least one.
#[tokio::test]
async fn an_empty_catalog_has_no_empty_lists() {
    let peer = Peer::new("auto").await;
    peer.node.text(&["unpublish", DATASET]);
    let found = catalog(&peer).await;
    assert!(
        found.get("dataset").is_none()
            && found.get("catalog").is_none()
            && found.get("distribution").is_none()
    );
    assert_eq!(found["service"].as_array().unwrap().len(), 1, "one service at least");
}
