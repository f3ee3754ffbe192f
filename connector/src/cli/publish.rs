//! `concordat publish`, `unpublish`, `offers`: what this node offers.

mod ask;
mod guess;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use catalog::{Description, NamedForm};
use clap::{Args, ValueEnum};
use governance::levels::{self, ServiceLevels};
use governance::personal::PROPERTY as PERSONAL;
use policy_engine::{Policy, explain};
use serde_json::{Map, Value, json};

use super::api::{Api, segment, set};
use super::describe::{Describe, Described};
use super::output::{Output, plain, table, text};
use super::target::TargetNode;
use super::terms::{self, MEMBERSHIP, TermsOfUse};
use super::warnings::{Strictness, Warnings};
use super::{Exit, Failed};
use crate::config::FILE;
use crate::sources::{self, Named};

/// What stands over the lines that this command adds to the configuration.
const ALLOWED: &str = "Allowed by `concordat publish`";

#[derive(Debug, Clone, Args)]
pub(super) struct Publish {
    /// A file, a folder, or an address that this node reads on behalf of others: http(s), s3, az, gs, mqtt(s), nats, tls.
    #[arg(required_unless_present_any = ["series", "data_address"])]
    pub source: Option<String>,
    /// The data address as a JSON file, for what the options here cannot say; the guide tells its kinds.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["source", "series"])]
    pub data_address: Option<PathBuf>,
    /// Of a folder, the files that are shared, such as `*.csv`.
    #[arg(long, value_name = "PATTERN")]
    pub files: Option<String>,
    /// Share new lines of the files in a folder as live data.
    #[arg(long)]
    pub tail: bool,
    /// The topic of an MQTT broker, or the subject of a NATS server.
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// The JetStream that holds the subject: its events can be taken up where one stopped.
    #[arg(long, value_name = "NAME", requires = "topic")]
    pub stream: Option<String>,
    /// Of an http address, the paths below it that readers may ask for, such as `stations/*`; may be repeated.
    #[arg(long = "path", value_name = "PATTERN")]
    pub paths: Vec<String>,
    /// Of an http address, a parameter that readers may add; may be repeated.
    #[arg(long = "parameter", value_name = "NAME")]
    pub parameters: Vec<String>,
    /// The dataset's id; an IRI is best.
    #[arg(long)]
    pub id: Option<String>,
    #[command(flatten)]
    pub describe: Describe,
    /// The same data in a further form: a name and a file or an address; may be repeated.
    #[arg(long = "distribution", value_name = "NAME=SOURCE", value_parser = named, conflicts_with = "series")]
    pub distributions: Vec<(String, String)>,
    /// A series of datasets, which has no data of its own; datasets name it with --in-series.
    #[arg(long, conflicts_with_all = ["source", "open", "Terms", "OnTheWay", "policy", "only_for", "only_for_members_of"])]
    pub series: bool,
    /// It is about persons: a JSON file says which column names them, what of them each column tells, and why it may be
    /// handed on; the guide tells its members. Rows go only as far as persons permit.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["open", "series"])]
    pub personal: Option<PathBuf>,
    /// Ask for what portals demand and recommend, and whether all is right; without this, nobody is asked.
    #[arg(long)]
    pub ask: bool,
    /// Take size, checksum, columns, extent and period only as they are given, and do not read the file for them.
    #[arg(long)]
    pub no_guess: bool,
    /// Show its description to everybody, in the public catalogue that portals harvest; its data needs an agreement all
    /// the same.
    #[arg(long)]
    pub listed: bool,
    /// Open data: everybody finds it and reads it, without an agreement; it needs a licence.
    #[arg(long, conflicts_with_all = ["listed", "Terms", "OnTheWay", "policy", "only_for", "only_for_members_of"])]
    pub open: bool,
    #[command(flatten)]
    pub terms: TermsOfUse,
    /// Terms as an ODRL file (a Set) instead of the options above.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["Terms", "OnTheWay"])]
    pub policy: Option<PathBuf>,
    /// Terms as a template of the rulebook in force, by its name; `concordat rulebook show` lists them.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["Terms", "OnTheWay", "policy", "open", "series"])]
    pub template: Option<String>,
    /// Service levels from a JSON file: what is promised, measured, and owed where it is missed; the guide tells its members.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["open", "series"])]
    pub service_levels: Option<PathBuf>,
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
    #[arg(long, value_name = "HEADER")]
    pub auth_header: Option<String>,
    /// The file with the header's value, with `name:password` or a token of a broker, or with further options of an object
    /// store; mode 0600.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    #[command(flatten)]
    pub strictness: Strictness,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum Automation {
    /// The node, when what is asked is within the terms.
    #[default]
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

fn named(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, source)| !name.is_empty() && !source.is_empty());
    let (name, source) =
        parts.ok_or_else(|| format!("`{text}` is not a name and a source such as `json=rows.json`"))?;
    Ok((name.to_owned(), source.to_owned()))
}

