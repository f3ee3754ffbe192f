//! The common terms as options, for `publish`, `edit`, `policy new`, and what is negotiated.

mod data;

use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use policy_engine::{Doubt, Hierarchy, Policy, spelled};
use serde_json::{Map, Value, json};

pub(super) use self::data::OnTheWay;
use super::api::set;
use super::output::text;

/// The left operand for the data space that a participant is a member of.
pub(super) const MEMBERSHIP: &str = "urn:concordat:membership";

/// Terms of use; none of them is an open licence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(super) struct Terms {
    /// Terms: for what it may be used, an IRI.
    #[arg(long, value_name = "IRI")]
    pub purpose: Option<String>,
    /// Terms: until when, such as 2030-12-31 (that whole day) or 2030-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub valid_until: Option<String>,
    /// Terms: where it may be used, a place code.
    #[arg(long, value_name = "PLACE")]
    pub used_in: Option<String>,
    /// Terms: how often it may be read.
    #[arg(long, value_name = "COUNT")]
    pub at_most: Option<u64>,
    /// Terms: who may use it, a DID; may be repeated.
    #[arg(long = "member", value_name = "DID")]
    pub members: Vec<String>,
    /// Terms: only members of this data space may use it, an IRI.
    #[arg(long, value_name = "SPACE")]
    pub members_of: Option<String>,
    /// Terms: only participants of whom a credential states this role may use it; may be repeated.
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
    /// Terms: it must not be passed on.
    #[arg(long)]
    pub no_distribution: bool,
    /// Terms: whoever uses it names the source.
    #[arg(long)]
    pub attribution: bool,
    /// Terms: it must be deleted by then; nothing is read after that.
    #[arg(long, value_name = "TIME")]
    pub delete_by: Option<String>,
    /// Terms: it must be deleted so long after the agreement, such as P30D.
    #[arg(long, value_name = "PERIOD", conflicts_with = "delete_by")]
    pub delete_after: Option<String>,
    /// Terms: so much must be paid before the first use, for example `5 EUR`; the provider states the receipt with
    /// `duties fulfil`.
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    pub pay: Option<Amount>,
}

/// Terms of use, and what is done to the data. Two groups of options, so that others can exclude each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(super) struct TermsOfUse {
    #[command(flatten)]
    pub terms: Terms,
    #[command(flatten)]
    pub on_the_way: OnTheWay,
}

/// A rule's own refinement of its action, where the Dataspace Protocol wants the action itself to be a name.
const REFINEMENT: &str = "http://www.w3.org/ns/odrl/2/refinement";

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Amount {
    number: String,
    /// ISO 4217.
    currency: String,
}

fn amount(text: &str) -> Result<Amount, String> {
    let wrong = || format!("`{text}` is not a number and a currency such as `5 EUR`");
    let (number, currency) = text.trim().split_once(' ').ok_or_else(wrong)?;
    let positive = number.parse::<f64>().is_ok_and(|number| number.is_finite() && number > 0.0);
    let code = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
    if positive && code {
        Ok(Amount { number: number.to_owned(), currency: currency.to_owned() })
    } else {
        Err(wrong())
    }
}

/// The id of the policy with the terms of the dataset `id`, as `publish` names it.
pub(super) fn of(id: &str) -> String {
    format!("{id}#terms")
}

/// What this node does not understand of terms, each in a sentence: it would deny the first read, so it is said now.
pub(super) fn not_understood(known: &Hierarchy, terms: &Value) -> Vec<String> {
    let doubts = Policy::parse_odrl(terms).map(|policy| policy_engine::not_understood(&policy, known));
    let say = |doubt: Doubt| format!("{}: {}", doubt.path, doubt.text);
    doubts.unwrap_or_default().into_iter().map(say).collect()
}

/// Who makes an offer out of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Who asks, and says for which one purpose and in which one place.
    Consumer,
    /// Who grants, with everything that lies within.
    Provider,
}

/// The name of a term of ODRL, however its vocabulary is written before it.
fn local(name: &str) -> &str {
    name.strip_prefix("odrl:").or_else(|| name.strip_prefix("http://www.w3.org/ns/odrl/2/")).unwrap_or(name)
}

/// The list under the key that `name` is the term of, in whatever way the document writes it.
fn list<'a>(map: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Vec<Value>> {
    let key = map.keys().find(|key| local(key) == local(name)).cloned().unwrap_or_else(|| name.to_owned());
    let found = map.entry(key).or_insert_with(|| json!([]));
    if !found.is_array() {
        *found = json!([found.take()]);
    }
    found.as_array_mut()
}

