//! `concordat publish`, `unpublish`, `offers`: what this node offers.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use catalog::Description;
use clap::{Args, ValueEnum};
use policy_engine::{Policy, explain};
use serde_json::{Map, Value, json};

use super::Exit;
use super::api::{Api, segment, set};
use super::output::{Output, table, text};
use super::terms::{MEMBERSHIP, Terms};
use crate::sources;

#[derive(Debug, Clone, Args)]
pub(super) struct Publish {
    /// A file, or an http(s) address that this node reads on behalf of others.
    pub source: String,
    /// The dataset's id; an IRI is best.
    #[arg(long)]
    pub id: Option<String>,
    /// What it is called.
    #[arg(long)]
    pub title: String,
    /// What it holds.
    #[arg(long)]
    pub description: Option<String>,
    /// A keyword; may be repeated.
    #[arg(long = "keyword", value_name = "KEYWORD")]
    pub keywords: Vec<String>,
    /// Who publishes it.
    #[arg(long)]
    pub publisher: Option<String>,
    /// Which place it covers: a code or an IRI.
    #[arg(long)]
    pub place: Option<String>,
    /// First day it covers.
    #[arg(long, value_name = "DATE")]
    pub from: Option<String>,
    /// Last day it covers.
    #[arg(long, value_name = "DATE")]
    pub until: Option<String>,
    /// Its licence, an IRI.
    #[arg(long, value_name = "IRI")]
    pub license: Option<String>,
    /// A theme, an IRI such as http://publications.europa.eu/resource/authority/data-theme/ENVI; may be repeated.
    #[arg(long = "theme", value_name = "IRI")]
    pub themes: Vec<String>,
    /// Whom to ask about it: a mail address or an IRI.
    #[arg(long)]
    pub contact: Option<String>,
    /// How often it changes, an IRI such as http://publications.europa.eu/resource/authority/frequency/HOURLY.
    #[arg(long, value_name = "IRI")]
    pub frequency: Option<String>,
    /// A standard or Smart Data Model that it follows, an IRI; may be repeated.
    #[arg(long = "conforms-to", value_name = "IRI")]
    pub conforms_to: Vec<String>,
    /// Show its description to everybody, in the public catalogue that portals harvest; its data needs an agreement all
    /// the same.
    #[arg(long)]
    pub listed: bool,
    /// Open data: everybody finds it and reads it, without an agreement; it needs a licence.
    #[arg(long, requires = "license", conflicts_with_all = ["listed", "Terms", "policy", "only_for", "only_for_members_of"])]
    pub open: bool,
    /// Its media type; guessed from the file's name otherwise.
    #[arg(long)]
    pub media_type: Option<String>,
    #[command(flatten)]
    pub terms: Terms,
    /// Terms as an ODRL file (a Set) instead of the options above.
    #[arg(long, value_name = "FILE", conflicts_with = "Terms")]
    pub policy: Option<PathBuf>,
    /// Who may see the offer: a DID; may be repeated. Everybody otherwise.
    #[arg(long = "only-for", value_name = "DID")]
    pub only_for: Vec<String>,
    /// Only members of this data space may see the offer, an IRI.
    #[arg(long, value_name = "SPACE")]
    pub only_for_members_of: Option<String>,
    /// Who answers requests.
    #[arg(long, value_enum, default_value = "auto")]
    pub automation: Automation,
    /// For an http source: the header that carries its credentials.
    #[arg(long, requires = "secret_file", value_name = "HEADER")]
    pub auth_header: Option<String>,
    /// The file with the header's value, mode 0600.
    #[arg(long, requires = "auth_header", value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Automation {
    /// The node, when what is asked is within the terms.
    Auto,
    /// A person, with `concordat negotiations approve`.
    Manual,
    /// The node answers every request with the offer as published, and goes on when that is accepted.
    OfferFirst,
}

impl Automation {
    /// As in a contract definition.
    pub(super) const fn term(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
            Self::OfferFirst => "offer-first",
        }
    }
}

#[derive(Debug, Clone, Args)]
pub(super) struct Unpublish {
    /// The dataset's id.
    pub id: String,
}