/// What is made of a source.
struct Found {
    address: Value,
    /// The file, if it is one.
    file: Option<PathBuf>,
}

/// The data address of a source, with what the options say of it.
fn find(source: &str, arguments: &Publish) -> anyhow::Result<Found> {
    let mut address = json!({"@type": "DataAddress"});
    let mut file = None;
    let scheme = source.split_once("://").map_or("", |(scheme, _)| scheme);
    match scheme {
        "http" | "https" => {
            set(&mut address, "type", json!("HttpData"));
            set(&mut address, "baseUrl", json!(source));
            if let Some(header) = &arguments.auth_header {
                set(&mut address, "authKey", json!(header));
            }
            if !arguments.paths.is_empty() {
                set(&mut address, "paths", json!(arguments.paths));
            }
            if !arguments.parameters.is_empty() {
                set(&mut address, "queryParameters", json!(arguments.parameters));
            }
        }
        "s3" | "az" | "gs" => {
            set(&mut address, "type", json!("ObjectStore"));
            set(&mut address, "url", json!(source));
        }
        "mqtt" | "mqtts" | "nats" | "tls" => {
            let is_mqtt = scheme.starts_with("mqtt");
            let Some(topic) = &arguments.topic else {
                bail!(Failed::new(Exit::Usage, format!("what of {source} is shared? say so with --topic")));
            };
            set(&mut address, "type", json!(if is_mqtt { "Mqtt" } else { "Nats" }));
            set(&mut address, "url", json!(source));
            set(&mut address, if is_mqtt { "topic" } else { "subject" }, json!(topic));
            if let Some(stream) = &arguments.stream {
                set(&mut address, "stream", json!(stream));
            }
        }
        "" => {
            let path = Path::new(source);
            let path = path.canonicalize().with_context(|| format!("finding {}", path.display()))?;
            let kind = match (path.is_dir(), arguments.tail) {
                (true, true) => "Tail",
                (true, false) => "Folder",
                (false, false) => "File",
                (false, true) => bail!("--tail shares new lines of the files in a folder; name the folder"),
            };
            set(&mut address, "type", json!(kind));
            set(&mut address, "path", json!(path));
            if let Some(files) = &arguments.files {
                set(&mut address, "pattern", json!(files));
            }
            file = (!path.is_dir()).then_some(path);
        }
        other => bail!("`{other}` is no kind of address that this node reads; see --data-address"),
    }
    if let Some(secret) = arguments.secret_file.as_ref().filter(|_| !scheme.is_empty()) {
        let secret = secret.canonicalize().context("finding the secret file")?;
        set(&mut address, "secretFile", json!(secret));
    }
    Ok(Found { address, file })
}

