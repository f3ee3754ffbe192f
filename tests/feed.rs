//! The public catalogue: in three forms, by pages, for people, and never more than what was listed.

use reqwest::Response;
use serde_json::json;

use crate::streams::{broke_off, endless, open};
use crate::support::{Node, Stranger, World};

async fn get(node: &Node, path: &str, accept: &str) -> Response {
    let url = format!("{}{path}", node.address);
    node.client.get(url).header("accept", accept).send().await.unwrap()
}

async fn text(node: &Node, path: &str, accept: &str) -> String {
    let answer = get(node, path, accept).await;
    assert_eq!(answer.status(), 200, "{path}");
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with(accept), "{path}");
    answer.text().await.unwrap()
}

#[tokio::test]
async fn what_is_listed_is_found_by_portals_and_people_and_nothing_else_is() {
    let world = World::new();
    let node = world.local_node("city");
    let theme = "http://publications.europa.eu/resource/authority/data-theme/ENVI";
    node.publish(
        "urn:test:listed",
        b"a\n",
        &["--listed", "--keyword", "air", "--theme", theme, "--place", "BE"],
    );
    node.publish("urn:test:hidden", b"a\n", &[]);
    node.publish("urn:test:<script>", b"a\n", &["--listed", "--description", "</script><b>x"]);
    let one = format!("/open/datasets/{}", trust::did::segment("urn:test:listed"));
    let whole = format!("{}{one}", node.address);
    for form in ["text/turtle", "application/ld+json", "application/rdf+xml"] {
        let found = text(&node, "/open/catalog", form).await;
        assert!(found.contains(&whole) && found.contains("PartialCollectionView"), "{found}");
        assert!(!found.contains("hidden") && !found.contains(".csv"), "{found}");
        let found = text(&node, &one, form).await;
        assert!(found.contains("air") && found.contains(theme) && found.contains("RESTRICTED"), "{found}");
        assert!(
            !found.contains("purpose") && !found.contains("hasPolicy"),
            "terms are for those who may ask: {found}"
        );
    }
    for (ending, kind) in
        [("ttl", "text/turtle"), ("jsonld", "application/ld+json"), ("rdf", "application/rdf+xml")]
    {
        for path in [format!("/open/catalog.{ending}"), format!("{one}.{ending}")] {
            let answer = get(&node, &path, "text/html").await;
            assert_eq!(answer.headers()["content-type"], kind, "{path}");
        }
    }
    // As CKAN has them.
    for path in ["/catalog.ttl?page=1".to_owned(), one.replace("/open/datasets", "/dataset") + ".ttl"] {
        assert!(text(&node, &path, "text/turtle").await.contains(&whole), "{path}");
    }
    let map = text(&node, "/open/sitemap.xml", "application/xml").await;
    assert!(map.contains("/open/sitemap.xml?page=1</loc>"), "{map}");
    let map = text(&node, "/open/sitemap.xml?page=1", "application/xml").await;
    assert!(map.contains(&format!("{whole}.html</loc>")) && !map.contains("hidden"), "{map}");
    let lint = node.run(&["--json", "catalog", "lint"]);
    assert_eq!(lint.status.code(), Some(5), "a listed dataset has no description");
    let remarks: serde_json::Value = serde_json::from_slice(&lint.stdout).unwrap();
    let of = |id: &str| remarks.as_array().unwrap().iter().filter(|one| one["dataset"] == id).count();
    assert!(of("urn:test:listed") >= 3 && of("urn:test:hidden") >= 5, "{remarks}");
    let page = text(&node, &one, "text/html").await;
    assert!(
        page.contains("application/ld+json") && page.contains(&format!("concordat negotiate {}", node.did)),
        "{page}"
    );
    let odd =
        text(&node, &format!("/open/datasets/{}", trust::did::segment("urn:test:<script>")), "text/html")
            .await;
    assert!(!odd.contains("</script><b>") && odd.contains("&lt;b&gt;x"), "{odd}");
    let index = text(&node, "/open/catalog", "text/html").await;
    assert!(index.contains("Test rows") && index.contains("page 1 of 1"), "{index}");

    // Hidden, unknown, beyond the last page: not found, all the same.
    for path in [
        "/open/datasets/urn%3Atest%3Ahidden",
        "/open/datasets/none",
        "/open/catalog?page=2",
        "/open/catalog.xlsx",
    ] {
        assert_eq!(get(&node, path, "text/turtle").await.status(), 404, "{path}");
    }
    for page in ["0", "2", "18446744073709551615"] {
        for path in ["/open/catalog", "/open/catalog.html", "/open/sitemap.xml"] {
            let path = format!("{path}?page={page}");
            assert_eq!(get(&node, &path, "text/html").await.status(), 404, "{path}");
        }
    }
    // Who has it already is told so.
    let tag = get(&node, &one, "text/turtle").await.headers()["etag"].clone();
    let again = node.client.get(&whole).header("accept", "text/turtle").header("if-none-match", &tag);
    assert_eq!(again.send().await.unwrap().status(), 304);
    // Listing shows a description and opens no door.
    let stranger = Stranger::new(&world);
    let door = format!("{}/data/{}", node.address, connector::ids::urn());
    assert_eq!(stranger.client.get(door).send().await.unwrap().status(), 401);
    node.text(&["unpublish", "urn:test:listed"]);
    assert_eq!(get(&node, &one, "text/turtle").await.status(), 404);
}

