//! Catalog Protocol and its HTTPS binding.

use serde_json::{Value, json};

use super::peer::{DATASET, HEADER, Peer, message};

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
    // There is no catalog around a lone dataset.
    let (status, lone) = peer.send("GET", &format!("/catalog/datasets/{DATASET}"), None).await;
    assert_eq!(status, 200, "{lone}");
    let services = lone["distribution"].as_array().unwrap().iter().map(|one| &one["accessService"]);
    assert!(services.clone().all(|one| one == service) && services.count() > 1, "{lone}");
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

/// Pagination: `Link` with `next` and `previous`, stable under changes; a client follows.
#[tokio::test]
async fn pages_are_linked_and_stable() {
    let peer = Peer::new("auto").await;
    let everybody = json!({"@type": "Set", "permission": [{"action": "use"}]});
    peer.node.post("/v4/policydefinitions", json!({"@id": "open", "policy": everybody})).await;
    for number in 0..220 {
        let keyword = if number % 2 == 0 { "even" } else { "odd" };
        let properties = json!({"http://www.w3.org/ns/dcat#keyword": [keyword]});
        let asset = json!({"@id": format!("n{number:05}"), "properties": properties});
        peer.node.post("/v4/assets", asset).await;
    }
    let all = json!({"@id": "all", "accessPolicyId": "open", "contractPolicyId": "open"});
    peer.node.post("/v4/contractdefinitions", all).await;
    let page = async |url: &str| {
        let request = peer.client.post(url).header("authorization", HEADER);
        let answer = request.json(&message("CatalogRequestMessage", json!({}))).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{url}");
        let links: Vec<String> =
            answer.headers().get_all("link").iter().map(|one| one.to_str().unwrap().to_owned()).collect();
        let find = |relation: &str| {
            let found = links.iter().find(|link| link.ends_with(&format!("rel=\"{relation}\"")))?;
            Some(found.split(['<', '>']).nth(1).unwrap().to_owned())
        };
        let (previous, next) = (find("previous"), find("next"));
        let body: Value = answer.json().await.unwrap();
        let ids: Vec<_> = body["dataset"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["@id"].as_str().unwrap().to_owned())
            .collect();
        (ids, previous, next)
    };
    let (first, none, next) = page(&format!("{}/catalog/request", peer.base)).await;
    assert_eq!((first.len(), none), (100, None));
    // What goes away meanwhile shifts nothing.
    peer.node.ask("DELETE", &format!("/v4/assets/{}", first[10]), None).await.unwrap();
    let (second, previous, next) = page(&next.unwrap()).await;
    let (third, _, end) = page(&next.unwrap()).await;
    assert_eq!((second[0].as_str(), second.len(), third.len(), end), ("n00100", 100, 21, None));
    let (again, _, _) = page(&previous.unwrap()).await;
    assert_eq!(again.len(), 99, "the page before, without what was removed");
    let got = peer
        .client
        .get(format!("{}/catalog/request", peer.base))
        .header("authorization", HEADER)
        .send()
        .await
        .unwrap();
    assert_eq!(got.status(), 200, "a link may be followed with GET");
    // A filter goes along with the link.
    let url = format!("{}/catalog/request", peer.base);
    let asked = message("CatalogRequestMessage", json!({"filter": [{"keyword": "EVEN"}]}));
    let filtered = peer.client.post(&url).header("authorization", HEADER).json(&asked).send().await.unwrap();
    let link = filtered.headers()["link"].to_str().unwrap().split(['<', '>']).nth(1).unwrap().to_owned();
    let first: Value = filtered.json().await.unwrap();
    let rest = peer.client.get(link).header("authorization", HEADER).send().await.unwrap();
    let rest: Value = rest.json().await.unwrap();
    let count = |page: &Value| page["dataset"].as_array().unwrap().len();
    assert_eq!((count(&first), count(&rest)), (100, 9), "one of 110 was removed");
    assert_eq!(rest["dataset"][8]["@id"], "n00218");

    let bad = peer.send("GET", "/catalog/request?continuationToken=%21", None).await;
    assert_eq!((bad.0, &bad.1["@type"]), (400, &json!("CatalogError")));

    // A node that asks another gets all pages.
    let world = crate::support::World::new();
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    provider
        .post(
            "/v4/policydefinitions",
            json!({"@id": "open", "policy": {"@type": "Set", "permission": [{"action": "use"}]}}),
        )
        .await;
    for number in 0..501 {
        provider.post("/v4/assets", json!({"@id": format!("n{number:05}"), "properties": {}})).await;
    }
    provider
        .post(
            "/v4/contractdefinitions",
            json!({"@id": "all", "accessPolicyId": "open", "contractPolicyId": "open"}),
        )
        .await;
    assert_eq!(consumer.json(&["catalog", &provider.did])["dataset"].as_array().unwrap().len(), 501);
}

/// Compression: gzip when the client accepts it.
#[tokio::test]
async fn catalogs_come_compressed_to_who_accepts_it() {
    let peer = Peer::new("auto").await;
    let ask = |encoding: &str| {
        let request =
            peer.client.post(format!("{}/catalog/request", peer.base)).header("authorization", HEADER);
        request
            .header("accept-encoding", encoding.to_owned())
            .json(&message("CatalogRequestMessage", json!({})))
            .send()
    };
    let answer = ask("gzip").await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert_eq!(answer.bytes().await.unwrap()[..2], [0x1f, 0x8b]);
    assert!(ask("identity").await.unwrap().headers().get("content-encoding").is_none());
}

/// JSON-LD that is not in the compact form is understood.
#[tokio::test]
async fn prefixed_and_expanded_requests_are_understood() {
    let peer = Peer::new("auto").await;
    for body in [
        json!({"@context": {"dspace": "https://w3id.org/dspace/2025/1/"}, "@type": "dspace:CatalogRequestMessage"}),
        json!([{"@type": ["https://w3id.org/dspace/2025/1/CatalogRequestMessage"]}]),
        json!({"@context": "https://w3id.org/dspace/2025/1/context.jsonld", "@type": "CatalogRequestMessage"}),
    ] {
        let (status, answer) = peer.send("POST", "/catalog/request", Some(&body)).await;
        assert_eq!(status, 200, "{body}: {answer}");
    }
}