/// The asset as it is sent to the node, what it says of itself, what was guessed, and what its file says that was not taken.
struct Made {
    asset: Value,
    description: Description,
    guessed: Vec<(&'static str, String)>,
    remarks: Vec<String>,
}

/// Makes the asset.
fn asset(arguments: &Publish, output: Output) -> anyhow::Result<Made> {
    let found = match (&arguments.source, &arguments.data_address) {
        (Some(source), _) => Some(find(source, arguments)?),
        (None, Some(file)) => Some(Found { address: super::negotiations::read_json(file)?, file: None }),
        (None, None) => None,
    };
    let file = found.as_ref().and_then(|found| found.file.as_deref());
    let Described { id, mut description, further: told, mut remarks } =
        arguments.describe.read(file.map(dataplane::media_type_of))?;
    arguments.describe.apply(&mut description);
    let id = arguments.id.clone().or(id).unwrap_or_else(crate::ids::urn);
    let mut guessed = Vec::new();
    if let (Some(file), false) = (file, arguments.no_guess) {
        let size = file.metadata().map(|meta| meta.len()).ok();
        let bar = output.bytes_bar(size, "reading the file");
        guessed = guess::complete(file, &mut description, &bar)?;
    }
    let mut further = Map::new();
    for (name, source) in &arguments.distributions {
        let found = find(source, arguments)?;
        let told = told.iter().find(|one| one.name == *name).cloned().unwrap_or_default();
        let mut form = Description { form: told.form, ..Description::default() };
        if let Some(file) = found.file.as_ref().filter(|_| !arguments.no_guess) {
            form.frequency.clone_from(&description.frequency);
            guess::complete(file, &mut form, &output.bytes_bar(None, "reading the file"))?;
        }
        description.distributions.retain(|one| one.name != *name);
        description.distributions.push(NamedForm { name: name.clone(), title: told.title, form: form.form });
        further.insert(name.clone(), found.address);
    }
    if let Some(one) = description.distributions.iter().find(|one| !further.contains_key(&one.name)) {
        bail!(
            "where is the data of the distribution `{}`? say so with --distribution {}=SOURCE",
            one.name,
            one.name
        );
    }
    let untold: Vec<_> =
        told.iter().map(|one| one.name.as_str()).filter(|name| !further.contains_key(*name)).collect();
    if !untold.is_empty() {
        remarks.push(format!(
            "the file describes further distributions, which are not published unless --distribution NAME=SOURCE says where \
             their data is: {}",
            untold.join(", ")
        ));
    }
    if arguments.ask {
        ask::complete(&mut description, &mut std::io::stdin().lock(), &mut std::io::stderr().lock())?;
    }
    if description.title.is_empty() {
        bail!(Failed::new(Exit::Usage, "a dataset needs a title: --title, or in the file of --from-file"));
    }
    if arguments.open && description.form.license.is_none() {
        bail!(Failed::new(
            Exit::Usage,
            "open data needs a licence: --license, or in the file of --from-file"
        ));
    }
    description.settle();
    let mut properties = description.to_properties();
    if arguments.open || arguments.listed {
        let visibility = if arguments.open { catalog::OPEN } else { catalog::LISTED };
        properties.insert(catalog::VISIBILITY.to_owned(), json!(visibility));
    }
    if arguments.series {
        properties.insert(catalog::SERIES.0.to_owned(), json!(catalog::SERIES.1));
    }
    if let Some(file) = &arguments.personal {
        let text = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let said: Value =
            serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()))?;
        properties.insert(PERSONAL.to_owned(), said);
    }
    let mut asset = json!({"@id": id, "properties": properties});
    if let Some(found) = found {
        set(&mut asset, "dataAddress", found.address);
    }
    if !further.is_empty() {
        set(&mut asset, "urn:concordat:distributions", Value::Object(further));
    }
    Ok(Made { asset, description, guessed, remarks })
}

pub(super) async fn publish(node: &TargetNode, arguments: &Publish, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    let made = asset(arguments, *output)?;
    let files = files_of(&made.asset)?;
    if !files.is_empty() {
        // What lies here is not at a node that is elsewhere.
        node.folder()?;
    }
    let terms = terms_of(&api, arguments).await?;
    let known = node.known()?;
    let access = access(&arguments.only_for, arguments.only_for_members_of.as_deref());
    let mut warnings = Warnings::default();
    warnings.add_description(&made.description, &Description::default());
    if !arguments.series {
        warnings.add_terms(&terms, &made.description.form.columns, &known)?;
        warnings.add_terms(&access, &[], &known)?;
    }
    warnings.settle(arguments.strictness, output, "published")?;
    let strange = if node.is_here() { terms::not_understood(&known, &terms) } else { Vec::new() };
    let offered = Offered { terms, access, warnings, strange };
    let Some(config) = node.config()? else {
        return offer(&api, arguments, (made, offered), &[], output).await;
    };
    let added = sources::allow(&config, &files, ALLOWED)?;
    let published = offer(&api, arguments, (made, offered), &added, output).await;
    if published.is_err() {
        // What is not published needs no line; the error is the other one.
        let _: anyhow::Result<()> = sources::disallow(&config, &added, ALLOWED);
    }
    published
}

/// Under which terms it is offered, who may see the offer, and what is hardly meant of all that.
struct Offered {
    terms: Value,
    access: Value,
    warnings: Warnings,
    /// What the node does not understand of the terms.
    strange: Vec<String>,
}

/// The terms that the options, a file or a template say, with the service levels.
async fn terms_of(api: &Api, arguments: &Publish) -> anyhow::Result<Value> {
    let mut terms = match &arguments.template {
        Some(name) => template(api, name).await?,
        None => {
            arguments.terms.given(arguments.policy.as_deref())?.unwrap_or_else(|| arguments.terms.policy())
        }
    };
    if let Some(file) = &arguments.service_levels {
        set(&mut terms, levels::PROPERTY, super::negotiations::read_json(file)?);
    }
    Ok(terms)
}

/// What the addresses of an asset name of this machine.
fn files_of(asset: &Value) -> anyhow::Result<Vec<Named>> {
    let further = asset.get("urn:concordat:distributions").and_then(Value::as_object);
    let addresses = asset.get("dataAddress").into_iter().chain(further.into_iter().flat_map(Map::values));
    let mut all = Vec::new();
    for address in addresses.filter_map(Value::as_object) {
        all.extend(sources::named(address)?);
    }
    Ok(all)
}

