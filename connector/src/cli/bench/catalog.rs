//! How a node answers about many datasets: pages, filters, one dataset, a whole reading, search, memory.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::Method;
use serde_json::{Value, json};

use super::{Figure, memory, quantile};
use crate::cli::api::{Api, segment};
use crate::cli::output::{Output, text};
use crate::cli::testbed::{TestNode, Testbed};

/// Most questions of each kind.
const QUESTIONS: usize = 300;
/// Datasets published at once.
const AT_ONCE: usize = 64;
/// Most distinct offers, each with policies of its own.
const OFFERS: usize = 1000;
/// Longest reading of a whole catalog.
const READING: Duration = Duration::from_secs(600);

/// The figures for a node with `count` datasets.
pub(super) async fn figures(count: usize, output: &Output) -> anyhow::Result<Vec<Figure>> {
    let testbed = Testbed::new("bench", false)?;
    let provider = testbed.node("Provider").await?;
    let offers = (count / 10).clamp(1, OFFERS);
    output.say(&format!("publishing {count} datasets under {offers} offers"));
    let began = Instant::now();
    fill(&provider.api, count, offers).await?;
    let name = |what: &str| format!("{count} datasets: {what}");
    let mut figures =
        vec![Figure::plain(name("published"), super::per_second(count, began.elapsed()), "a second")];

    output.say("reading the whole catalog");
    let reader = testbed.reader("Reader", &provider).await?;
    let began = Instant::now();
    let refresh = json!({"participant": provider.did});
    let read = reader.api.post_within("/v4/peers/refresh", refresh.clone(), READING).await?;
    figures.push(Figure::plain(name("whole catalog read and indexed"), began.elapsed().as_secs_f64(), "s"));
    let found = read.pointer("/0/datasets").and_then(Value::as_u64);
    ensure!(found == u64::try_from(count).ok(), "the reader found {read}");
    let began = Instant::now();
    reader.api.post_within("/v4/peers/refresh", refresh, READING).await?;
    figures.push(Figure::plain(name("read again, unchanged"), began.elapsed().as_secs_f64(), "s"));

    output.say("asking");
    let asker = Asker {
        client: testbed.stranger()?,
        provider: &provider,
        reader: &reader,
        questions: count.min(QUESTIONS),
    };
    let some = |question: usize| question.wrapping_mul(7919) % count;
    let page = asker.catalog(|question| json!([{"from": format!("20{:02}-01-01", question % 20)}])).await?;
    let plain = asker.walk().await?;
    for (what, times) in [
        ("a page of 100", plain),
        ("a page of 100, by period", page),
        (
            "a page, by keyword and text",
            asker
                .catalog(
                    |question| json!([{"keyword": format!("k{}", some(question) % 97), "text": "hourly"}]),
                )
                .await?,
        ),
        (
            "a page, by purpose",
            asker.catalog(|_| json!([{"purpose": "https://w3id.org/dpv#AcademicResearch"}])).await?,
        ),
        ("one dataset", asker.datasets(some).await?),
        ("a page of the public catalogue", asker.open(count.div_ceil(100)).await?),
        ("text search at the reader", asker.search(some).await?),
    ] {
        figures.push(Figure::plain(name(&format!("{what}, median")), quantile(&times, 50), "ms"));
        figures.push(Figure::at_most(name(&format!("{what}, 99 %")), quantile(&times, 99), "ms", 5.0));
    }
    for (who, node) in [("provider", &provider), ("reader", &reader)] {
        let pid = node.process_id().context("the node has ended")?;
        figures.push(Figure::plain(name(&format!("memory of the {who}")), memory(pid, "VmRSS:"), "MiB"));
    }
    let dir = provider.dir.clone();
    provider.stop().await?;
    let began = Instant::now();
    let mut child = crate::cli::testbed::spawn(&dir).await?;
    figures.push(Figure::plain(name("start"), began.elapsed().as_secs_f64(), "s"));
    drop(child.stdin.take());
    child.wait().await.context("ending a node")?;
    reader.stop().await?;
    Ok(figures)
}

