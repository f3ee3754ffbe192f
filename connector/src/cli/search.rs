//! `concordat search`: datasets in all catalogs that this node knows.

use clap::Args;
use serde_json::{Map, Value, json};

use super::Exit;
use super::api::Api;
use super::output::{Output, plain, table, text};
use super::target::TargetNode;
use crate::search::describe;

#[derive(Debug, Clone, Args)]
pub(super) struct Arguments {
    /// Words, each of which a dataset must say; the last one may be the beginning of a word. All datasets otherwise.
    words: Vec<String>,
    /// Only what this participant offers, a DID.
    #[arg(long, value_name = "DID")]
    participant: Option<String>,
    /// Only datasets with this theme, an IRI.
    #[arg(long, value_name = "IRI")]
    theme: Option<String>,
    /// Only datasets with this keyword.
    #[arg(long)]
    keyword: Option<String>,
    /// Only datasets of this publisher.
    #[arg(long)]
    publisher: Option<String>,
    /// Only datasets of this media type.
    #[arg(long, value_name = "MEDIA_TYPE")]
    format: Option<String>,
    /// Only datasets under this licence, an IRI.
    #[arg(long, value_name = "IRI")]
    license: Option<String>,
    /// Also show the most frequent values of each property among what was found, to narrow it down with.
    #[arg(long)]
    facets: bool,
    /// Hits to leave out.
    #[arg(long, default_value_t = 0)]
    offset: usize,
    /// Most hits to show.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

pub(super) async fn run(node: &TargetNode, arguments: &Arguments, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    let words = (!arguments.words.is_empty()).then(|| arguments.words.join(" "));
    let members = [
        ("text", &words),
        ("participant", &arguments.participant),
        ("theme", &arguments.theme),
        ("keyword", &arguments.keyword),
        ("publisher", &arguments.publisher),
        ("format", &arguments.format),
        ("license", &arguments.license),
    ];
    let mut question: Map<String, Value> = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))))
        .collect();
    question.insert("offset".to_owned(), json!(arguments.offset));
    question.insert("limit".to_owned(), json!(arguments.limit));
    let found = api.post("/v4/search", Value::Object(question)).await?;
    output.result(&found, || {
        let rows = found.get("hits").and_then(Value::as_array).into_iter().flatten().map(row);
        let mut lines = vec![table(&["dataset", "title", "participant", "period", "seen"], rows.collect())];
        lines.push(format!("{} in all", text(&found, "total")));
        if arguments.facets {
            lines.extend(facets(&found));
        }
        for one in found.get("failing").and_then(Value::as_array).into_iter().flatten() {
            lines.push(format!("{} cannot be read now: {}", text(one, "source"), text(one, "failure")));
        }
        lines.join("\n")
    });
    Ok(Exit::Success)
}

fn row(hit: &Value) -> Vec<String> {
    let dataset = hit.get("dataset").cloned().unwrap_or_default();
    let described = describe(&dataset);
    let period = [described.from, described.until].into_iter().flatten().collect::<Vec<_>>().join(" to ");
    let (participant, source) = (text(hit, "participant"), text(hit, "source"));
    let told = if participant == source { participant } else { format!("{participant}, by {source}") };
    let age = hit.get("ageSeconds").and_then(Value::as_u64);
    let seen = age.map_or_else(String::new, |age| {
        format!("{} ago", indicatif::HumanDuration(std::time::Duration::from_secs(age)))
    });
    let title = plain(described.title.plain().unwrap_or_default());
    vec![text(&dataset, "@id"), title, told, plain(&period), seen]
}

fn facets(found: &Value) -> Vec<String> {
    let all = found.get("facets").and_then(Value::as_object);
    let line = |(name, values): (&String, &Value)| {
        let values = values.as_array().into_iter().flatten();
        let values: Vec<_> =
            values.map(|one| format!("{} ({})", text(one, "value"), text(one, "count"))).collect();
        (!values.is_empty()).then(|| format!("{}: {}", plain(name), values.join(", ")))
    };
    all.into_iter().flatten().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::for_people;

    #[test]
    fn texts_of_a_strangers_hit_are_of_one_line() {
        let evil = "A\nurn:forged\u{1b}[2J";
        let said = || Some(evil.to_owned());
        let described = catalog::Description { from: said(), until: said(), ..Default::default() };
        let mut dataset = described.to_properties();
        dataset.insert("@id".to_owned(), json!(evil));
        dataset.insert(catalog::TITLE.to_owned(), json!(evil));
        let cells = for_people(|| row(&json!({"dataset": dataset, "participant": evil, "source": "b"})));
        assert!(cells.iter().filter(|cell| cell.contains("forged")).count() >= 3, "{cells:?}");
        assert!(cells.iter().all(|cell| !cell.contains(char::is_control)), "{cells:?}");
    }
}