pub(super) async fn publish(dir: &Path, arguments: &Publish, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(dir)?;
    let id = arguments.id.clone().unwrap_or_else(crate::ids::urn);
    let is_address = arguments.source.starts_with("http://") || arguments.source.starts_with("https://");
    let mut address = Map::new();
    address.insert("@type".to_owned(), json!("DataAddress"));
    let mut media_type = arguments.media_type.clone();
    if is_address {
        address.insert("type".to_owned(), json!("HttpData"));
        address.insert("baseUrl".to_owned(), json!(arguments.source));
        if let (Some(header), Some(file)) = (&arguments.auth_header, &arguments.secret_file) {
            address.insert("authKey".to_owned(), json!(header));
            address.insert(
                "secretFile".to_owned(),
                json!(file.canonicalize().context("finding the secret file")?),
            );
        }
    } else {
        let path = Path::new(&arguments.source);
        let path = path.canonicalize().with_context(|| format!("finding {}", path.display()))?;
        media_type.get_or_insert_with(|| sources::guess_media_type(&path));
        address.insert("type".to_owned(), json!("File"));
        address.insert("path".to_owned(), json!(path));
    }
    let description = Description {
        title: arguments.title.clone(),
        description: arguments.description.clone(),
        keywords: arguments.keywords.clone(),
        publisher: arguments.publisher.clone(),
        place: arguments.place.clone(),
        from: arguments.from.clone(),
        until: arguments.until.clone(),
        license: arguments.license.clone(),
        themes: arguments.themes.clone(),
        contact: arguments.contact.clone(),
        frequency: arguments.frequency.clone(),
        conforms_to: arguments.conforms_to.clone(),
        media_type,
    };
    let mut properties = description.to_properties();
    if arguments.open || arguments.listed {
        let visibility = if arguments.open { catalog::OPEN } else { catalog::LISTED };
        properties.insert(catalog::VISIBILITY.to_owned(), json!(visibility));
    }
    let terms = terms(arguments)?;
    let words = Policy::parse(&terms).map(|policy| explain::policy(&policy)).context("the terms")?;
    let (access_id, terms_id) = (format!("{id}#access"), format!("{id}#terms"));
    let automation = arguments.automation.term();
    let steps = [
        ("assets", &id, json!({"@id": id, "properties": properties, "dataAddress": address})),
        ("policydefinitions", &access_id, json!({"@id": access_id, "policy": access(arguments)})),
        ("policydefinitions", &terms_id, json!({"@id": terms_id, "policy": terms})),
        (
            "contractdefinitions",
            &id,
            json!({
                "@id": id, "accessPolicyId": access_id, "contractPolicyId": terms_id, "urn:concordat:automation": automation,
                "assetsSelector": [{"@type": "Criterion", "operandLeft": "id", "operator": "=", "operandRight": id}],
            }),
        ),
    ];
    let mut made: Vec<String> = Vec::new();
    for (kind, of, body) in steps {
        if let Err(error) = api.post(&format!("/v4/{kind}"), body).await {
            // Half an offer is worse than none.
            for path in made.iter().rev() {
                let _: anyhow::Result<Value> = api.delete(path).await;
            }
            return Err(error.context(format!("publishing `{id}`")));
        }
        made.push(format!("/v4/{kind}/{}", segment(of)));
    }
    output.result(&json!({"id": id, "terms": words}), || format!("published {id}\n  {}", words.join("\n  ")));
    Ok(Exit::Success)
}

/// Everybody, or the named participants, or the members of a data space.
fn access(arguments: &Publish) -> Value {
    let constraint = |left: &str, operator: &str, right: Value| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
    let named = (!arguments.only_for.is_empty())
        .then(|| constraint("assignee", "isAnyOf", json!(arguments.only_for)));
    let members =
        arguments.only_for_members_of.as_ref().map(|space| constraint(MEMBERSHIP, "eq", json!(space)));
    let constraints: Vec<_> = named.into_iter().chain(members).collect();
    let mut permission = json!({"action": "use"});
    if !constraints.is_empty() {
        set(&mut permission, "constraint", Value::Array(constraints));
    }
    json!({"@type": "Set", "permission": [permission]})
}

fn terms(arguments: &Publish) -> anyhow::Result<Value> {
    if let Some(file) = &arguments.policy {
        let text = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        return serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()));
    }
    Ok(arguments.terms.policy())
}

pub(super) async fn unpublish(dir: &Path, arguments: &Unpublish, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(dir)?;
    let id = &arguments.id;
    // The offer goes first; what is left of an interrupted run is taken up by the next.
    let paths = [
        format!("/v4/contractdefinitions/{}", segment(id)),
        format!("/v4/policydefinitions/{}", segment(&format!("{id}#terms"))),
        format!("/v4/policydefinitions/{}", segment(&format!("{id}#access"))),
        format!("/v4/assets/{}", segment(id)),
    ];
    let mut removed = 0;
    let mut last = None;
    for path in paths {
        match api.delete(&path).await {
            Ok(_) => removed += 1,
            Err(error) => last = Some(error),
        }
    }
    if removed == 0 {
        bail!(
            last.unwrap_or_else(|| anyhow::anyhow!("nothing was removed"))
                .context(format!("unpublishing `{id}`"))
        );
    }
    output.result(&json!({"id": id, "removed": removed}), || {
        format!("withdrawn {id}; agreements made before stay in force, but there is nothing left to read under them")
    });
    Ok(Exit::Success)
}

pub(super) async fn offers(dir: &Path, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(dir)?;
    let all = json!({"@type": "QuerySpec", "limit": 1000});
    let definitions = api.post("/v4/contractdefinitions/request", all.clone()).await?;
    let policies = api.post("/v4/policydefinitions/request", all).await?;
    let policy = |id: &str| {
        let found = policies.as_array().into_iter().flatten().find(|one| text(one, "@id") == id);
        found.and_then(|one| one.get("policy")).cloned().unwrap_or_default()
    };
    let words =
        |json: &Value| Policy::parse(json).map_or_else(|_| Vec::new(), |policy| explain::policy(&policy));
    let reads = api.get("/v4/opendata").await?;
    let reads_of = |id: &str| {
        let found = reads.as_array().into_iter().flatten().find(|one| text(one, "dataset") == id);
        found.and_then(|one| one.get("reads")).cloned().unwrap_or_default()
    };
    let mut shown = Vec::new();
    for definition in definitions.as_array().into_iter().flatten() {
        let terms = words(&policy(&text(definition, "contractPolicyId")));
        let who = words(&policy(&text(definition, "accessPolicyId")));
        shown.push(json!({
            "id": text(definition, "@id"), "terms": terms, "seenBy": who,
            "automation": text(definition, "urn:concordat:automation"),
            "openReads": reads_of(&text(definition, "@id")),
        }));
    }
    output.result(&Value::Array(shown.clone()), || {
        let join = |value: &Value| {
            let lines = value.as_array().into_iter().flatten().filter_map(Value::as_str);
            lines.collect::<Vec<_>>().join("\n")
        };
        let row = |one: &Value| {
            vec![text(one, "id"), join(&one["terms"]), text(one, "automation"), text(one, "openReads")]
        };
        table(&["offer", "terms", "automation", "open reads"], shown.iter().map(row).collect())
    });
    Ok(Exit::Success)
}