async fn fill(api: &Api, count: usize, offers: usize) -> anyhow::Result<()> {
    let everybody = json!({"@type": "Set", "permission": [{"action": "use"}]});
    for offer in 0..offers {
        // No two offers have the same terms.
        let until = format!("{}-01-01T00:00:00Z", 2100 + offer);
        let purpose = if offer.is_multiple_of(2) { "ResearchAndDevelopment" } else { "Marketing" };
        let terms = json!({"@type": "Set", "permission": [{"action": "use", "constraint": [
            {"leftOperand": "purpose", "operator": "isA", "rightOperand": format!("https://w3id.org/dpv#{purpose}")},
            {"leftOperand": "dateTime", "operator": "lteq", "rightOperand": until}]}]});
        api.post("/v4/policydefinitions", json!({"@id": format!("terms-{offer}"), "policy": terms})).await?;
        api.post("/v4/policydefinitions", json!({"@id": format!("access-{offer}"), "policy": everybody}))
            .await?;
        let selector = json!([{"@type": "Criterion", "operandLeft": "group", "operator": "=", "operandRight": offer.to_string()}]);
        let definition = json!({"@id": format!("offer-{offer}"), "accessPolicyId": format!("access-{offer}"),
            "contractPolicyId": format!("terms-{offer}"), "assetsSelector": selector});
        api.post("/v4/contractdefinitions", definition).await?;
    }
    let posted = futures_util::stream::iter(0..count).map(|number| {
        api.post("/v4/assets", json!({"@id": id(number), "properties": {
            "group": (number % offers).to_string(),
            "urn:concordat:visibility": "listed",
            "http://purl.org/dc/terms/title": format!("Hourly readings of sensor {number}"),
            "http://purl.org/dc/terms/description": format!("What sensor {number} in district {} measured, hour by hour.", number % 30),
            "http://purl.org/dc/terms/publisher": format!("Agency {}", number % 25),
            "http://purl.org/dc/terms/license": "https://creativecommons.org/licenses/by/4.0/",
            "http://purl.org/dc/terms/temporal": {"http://www.w3.org/ns/dcat#startDate": format!("20{:02}-01-01", number % 20)},
            "http://www.w3.org/ns/dcat#keyword": [format!("k{}", number % 97), "sensor"],
            "http://www.w3.org/ns/dcat#theme": ["http://publications.europa.eu/resource/authority/data-theme/ENVI"],
            "http://www.w3.org/ns/dcat#mediaType": "text/csv",
        }}))
    });
    posted.buffer_unordered(AT_ONCE).try_for_each(async |_| Ok(())).await
}

fn id(number: usize) -> String {
    format!("urn:bench:{number:06}")
}

struct Asker<'a> {
    client: reqwest::Client,
    provider: &'a TestNode,
    reader: &'a TestNode,
    /// How many of each kind.
    questions: usize,
}

impl Asker<'_> {
    /// Sends a request with a fresh token and waits for all of the answer: milliseconds, and the next page.
    async fn ask(
        &self,
        method: Method,
        url: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(f64, Option<String>)> {
        let token = self.reader.api.post("/v4/tokens", json!({"audience": self.provider.did})).await?;
        let mut request = self.client.request(method, url).bearer_auth(text(&token, "access_token"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let began = Instant::now();
        let answer = request.send().await?.error_for_status()?;
        let next =
            crate::engine::next_page(answer.headers(), answer.url().as_str()).map_err(anyhow::Error::msg)?;
        answer.bytes().await?;
        Ok((began.elapsed().as_secs_f64() * 1000.0, next))
    }

    fn base(&self) -> String {
        format!("{}{}", self.provider.address, crate::http::DSP_PATH)
    }

    /// First pages with filters.
    async fn catalog(&self, filter: impl Fn(usize) -> Value) -> anyhow::Result<Vec<f64>> {
        let url = format!("{}/catalog/request", self.base());
        let mut times = Vec::new();
        for question in 0..self.questions {
            let message = protocol::wire::CatalogRequestMessage {
                filter: filter(question).as_array().cloned(),
                ..Default::default()
            };
            let message = protocol::wire::to_json(&message, None);
            times.push(self.ask(Method::POST, &url, Some(message)).await?.0);
        }
        Ok(sorted(times))
    }

    /// One page after the other, from the beginning again where there are no more.
    async fn walk(&self) -> anyhow::Result<Vec<f64>> {
        let first = format!("{}/catalog/request", self.base());
        let mut next = Some(first.clone());
        let mut times = Vec::new();
        while times.len() < self.questions {
            let url = next.unwrap_or_else(|| first.clone());
            let (took, following) = self.ask(Method::GET, &url, None).await?;
            times.push(took);
            next = following;
        }
        Ok(sorted(times))
    }

    async fn datasets(&self, which: impl Fn(usize) -> usize) -> anyhow::Result<Vec<f64>> {
        let mut times = Vec::new();
        for question in 0..self.questions {
            let url = format!("{}/catalog/datasets/{}", self.base(), segment(&id(which(question))));
            times.push(self.ask(Method::GET, &url, None).await?.0);
        }
        Ok(sorted(times))
    }

    /// Pages of the public catalogue in Turtle.
    async fn open(&self, pages: usize) -> anyhow::Result<Vec<f64>> {
        let mut times = Vec::new();
        for question in 0..self.questions {
            let page = question.wrapping_mul(37) % pages + 1;
            let url = format!("{}/open/catalog.ttl?page={page}", self.provider.address);
            let began = Instant::now();
            self.client.get(url).send().await?.error_for_status()?.bytes().await?;
            times.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(sorted(times))
    }

    async fn search(&self, which: impl Fn(usize) -> usize) -> anyhow::Result<Vec<f64>> {
        let mut times = Vec::new();
        for question in 0..self.questions {
            let words = format!("sensor {} district", which(question));
            let began = Instant::now();
            self.reader.api.post("/v4/search", json!({"text": words})).await?;
            times.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(sorted(times))
    }
}

fn sorted(mut times: Vec<f64>) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    times
}
