//! The page of shared data in a real browser (headless Chromium over WebDriver). `./test browser` installs it.

use std::process::Command;
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;

use crate::dataplane::servers::{Server, program, start};
use crate::gateway::reading_key;
use crate::live::Writer;
use crate::support::{PURPOSE, World, free_port};

/// A browser, and the driver that ends with it.
async fn browser(folder: &std::path::Path) -> Option<(Client, Server)> {
    let chromium = program(&["chromium"])?;
    let driver = program(&["chromedriver"])?;
    let port = free_port();
    let server = start(Command::new(driver).arg(format!("--port={port}")), port, &folder.join("driver.log"));
    let mut wanted = serde_json::Map::new();
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1200,2000",
    ];
    wanted.insert("goog:chromeOptions".to_owned(), json!({"binary": chromium, "args": arguments}));
    wanted.insert("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"}));
    let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
        .capabilities(wanted)
        .connect(&format!("http://127.0.0.1:{port}"))
        .await
        .unwrap();
    Some((client, server))
}

async fn text(client: &Client, selector: &str) -> String {
    client.find(Locator::Css(selector)).await.unwrap().text().await.unwrap()
}

async fn count(client: &Client, selector: &str) -> usize {
    client.find_all(Locator::Css(selector)).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_rows_charts_maps_and_live_data() {
    let world = World::new();
    let Some((client, _driver)) = browser(world.folder.path()).await else { return };
    let (provider, consumer) = (world.local_node("provider"), world.local_node("consumer"));
    let table = |station: &str, latitude: f64| {
        let mut text = "location,at,parameter,value,unit,latitude,longitude\n".to_owned();
        for hour in 0..48 {
            let (day, hour, value) = (1 + hour / 24, hour % 24, 10 + hour % 7);
            text.push_str(&format!(
                "{station},2026-01-0{day}T{hour:02}:00:00Z,no2,{value},µg/m³,{latitude},4.4\n"
            ));
        }
        text
    };
    provider.publish("urn:north", table("North <b>", 51.3).as_bytes(), &[]);
    provider.publish("urn:south", table("South", 51.1).as_bytes(), &["--round", "value=5"]);
    provider.publish("urn:counted", table("Counted", 51.1).as_bytes(), &["--at-most", "3"]);
    let folder = provider.data().join("events");
    std::fs::create_dir_all(&folder).unwrap();
    provider.json(&[
        "publish",
        folder.to_str().unwrap(),
        "--tail",
        "--id",
        "urn:live",
        "--title",
        "Live",
        "--purpose",
        PURPOSE,
    ]);
    for name in ["north", "south", "counted", "live"] {
        consumer.json(&[
            "use",
            &format!("urn:{name}"),
            "--from",
            &provider.did,
            "--as",
            name,
            "--purpose",
            PURPOSE,
        ]);
    }
    let key = reading_key(&consumer);
    let page = format!("{}/dashboard", consumer.management);

    // Nobody without a key; a wrong one is told; the right one opens.
    client.goto(&page).await.unwrap();
    client.wait().at_most(Duration::from_secs(60)).for_element(Locator::Css("form")).await.unwrap();
    assert!(client.current_url().await.unwrap().path().ends_with("/login"));
    let form = client.form(Locator::Css("form")).await.unwrap();
    form.set_by_name("key", "guessed").await.unwrap();
    form.submit().await.unwrap();
    // The page that answers takes its time to come.
    let told =
        client.wait().at_most(Duration::from_secs(60)).for_element(Locator::Css(".problem")).await.unwrap();
    assert!(told.text().await.unwrap().contains("no key of this node"));
    let form = client.form(Locator::Css("form")).await.unwrap();
    form.set_by_name("key", &key).await.unwrap();
    form.submit().await.unwrap();
    client.wait().at_most(Duration::from_secs(60)).for_element(Locator::Css("#together")).await.unwrap();
    assert_eq!(client.current_url().await.unwrap().path(), "/dashboard");

    // Two datasets that measure the same: one chart with a line each, one map with a point each.
    assert!(count(&client, "#together figure.chart polyline").await >= 2);
    assert_eq!(count(&client, "#together figure.map circle").await, 2);
    let together = text(&client, "#together").await;
    assert!(
        together.contains("north") && together.contains("south") && together.contains("no2"),
        "{together}"
    );
    for name in ["north", "south"] {
        assert_eq!(count(&client, &format!("#{name} figure svg")).await, 2, "{name}");
        assert_eq!(count(&client, &format!("#{name} tbody tr")).await, 8, "{name}");
        let card = text(&client, &format!("#{name}")).await;
        for told in [provider.did.as_str(), "in force", "2100-01-01", "8 of 48 rows", "/d/"] {
            assert!(card.contains(told), "{name} does not say {told}: {card}");
        }
    }
    assert_eq!(count(&client, "#north b").await, 0, "what rows say is text");
    assert!(text(&client, "#south").await.contains("rounded to multiples of 5"));
    // A read that counts waits for a person.
    assert_eq!(count(&client, "#counted table").await, 0);
    client.find(Locator::Css("#counted a")).await.unwrap().click().await.unwrap();
    client.wait().at_most(Duration::from_secs(60)).for_element(Locator::Css("#counted table")).await.unwrap();

    // Live data comes by itself.
    let _writer = Writer::start(folder.join("a.ndjson"), Duration::from_millis(50));
    client
        .wait()
        .at_most(Duration::from_secs(30))
        .for_element(Locator::Css("#live [data-updates] figure.chart polyline"))
        .await
        .unwrap();
    client
        .wait()
        .at_most(Duration::from_secs(30))
        .for_element(Locator::XPath(
            "//section[@id='live']//span[contains(@class, 'state') and text()='live']",
        ))
        .await
        .unwrap();
    client
        .wait()
        .at_most(Duration::from_secs(30))
        .for_element(Locator::Css("#live [data-updates='4']"))
        .await
        .unwrap();

    let shot = client.screenshot().await.unwrap();
    if let Ok(file) = std::env::var("CONCORDAT_SCREENSHOT") {
        std::fs::write(file, shot).unwrap();
    }
    // Nothing in the page was refused or failed.
    let log = client.issue_cmd(Log).await.unwrap();
    let severe: Vec<_> = log.as_array().unwrap().iter().filter(|line| line["level"] == "SEVERE").collect();
    let wanted = |line: &&&serde_json::Value| !line["message"].as_str().unwrap_or_default().contains("401");
    assert!(severe.iter().find(wanted).is_none(), "{severe:?}");

    // The agreement ends: the page says so.
    let used = consumer.get("/v4/uses/live").await;
    provider.json(&["agreements", "end", used["agreement"].as_str().unwrap(), "--reason", "moved"]);
    client
        .wait()
        .at_most(Duration::from_secs(30))
        .for_element(Locator::XPath("//section[@id='live']//span[contains(., 'moved')]"))
        .await
        .unwrap();
    client.close().await.unwrap();
}

/// What the browser's console said.
#[derive(Debug)]
struct Log;

impl fantoccini::wd::WebDriverCompatibleCommand for Log {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({"type": "browser"}).to_string()))
    }
}
