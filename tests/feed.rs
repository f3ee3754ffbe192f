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
    for (ending, kind) in [("xml", "application/rdf+xml"), ("n3", "text/turtle")] {
        assert!(text(&node, &format!("/catalog.{ending}"), kind).await.contains(&whole), "{ending}");
    }
    let has = async |query: &str| {
        text(&node, &format!("/catalog.ttl?{query}"), "text/turtle").await.contains(&whole)
    };
    let now = "modified_since=2000-01-01T00:00:00Z";
    for query in
        ["q=test+rows", "fq=tags:air", "fq=tags:air%20res_format:CSV", "profiles=euro_dcat_ap_3", now]
    {
        assert!(has(query).await, "{query}");
    }
    for query in ["q=noise", "fq=tags:noise", "fq=res_format:XML", "modified_since=2100-01-01"] {
        assert!(!has(query).await, "{query}");
    }
    let page = text(&node, "/catalog.ttl?fq=tags:air&page=1", "text/turtle").await;
    assert!(page.contains("catalog.ttl?fq=tags%3Aair&page=1>") && page.contains("totalItems 1"), "{page}");
    for query in ["fq=colour:red", "modified_since=soon", "profiles=schemaorg", "q=hidden&page=2"] {
        let status = get(&node, &format!("/catalog.ttl?{query}"), "text/turtle").await.status().as_u16();
        assert_eq!(status, if query.starts_with('q') { 404 } else { 400 }, "{query}");
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
    // What is not said is left out for search engines, and what they want is there.
    let written = page.split("application/ld+json\">").nth(1).unwrap().split("</script>").next().unwrap();
    let search: serde_json::Value = serde_json::from_str(written).unwrap();
    assert!(!written.contains("null") && search.get("description").is_none(), "{written}");
    assert!(
        search["dateModified"].as_str().unwrap().ends_with('Z')
            && search["url"] == format!("{whole}.html").as_str()
    );
    let robots = get(&node, "/robots.txt", "*/*").await.text().await.unwrap();
    assert!(robots.contains("Disallow: /\n") && robots.ends_with("/open/sitemap.xml\n"), "{robots}");
    for path in ["/open/catalog", "/catalog.ttl", "/open/sitemap.xml", one.as_str(), "/open/datasets/none"] {
        let answer = get(&node, path, "text/turtle").await;
        assert_eq!(answer.headers()["access-control-allow-origin"], "*", "{path}");
    }
    assert!(get(&node, "/health", "*/*").await.headers().get("access-control-allow-origin").is_none());
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

/// A clerk's day with a dataset: a file that describes it, a series, a further form of its data, an edit, a withdrawal; an
/// agreement made before stays as it was signed.
#[tokio::test]
async fn datasets_are_described_by_files_edited_and_versioned_and_agreements_stay() {
    let world = World::new();
    let (city, consumer) = (world.local_node("city"), world.local_node("consumer"));
    let path = |name: &str, text: &str| {
        let path = world.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let rows = path("rows.csv", "time,value\n2019-05-07T00:00:00Z,1\n2019-06-17T00:00:00Z,2\n");
    let json_rows = path("rows.json", "[1,2]");
    let described = path(
        "no2.toml",
        "id = \"urn:test:no2\"\ntitle = {en = \"NO2\", nl = \"Stikstof\"}\ndescription = \"Hourly\"\nseries = [\"urn:test:series\"]\n",
    );
    city.text(&[
        "publish",
        "--series",
        "--id",
        "urn:test:series",
        "--title",
        "Air",
        "--description",
        "All",
        "--listed",
    ]);
    let further = format!("json={json_rows}");
    let published =
        city.json(&["publish", &rows, "--from-file", &described, "--listed", "--distribution", &further]);
    assert_eq!(
        (&published["id"], &published["guessed"]["columns"]),
        (&json!("urn:test:no2"), &json!("time, value"))
    );
    let one = format!("/open/datasets/{}", trust::did::segment("urn:test:no2"));
    let found = text(&city, &one, "text/turtle").await;
    for said in [
        "\"Stikstof\"@nl",
        "2019-05-07",
        "2019-06-17",
        "distribution-json",
        "application/json",
        "checksumValue",
    ] {
        assert!(found.contains(said), "{said}: {found}");
    }
    let series = format!("{}/open/datasets/{}", city.address, trust::did::segment("urn:test:series"));
    assert!(found.contains(&format!("inSeries <{series}>")), "{found}");
    assert!(text(&city, "/open/catalog", "text/turtle").await.contains("dcat:DatasetSeries"));

    // Under one agreement either form is read.
    let agreed = consumer.json(&["negotiate", &city.did, "urn:test:no2"]);
    let agreement = agreed["contractAgreementId"].as_str().unwrap();
    assert!(consumer.text(&["pull", agreement]).contains("2019-06-17"));
    assert_eq!(consumer.text(&["pull", agreement, "--distribution", "json"]), "[1,2]");
    let none = consumer.run(&["pull", agreement, "--distribution", "xml"]);
    assert_eq!(none.status.code(), Some(3), "{}", String::from_utf8_lossy(&none.stderr));

    // An edit is seen by those who look, and changes no agreement; new terms are for new agreements.
    let signed = consumer.json(&["agreements", "show", agreement]);
    let tag = get(&city, &one, "text/turtle").await.headers()["etag"].clone();
    city.text(&[
        "edit",
        "urn:test:no2",
        "--dataset-version",
        "1.1",
        "--version-notes",
        "June",
        "--at-most",
        "1",
    ]);
    let found = text(&city, &one, "text/turtle").await;
    assert!(found.contains("\"1.1\"") && found.contains("\"Stikstof\"@nl"), "{found}");
    let again = city.client.get(format!("{}{one}", city.address)).header("accept", "text/turtle");
    assert_eq!(again.header("if-none-match", tag).send().await.unwrap().status(), 200);
    let same = city.text(&["edit", "urn:test:no2", "--dataset-version", "1.1"]);
    assert!(same.contains("as it was"), "{same}");
    assert_eq!(city.run(&["edit", "urn:test:none", "--title", "x"]).status.code(), Some(3));
    let now = consumer.json(&["agreements", "show", agreement]);
    assert_eq!(now["policy"], signed["policy"]);
    for _ in 0..3 {
        assert!(consumer.text(&["pull", agreement]).contains("2019-06-17"), "no count was agreed on");
    }
    let newer = consumer.json(&["negotiate", &city.did, "urn:test:no2"]);
    let newer = newer["contractAgreementId"].as_str().unwrap();
    consumer.text(&["pull", newer]);
    assert_eq!(consumer.run(&["pull", newer]).status.code(), Some(3), "once only");
    city.text(&["unpublish", "urn:test:no2"]);
    let file = world.folder.path().join("dossier.json");
    consumer.text(&["agreements", "export", agreement, "-o", file.to_str().unwrap()]);
    assert!(consumer.run(&["agreements", "verify", file.to_str().unwrap()]).status.success());
    assert_eq!(consumer.json(&["agreements", "show", agreement])["policy"], signed["policy"]);
}

/// Descriptions as portals write them: what they say stands in the public catalogue and is found by what it means.
#[tokio::test]
async fn what_portals_write_is_imported_and_told_on() {
    let world = World::new();
    let (city, consumer) = (world.local_node("city"), world.local_node("consumer"));
    let path = |name: &str, text: &str| {
        let path = world.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let prefixes = "@prefix dcat: <http://www.w3.org/ns/dcat#> . @prefix dct: <http://purl.org/dc/terms/> .
        @prefix xsd: <http://www.w3.org/2001/XMLSchema#> . @prefix foaf: <http://xmlns.com/foaf/0.1/> .\n";
    let described = path(
        "x.ttl",
        &format!(
            "{prefixes}<urn:x> a dcat:Dataset ; dct:title \"T\"@en, \"Titel\"@de ; dct:description \"D\"@en ; dcat:keyword \"Luft\"@de, \"air\"@en ;
            dct:temporal [ dcat:startDate \"2018\"^^xsd:gYear ; dcat:endDate \"2020-02\"^^xsd:gYearMonth ] ;
            dct:spatial [ dcat:bbox \"<http://www.opengis.net/def/crs/EPSG/0/4326> POLYGON((50 3,51 3,51 4,50 4,50 3))\" ;
                dcat:centroid \"<http://www.opengis.net/def/crs/EPSG/0/31370> POINT(150000 170000)\" ] ;
            dct:publisher <https://city.example/org> ;
            dcat:distribution <urn:x#json>, <urn:x#csv> .
            <urn:x#json> dct:title \"For programs\"@en ; dct:format \"JSON\" . <urn:x#csv> dct:title \"Table\"@en, \"Tabelle\"@de ; dct:format \"CSV\" .
            <https://city.example/org> a foaf:Agent ; foaf:name \"Stadt\"@de, \"City\"@en ."
        ),
    );
    let (rows, json_rows) = (path("rows.csv", "a,b\n1,2\n"), path("rows.json", "[]"));
    let published = city.json(&["publish", &rows, "--from-file", &described, "--listed"]);
    let remarks = published["remarks"].to_string();
    assert!(
        remarks.contains("urn:x: its centre")
            && remarks.contains("EPSG:31370")
            && remarks.contains("(line 6)"),
        "{remarks}"
    );
    assert!(remarks.contains("further distributions") && remarks.contains(": json"), "{remarks}");
    let of = async |id: &str| {
        let one = format!("/open/datasets/{}", trust::did::segment(id));
        text(&city, &one, "text/turtle").await
    };
    let found = of("urn:x").await;
    for said in [
        "\"Luft\"@de",
        "\"air\"@en",
        "\"Titel\"@de",
        "\"2018-01-01\"^^<http://www.w3.org/2001/XMLSchema#date>",
        "\"2020-02-29\"^^<http://www.w3.org/2001/XMLSchema#date>",
        "POLYGON((3 50,4 50,4 51,3 51,3 50))",
        "publisher <https://city.example/org>",
        "\"Stadt\"@de",
        "\"Tabelle\"@de",
        "media-types/text/csv>",
        "authority/file-type/CSV>",
    ] {
        assert!(found.contains(said), "{said}: {found}");
    }
    assert!(!found.contains("centroid") && !found.contains("For programs"), "{found}");
    city.text(&["unpublish", "urn:x"]);
    let further = format!("json={json_rows}");
    city.text(&["publish", &rows, "--from-file", &described, "--listed", "--distribution", &further]);
    let found = of("urn:x").await;
    assert!(found.contains("\"For programs\"@en") && found.contains("file-type/JSON>"), "{found}");

    // The peer is told the same, and a year is all of its days.
    let seen =
        consumer.json(&["catalog", &city.did, "--from", "2020-02-29", "--until", "2018", "--format", "CSV"]);
    let dataset = &seen["dataset"][0];
    assert_eq!(dataset["@id"], "urn:x", "{seen}");
    assert_eq!(
        dataset["distribution"][0]["http://purl.org/dc/terms/title"].as_array().unwrap().len(),
        2,
        "{dataset}"
    );
    assert_eq!(dataset["http://purl.org/dc/terms/title"].as_array().unwrap().len(), 2, "{dataset}");
    for nothing in [["--from", "2020-03-01"], ["--until", "2017"], ["--format", "text/turtle"]] {
        let seen = consumer.json(&[&["catalog", &city.did], nothing.as_slice()].concat());
        assert!(seen["dataset"].as_array().is_none_or(Vec::is_empty), "{nothing:?}: {seen}");
    }

    // Over the antimeridian, and a form that the media type does not tell.
    let archive = path("timetable.zip", "PK");
    let fiji = [
        "--id",
        "urn:fiji",
        "--title",
        "Buses",
        "--bbox",
        "177,-20,-178,-16",
        "--file-type",
        "GTFS",
        "--listed",
    ];
    city.text(&[&["publish", &archive, "--from", "2020", "--until", "2020-02"], fiji.as_slice()].concat());
    let found = of("urn:fiji").await;
    for said in [
        "MULTIPOLYGON(((177 -20,180 -20,180 -16,177 -16,177 -20)),((-180 -20,-178 -20,-178 -16,-180 -16,-180 -20)))",
        "\"2020-01-01\"^^",
        "\"2020-02-29\"^^",
        "\"Buses (GTFS)\"",
        "media-types/application/zip>",
        "authority/file-type/GTFS>",
    ] {
        assert!(found.contains(said), "{said}: {found}");
    }
    let page = text(&city, &format!("/open/datasets/{}", trust::did::segment("urn:fiji")), "text/html").await;
    assert!(
        page.contains("over the antimeridian") && page.contains("\"box\":\"-20 177 -16 -178\""),
        "{page}"
    );
    assert!(text(&city, "/catalog.ttl?fq=res_format:GTFS", "text/turtle").await.contains("Buses"));
    let wrong = city.run(&["publish", &archive, "--title", "x", "--from", "soon"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");

    // What a program writes in another system is named, and left out.
    let lambert = "<http://www.opengis.net/def/crs/EPSG/0/31370> POINT(150000 170000)";
    let asset = json!({"@id": "urn:lambert", "properties": {"urn:concordat:visibility": "listed", "http://purl.org/dc/terms/title": "L",
        "http://purl.org/dc/terms/spatial": {"@id": "urn:be", "http://www.w3.org/ns/dcat#bbox": lambert}},
        "dataAddress": {"type": "File", "path": rows}});
    city.post("/v4/assets", asset).await;
    assert!(!of("urn:lambert").await.contains("bbox"));
    let remarks = city.run(&["--json", "catalog", "lint"]);
    let remarks = String::from_utf8_lossy(&remarks.stdout).into_owned();
    assert!(remarks.contains("EPSG:31370") && remarks.contains("urn:lambert"), "{remarks}");
    let bad = path("bad.ttl", &format!("{prefixes}<urn:y> a dcat:Dataset ;\n dct:title \"T ."));
    let refused = city.run(&["publish", &rows, "--from-file", &bad]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("line 4"), "{refused:?}");
}

/// Who has it is told so by time as well, and a catalog that lacks something is not shown at all.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the passing of a second is what is tested")]
async fn a_catalog_that_lacks_something_is_not_shown_and_an_old_one_is_not_sent_again() {
    let world = World::new();
    let mut node = world.local_node("city");
    node.publish("urn:test:one", b"a\n", &["--listed"]);
    node.publish("urn:test:two", b"a\n", &["--listed"]);
    // A time is told once it cannot change within its second any more.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let changed = get(&node, "/open/catalog", "text/turtle").await.headers()["last-modified"].clone();
    let since = |at: http::HeaderValue| {
        let url = format!("{}/open/catalog.ttl", node.address);
        node.client.get(url).header("if-modified-since", at).send()
    };
    assert_eq!(since(changed).await.unwrap().status(), 304);
    let before = http::HeaderValue::from_static("Sat, 01 Jan 2000 00:00:00 GMT");
    assert_eq!(since(before).await.unwrap().status(), 200);

    // Links go on in the form and below the path that were asked for.
    for path in ["/catalog.ttl", "/open/catalog.ttl", "/open/catalog"] {
        let page = text(&node, path, "text/turtle").await;
        assert!(page.contains(&format!("hydra:first <{}{path}?page=1>", node.address)), "{page}");
    }

    // A record that nobody can read: portals would take it for withdrawn and forget it.
    node.stop();
    node.spoil("asset/urn:test:two").await;
    node.start();
    for path in ["/open/catalog", "/catalog.ttl", "/open/sitemap.xml"] {
        let answer = get(&node, path, "text/turtle").await;
        assert_eq!(answer.status(), 503, "{path}");
        assert!(answer.headers().contains_key("retry-after"));
    }
    let one = format!("/open/datasets/{}", trust::did::segment("urn:test:one"));
    assert_eq!(get(&node, &one, "text/turtle").await.status(), 200, "what is there is there");
    let consumer = world.local_node("consumer");
    let refused = consumer.run(&["catalog", &node.did]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("503"), "{refused:?}");
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