#[tokio::test]
async fn open_data_is_read_by_everybody_counted_and_cut_when_it_is_withdrawn() {
    let world = World::new();
    let node = world.local_node("city");
    let file = world.folder.path().join("open.csv");
    std::fs::write(&file, "a\n1\n").unwrap();
    let (license, path) = ("https://creativecommons.org/licenses/by/4.0/", file.to_str().unwrap());
    let publish = |more: &[&str]| {
        node.run(&[&["publish", path, "--id", "urn:test:open", "--title", "Rows", "--open"], more].concat())
    };
    assert_eq!(publish(&[]).status.code(), Some(2), "open data has a licence");
    assert_eq!(
        publish(&["--license", license, "--purpose", "urn:p"]).status.code(),
        Some(2),
        "and no other terms"
    );
    assert!(publish(&["--license", license]).status.success());
    let id = trust::did::segment("urn:test:open");
    let data = format!("/open/data/{id}");
    let found = text(&node, &format!("/open/datasets/{id}"), "text/turtle").await;
    assert!(
        found.contains("access-right/PUBLIC")
            && found.contains(&format!("downloadURL <{}{data}>", node.address)),
        "{found}"
    );
    assert!(
        text(&node, &format!("/open/datasets/{id}"), "text/html").await.contains("Everybody may read it")
    );
    let answer = get(&node, &data, "*/*").await;
    assert_eq!(answer.headers()["content-type"], "text/csv");
    assert_eq!(answer.text().await.unwrap(), "a\n1\n");
    let range =
        node.client.get(format!("{}{data}", node.address)).header("range", "bytes=2-").send().await.unwrap();
    assert_eq!((range.status().as_u16(), range.text().await.unwrap().as_str()), (206, "1\n"));
    let counted = node.until("/v4/opendata", |all| all[0]["reads"] == 2).await;
    assert_eq!((&counted[0]["dataset"], &counted[0]["bytes"]), (&json!("urn:test:open"), &json!(6)));
    // Listed is not open, and hidden is neither.
    node.publish("urn:test:listed", b"a\n", &["--listed"]);
    for other in ["urn:test:listed", "urn:test:none"] {
        let path = format!("/open/data/{}", trust::did::segment(other));
        assert_eq!(get(&node, &path, "*/*").await.status(), 404, "{other}");
    }

    // What is withdrawn while it is read ends.
    let (upstream, _stop) = endless(std::sync::Arc::default()).await;
    let endless =
        ["publish", &upstream, "--id", "urn:test:endless", "--title", "Rows", "--open", "--license", license];
    node.text(&endless);
    let door =
        (format!("{}/open/data/{}", node.address, trust::did::segment("urn:test:endless")), String::new());
    let stream = open(&node.client, &door).await;
    node.text(&["unpublish", "urn:test:endless"]);
    broke_off(stream).await;
}

#[tokio::test]
async fn pages_lead_to_each_other() {
    let world = World::new();
    let node = world.local_node("city");
    let file = world.folder.path().join("rows.csv");
    std::fs::write(&file, "a\n").unwrap();
    for number in 0..201 {
        let asset = json!({"@id": format!("urn:test:{number:03}"), "properties": {
            "urn:concordat:visibility": "listed", "http://purl.org/dc/terms/title": [
                {"@value": format!("Dataset {number}"), "@language": "en"},
                {"@value": format!("Datensatz {number}"), "@language": "de"}]}, "dataAddress": {"type": "File", "path": file}});
        node.post("/v4/assets", asset).await;
    }
    let mut seen = 0;
    for number in 1..=3 {
        let page = text(&node, &format!("/open/catalog?page={number}"), "text/turtle").await;
        seen += page.matches("a dcat:Dataset").count();
        assert_eq!(page.contains("hydra:next"), number < 3, "{number}");
        assert_eq!(page.contains("hydra:previous"), number > 1, "{number}");
        assert!(page.contains("hydra:totalItems 201") && page.contains("@de"), "{number}");
    }
    assert_eq!(seen, 201);
}