/// Puts `new` into `list`, in place of whatever has the same term under `key`.
fn replace(list: &mut Vec<Value>, new: Vec<Value>, key: &str) {
    // Of what is ordered, a bound on the one side leaves the bound on the other.
    let of = |one: &Value| {
        let side = match local(&text(one, "operator")) {
            "gt" | "gteq" => "from",
            _ => "",
        };
        (local(&text(one, key)).to_owned(), side)
    };
    let said: Vec<_> = new.iter().map(of).collect();
    list.retain(|one| !said.contains(&of(one)));
    list.extend(new);
}

impl TermsOfUse {
    /// Changes what an offer says of what is given here, in each of its permissions; all else stays as it is.
    pub(super) fn narrow(&self, offer: &mut Value, side: Side) {
        if *self == Self::default() {
            return;
        }
        let mut said = spelled(&self.policy());
        let Some(offer) = offer.as_object_mut() else { return };
        let parts =
            |map: &mut Map<String, Value>, names: &[&'static str]| -> Vec<(&'static str, Vec<Value>)> {
                let found =
                    names.iter().map(|name| (*name, list(map, name).map(std::mem::take).unwrap_or_default()));
                found.filter(|(_, parts)| !parts.is_empty()).collect()
            };
        let own = said.pointer_mut("/permission/0").and_then(Value::as_object_mut);
        let mut own = own.map(|own| parts(own, &["constraint", REFINEMENT, "duty"])).unwrap_or_default();
        if side == Side::Consumer {
            for one in own.iter_mut().filter(|(name, _)| *name == "constraint").flat_map(|(_, parts)| parts) {
                if ["purpose", "spatial"].contains(&local(&text(one, "leftOperand"))) {
                    set(one, "operator", json!("eq"));
                }
            }
        }
        for permission in list(offer, "permission").into_iter().flatten() {
            let Some(permission) = permission.as_object_mut() else { continue };
            for (name, parts) in &own {
                if let Some(list) = list(permission, name) {
                    replace(list, parts.clone(), if *name == "duty" { "action" } else { "leftOperand" });
                }
            }
        }
        let rules = said.as_object_mut().map(|said| parts(said, &["prohibition", "obligation"]));
        for (name, rules) in rules.unwrap_or_default() {
            if let Some(list) = list(offer, name) {
                replace(list, rules, "action");
            }
        }
    }

    /// The policy in the file, or the one that the options say; `None` where neither is given.
    pub(super) fn given(&self, file: Option<&Path>) -> anyhow::Result<Option<Value>> {
        let Some(file) = file else {
            return Ok((*self != Self::default()).then(|| self.policy()));
        };
        let text = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        serde_json::from_slice(&text).map(Some).with_context(|| format!("reading {}", file.display()))
    }

    /// The policy that says so, a Set.
    pub(super) fn policy(&self) -> Value {
        let constraint = |left: &str, operator: &str, right: Value| json!({"leftOperand": left, "operator": operator, "rightOperand": right});
        let roles = (!self.terms.roles.is_empty()).then(|| json!(self.terms.roles));
        let members = (!self.terms.members.is_empty()).then(|| json!(self.terms.members));
        let constraints: Vec<_> = [
            ("purpose", "isA", self.terms.purpose.as_ref().map(|one| json!(one))),
            ("dateTime", "lteq", self.terms.valid_until.as_ref().map(|one| json!(one))),
            ("spatial", "isPartOf", self.terms.used_in.as_ref().map(|one| json!(one))),
            ("count", "lteq", self.terms.at_most.map(|count| json!(count.to_string()))),
            ("assignee", "isAnyOf", members),
            (MEMBERSHIP, "eq", self.terms.members_of.as_ref().map(|one| json!(one))),
            ("urn:concordat:role", "isAnyOf", roles),
        ]
        .into_iter()
        .filter_map(|(left, operator, right)| Some(constraint(left, operator, right?)))
        .collect();
        let mut permission = json!({"action": "use"});
        if !constraints.is_empty() {
            set(&mut permission, "constraint", Value::Array(constraints));
        }
        let refinements = self.on_the_way.refinements();
        if !refinements.is_empty() {
            set(&mut permission, REFINEMENT, Value::Array(refinements));
        }
        if let Some(amount) = &self.terms.pay {
            let mut paid = constraint("payAmount", "eq", json!(amount.number));
            set(&mut paid, "unit", json!(format!("urn:iso:std:iso:4217:{}", amount.currency)));
            set(&mut permission, "duty", json!([{"action": "compensate", "constraint": [paid]}]));
        }
        let mut terms = json!({"@type": "Set", "permission": [permission]});
        if self.terms.no_distribution {
            set(&mut terms, "prohibition", json!([{"action": "distribute"}]));
        }
        let mut obligations = Vec::new();
        if self.terms.attribution {
            obligations.push(json!({"action": "attribute"}));
        }
        let deletion = [
            self.terms.delete_by.as_ref().map(|time| constraint("dateTime", "lteq", json!(time))),
            self.terms.delete_after.as_ref().map(|period| constraint("elapsedTime", "lteq", json!(period))),
        ];
        for by in deletion.into_iter().flatten() {
            obligations.push(json!({"action": "delete", "constraint": [by]}));
        }
        if !obligations.is_empty() {
            set(&mut terms, "obligation", Value::Array(obligations));
        }
        terms
    }
}

