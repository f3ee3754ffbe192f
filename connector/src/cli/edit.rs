//! `concordat edit`: change what is said of a dataset, who finds it, or its terms.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use catalog::Description;
use clap::{Args, ValueEnum};
use policy_engine::{Policy, explain};
use serde_json::{Map, Value, json};

use super::api::{Api, segment, set};
use super::describe::Describe;
use super::output::{Output, plain};
use super::target::TargetNode;
use super::terms::{self, TermsOfUse};
use super::warnings::{Strictness, Warnings};
use super::{Exit, Failed};

#[derive(Debug, Clone, Args)]
pub(super) struct Edit {
    /// The dataset's id.
    id: String,
    #[command(flatten)]
    describe: Describe,
    /// Who finds it beyond those who may see its offer.
    #[arg(long, value_enum)]
    visibility: Option<Visibility>,
    #[command(flatten)]
    terms: TermsOfUse,
    /// New terms as an ODRL file (a Set). New terms make a new offer; agreements keep the terms that were signed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["Terms", "OnTheWay"])]
    policy: Option<PathBuf>,
    #[command(flatten)]
    strictness: Strictness,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Visibility {
    /// Nobody.
    Hidden,
    /// Everybody, in the public catalogue.
    Listed,
    /// Everybody, who may also read its data without an agreement; it needs a licence.
    Open,
}

impl Visibility {
    const fn term(self) -> Option<&'static str> {
        match self {
            Self::Hidden => None,
            Self::Listed => Some(catalog::LISTED),
            Self::Open => Some(catalog::OPEN),
        }
    }
}

pub(super) async fn run(node: &TargetNode, arguments: &Edit, output: &Output) -> anyhow::Result<Exit> {
    let api = Api::open(node)?;
    let id = &arguments.id;
    let given = arguments.describe.read(None)?;
    if let Some(other) = given.id.filter(|other| other != id) {
        bail!(Failed::new(Exit::Usage, format!("the file is about `{other}`, not about `{id}`")));
    }
    let path = format!("/v4/assets/{}", segment(id));
    let mut asset = api.get(&path).await.with_context(|| format!("editing `{id}`"))?;
    let properties = asset.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let changed = edited(&properties, arguments, &given.description);
    let is_open = changed.get(catalog::VISIBILITY).is_some_and(|value| value == catalog::OPEN);
    if is_open && Description::from_properties(&changed).form.license.is_none() {
        bail!(Failed::new(Exit::Usage, "open data needs a licence: --license"));
    }
    let (before, after) = (Description::from_properties(&properties), Description::from_properties(&changed));
    let terms = arguments.terms.given(arguments.policy.as_deref())?;
    let mut warnings = Warnings::default();
    warnings.add_description(&after, &before);
    if let Some(terms) = &terms {
        warnings.add_terms(terms, &after.form.columns, &node.known()?)?;
    }
    warnings.settle(arguments.strictness, output, "changed")?;
    let mut done = Vec::new();
    if changed != properties {
        set(&mut asset, "properties", Value::Object(changed.clone()));
        api.put("/v4/assets", asset).await.with_context(|| format!("editing `{id}`"))?;
        let names =
            changed.iter().filter(|(name, value)| properties.get(*name) != Some(value)).map(|(name, _)| name);
        done.extend(names.map(|name| format!("{name} was set")));
        let gone = properties.keys().filter(|name| !changed.contains_key(*name));
        done.extend(gone.map(|name| format!("{name} was removed")));
    }
    if let Some(policy) = terms {
        let words = Policy::parse(&policy).map(|policy| explain::policy(&policy)).context("the terms")?;
        let terms_id = terms::of(id);
        let body = json!({"@id": terms_id, "policy": policy});
        api.put("/v4/policydefinitions", body)
            .await
            .with_context(|| format!("changing the terms of `{id}`"))?;
        done.extend(words.into_iter().map(|word| format!("terms: {word}")));
    }
    let shown = json!({"id": id, "changed": done, "remarks": given.remarks, "warnings": warnings.json()});
    output.result(&shown, || {
        let mut lines = match done.as_slice() {
            [] => vec![format!("{id} is as it was")],
            done => {
                vec![format!(
                    "changed {id}; agreements made before stay as they are\n  {}",
                    done.join("\n  ")
                )]
            }
        };
        lines.extend(warnings.told().into_iter().map(|one| format!("  {one}")));
        lines.extend(given.remarks.iter().map(|one| format!("  {}", plain(one))));
        lines.join("\n")
    });
    Ok(Exit::Success)
}

/// What the file says takes the place of what was said; then the options; what this program does not know of stays.
fn edited(properties: &Map<String, Value>, arguments: &Edit, file: &Description) -> Map<String, Value> {
    let before = Description::from_properties(properties);
    let known = before.to_properties();
    let mut description = if arguments.describe.from_file.is_some() { file.clone() } else { before };
    arguments.describe.apply(&mut description);
    let mut after = properties.clone();
    after.retain(|name, _| !known.contains_key(name));
    after.extend(description.to_properties());
    if let Some(visibility) = arguments.visibility {
        after.remove(catalog::VISIBILITY);
        after.extend(visibility.term().map(|term| (catalog::VISIBILITY.to_owned(), json!(term))));
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays() {
        let mut properties =
            Description { title: "old".into(), place: Some("BE".into()), ..Description::default() }
                .to_properties();
        properties.insert("https://x.example/own".to_owned(), json!(5));
        let edit = |describe: Describe, visibility| Edit {
            id: "urn:a".to_owned(),
            describe,
            visibility,
            terms: TermsOfUse::default(),
            policy: None,
            strictness: Strictness::default(),
        };
        let new_title = Describe { title: Some("new".to_owned()), ..Describe::default() };
        let after =
            edited(&properties, &edit(new_title.clone(), Some(Visibility::Listed)), &Description::default());
        assert_eq!(after["http://purl.org/dc/terms/title"], "new");
        assert_eq!((after.len(), &after[catalog::VISIBILITY]), (4, &json!("listed")));
        let hidden =
            edited(&after, &edit(Describe::default(), Some(Visibility::Hidden)), &Description::default());
        assert_eq!(hidden.len(), 3);
        let from_file = Describe { from_file: Some("x.toml".into()), ..new_title };
        let file = Description { title: "of the file".into(), ..Description::default() };
        let after = edited(&properties, &edit(from_file, None), &file);
        assert_eq!(
            (after.len(), &after["http://purl.org/dc/terms/title"]),
            (2, &json!("new")),
            "the place is gone"
        );
    }
}