async fn offer(
    api: &Api,
    arguments: &Publish,
    (Made { asset, guessed, remarks, .. }, Offered { terms, access, warnings, strange }): (Made, Offered),
    added: &[Named],
    output: &Output,
) -> anyhow::Result<Exit> {
    let id = text(&asset, "@id");
    if arguments.series {
        api.post("/v4/assets", asset).await.with_context(|| format!("publishing `{id}`"))?;
        output.result(&json!({"id": id, "remarks": remarks, "warnings": warnings.json()}), || {
            let mut lines = vec![format!("published the series {id}; datasets name it with --in-series")];
            lines.extend(warnings.told());
            lines.extend(remarks.iter().map(|one| plain(one)));
            lines.join("\n  ")
        });
        return Ok(Exit::Success);
    }
    let mut words = Policy::parse(&terms).map(|policy| explain::policy(&policy)).context("the terms")?;
    words.extend(
        ServiceLevels::of(&terms).context("the service levels")?.iter().flat_map(ServiceLevels::words),
    );
    let (access_id, terms_id) = (format!("{id}#access"), terms::of(&id));
    let automation = arguments.automation.term();
    let steps = [
        ("assets", &id, asset),
        ("policydefinitions", &access_id, json!({"@id": access_id, "policy": access})),
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
    let found: Map<String, Value> =
        guessed.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let added: Vec<_> = added.iter().map(sources::line).collect();
    output.result(
        &json!({"id": id, "terms": words, "guessed": found, "allowed": added, "notUnderstood": strange, "remarks": remarks,
            "warnings": warnings.json()}),
        || {
            let mut lines: Vec<_> = words.iter().map(|one| plain(one)).collect();
            lines.extend(added.iter().map(|line| format!("added to [sources] of {FILE}: {line}")));
            lines.extend(warnings.told());
            lines.extend(
                guessed.iter().map(|(name, value)| format!("{name}: {} (from the file)", plain(value))),
            );
            lines.extend(remarks.iter().map(|one| plain(one)));
            format!("published {id}\n  {}", lines.join("\n  "))
        },
    );
    Ok(Exit::Success)
}

/// The terms of a template of a rulebook in force.
async fn template(api: &Api, name: &str) -> anyhow::Result<Value> {
    let all = api.get("/v4/rulebooks").await?;
    let in_force = all.as_array().into_iter().flatten().filter(|one| text(one, "state") == "in force");
    let mut known = Vec::new();
    for book in in_force {
        let templates = book.pointer("/record/book/templates").and_then(Value::as_object);
        for (one, template) in templates.into_iter().flatten() {
            if one == name {
                return Ok(template.get("policy").cloned().unwrap_or_default());
            }
            known.push(one.clone());
        }
    }
    bail!(Failed::new(
        Exit::Usage,
        format!("no rulebook in force has a template `{name}`; there are: {}", known.join(", "))
    ))
}

/// Everybody, or the named participants, or the members of a data space.
pub(super) fn access(only_for: &[String], only_for_members_of: Option<&str>) -> Value {
    let constraint = |left: &str, operator: &str, right: Value| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
    let named = (!only_for.is_empty()).then(|| constraint("assignee", "isAnyOf", json!(only_for)));
    let members = only_for_members_of.map(|space| constraint(MEMBERSHIP, "eq", json!(space)));
    let constraints: Vec<_> = named.into_iter().chain(members).collect();
    let mut permission = json!({"action": "use"});
    if !constraints.is_empty() {
        set(&mut permission, "constraint", Value::Array(constraints));
    }
    json!({"@type": "Set", "permission": [permission]})
}

pub(super) async fn unpublish(
    node: &TargetNode,
    arguments: &Unpublish,
    output: &Output,
) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    let id = &arguments.id;
    // The offer goes first; what is left of an interrupted run is taken up by the next.
    let paths = [
        format!("/v4/contractdefinitions/{}", segment(id)),
        format!("/v4/policydefinitions/{}", segment(&terms::of(id))),
        format!("/v4/policydefinitions/{}", segment(&format!("{id}#access"))),
        format!("/v4/assets/{}?force=true", segment(id)),
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

pub(super) async fn offers(node: &TargetNode, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
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
            lines.map(plain).collect::<Vec<_>>().join("\n")
        };
        let row = |one: &Value| {
            vec![text(one, "id"), join(&one["terms"]), text(one, "automation"), text(one, "openReads")]
        };
        table(&["offer", "terms", "automation", "open reads"], shown.iter().map(row).collect())
    });
    Ok(Exit::Success)
}