#[cfg(test)]
mod tests {
    use policy_engine::explain;

    use super::*;

    #[test]
    fn another_end_leaves_the_beginning() {
        let time = |operator: &str, at: &str| json!({"leftOperand": "dateTime", "operator": operator, "rightOperand": at});
        let mut offer = json!({"permission": [{"action": "use",
            "constraint": [time("gteq", "2027-01-01T00:00:00Z"), time("lteq", "2027-12-31T00:00:00Z")]}]});
        let terms = Terms { valid_until: Some("2028-12-31T00:00:00Z".to_owned()), ..Terms::default() };
        TermsOfUse { terms, ..TermsOfUse::default() }.narrow(&mut offer, Side::Provider);
        let constraints = offer["permission"][0]["constraint"].to_string();
        assert!(constraints.contains("2027-01-01") && constraints.contains("2028-12-31"), "{constraints}");
        assert!(!constraints.contains("2027-12-31"), "{constraints}");
    }

    #[test]
    fn what_is_given_takes_the_place_of_what_an_offer_says_and_nothing_else_changes() {
        let offer = json!({"@id": "urn:o", "@type": "Offer", "permission": [{"action": "use", "constraint": [
            {"leftOperand": "odrl:purpose", "operator": "isA", "rightOperand": "https://w3id.org/dpv#PublicBenefit"},
            {"leftOperand": "odrl:dateTime", "operator": "lteq", "rightOperand": "2030-01-01T00:00:00Z"},
            {"leftOperand": "odrl:count", "operator": "lteq", "rightOperand": "9"}]}],
            "prohibition": [{"action": "odrl:distribute"}]});
        let options = TermsOfUse {
            terms: Terms {
                purpose: Some("https://w3id.org/dpv#PublicPolicyMaking".to_owned()),
                valid_until: Some("2028-12-31Z".to_owned()),
                no_distribution: true,
                attribution: true,
                pay: Some(amount("5 EUR").unwrap()),
                ..Terms::default()
            },
            on_the_way: OnTheWay { keep: vec!["at".to_owned()], ..OnTheWay::default() },
        };
        let words = |side| {
            let mut narrowed = offer.clone();
            options.narrow(&mut narrowed, side);
            assert_eq!(narrowed["@id"], "urn:o");
            explain::policy(&Policy::parse(&narrowed).unwrap()).join("\n")
        };
        let wanted = |purpose: &str| {
            format!(
                "allowed: use in such a way that only `at` are handed on, provided that the number of uses must be at most 9 \
                 and the purpose must be {purpose}PublicPolicyMaking and the time must not be after 2028-12-31 (UTC), after \
                 having done: [compensate, provided that the amount paid must be 5 in EUR]\nforbidden: distribute\n\
                 required: attribute\nwhere the same action is both allowed and forbidden, nothing in these terms is allowed"
            )
        };
        assert_eq!(words(Side::Provider), wanted("a kind of "));
        assert_eq!(words(Side::Consumer), wanted(""));
        for untouched in
            [offer, json!({"@id": "urn:o", "@type": "Offer", "prohibition": [{"action": "sell"}]})]
        {
            let mut same = untouched.clone();
            TermsOfUse::default().narrow(&mut same, Side::Consumer);
            assert_eq!(same, untouched);
        }
    }
}
