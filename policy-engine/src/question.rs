//! A policy, a request and a state of the world read from JSON: a question for tests and the command line.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::advice::{Advice, advise};
use crate::compact::compact;
use crate::duty::DutyState;
use crate::error::PolicyError;
use crate::evaluate::{Decision, evaluate};
use crate::hierarchy::Hierarchy;
use crate::literal;
use crate::model::{Policy, Rule, RuleKind, Value};
use crate::operand::OperandKind;
use crate::report::{Activation, Premise, PremiseKind, RuleReport, Satisfaction, report};
use crate::world::{Facts, Performed, Record, Request, Usage, World};

/// A question as read; what it holds is owned, so it can be asked again.
#[derive(Debug, Clone)]
pub struct Question {
    policy: Policy,
    source: Json,
    action: String,
    party: String,
    target: Option<String>,
    now: Timestamp,
    since: Option<Timestamp>,
    usage: Usage,
    stated: Facts,
    asset: Facts,
    party_facts: Facts,
    credentials: Vec<Json>,
    record: Record,
    known: Hierarchy,
}

impl Question {
    /// Reads a question.
    ///
    /// - `policy`: see [`Policy::parse_inheriting`], which takes `parents`.
    /// - `request`: an ODRL request; its first permission says `assignee`, `action` and, if need be, `target`.
    /// - `world`: all members may be missing. `currentTime` (else `now`); `since`, when the agreement was made; `partOf`
    ///   (pairs: part, whole); `duties` (objects: `rule`, the `@id` or JSON pointer of a duty or prohibition; `deontic`:
    ///   `Fulfilled`, `Violated`, or anything else for neither; `at`, when it was done); `usage` (`count`, this use
    ///   included; `first` and `last`, instants; `metered`, a duration); `stated`, `asset` and `party` (objects: left
    ///   operand to value or list of values); `credentials` (verified credentials); and for short `purposes` and
    ///   `places` (lists of terms) and `count`.
    /// - `known`: the terms known besides.
    ///
    /// # Errors
    /// Names the document, the place in it and the reason.
    pub fn parse(
        policy: &Json,
        parents: &[Json],
        request: &Json,
        world: &Json,
        now: Timestamp,
        mut known: Hierarchy,
    ) -> Result<Self, PolicyError> {
        let source = compact(policy)?.policy;
        let policy = Policy::parse_inheriting(policy, parents)?;
        let asked = |key: &str| request.pointer(&format!("/permission/0/{key}")).and_then(Json::as_str);
        let need = |key: &str| {
            asked(key).map(str::to_owned).ok_or_else(|| {
                PolicyError::new(format!("request: /permission/0/{key}"), "is missing, or is not a string")
            })
        };
        for (index, pair) in list(world, "partOf")?.iter().enumerate() {
            match pair.as_array().map(Vec::as_slice) {
                Some([Json::String(part), Json::String(whole)]) => known.add(part, whole),
                _ => {
                    return Err(PolicyError::new(
                        format!("world: /partOf/{index}"),
                        "must be a pair of strings",
                    ));
                }
            }
        }
        let mut stated = facts(world, "stated")?;
        for (left, key) in [("purpose", "purposes"), ("spatial", "places")] {
            for one in list(world, key)? {
                stated.state(left, one).map_err(|error| of_world(&format!("/{key}"), &error))?;
            }
        }
        let action = need("action")?;
        Ok(Self {
            action: crate::odrl::term(&action).to_owned(),
            party: need("assignee")?,
            target: asked("target").map(str::to_owned),
            now: instant(world, "/currentTime")?.unwrap_or(now),
            since: instant(world, "/since")?,
            usage: usage(world)?,
            stated,
            asset: facts(world, "asset")?,
            party_facts: facts(world, "party")?,
            credentials: list(world, "credentials")?.to_vec(),
            record: record(&policy, &source, world)?,
            policy,
            source,
            known,
        })
    }

    /// Permit or deny, as the gate would decide.
    pub fn decide(&self) -> Decision {
        evaluate(&self.policy, &self.request(), &self.world())
    }

    /// For a denial, the smallest change that would permit; nothing for a permit.
    #[must_use]
    pub fn advice(&self) -> Option<Advice> {
        advise(&self.policy, &self.request(), &self.world())
    }

    /// The compliance report.
    #[must_use]
    pub fn report(&self) -> Vec<RuleReport> {
        report(&self.policy, &self.request(), &self.world())
    }

    /// The compliance report in the shape of the evaluation cases: rules and constraints by `@id`, else by JSON
    /// pointer; `reason` where a premise does not hold.
    #[must_use]
    pub fn report_json(&self) -> Json {
        self.report().iter().map(|one| self.rule_json(one)).collect()
    }

    fn rule_json(&self, report: &RuleReport) -> Json {
        let kind = match report.kind {
            RuleKind::Duty => "DutyReport",
            RuleKind::Permission => "PermissionReport",
            RuleKind::Prohibition => "ProhibitionReport",
        };
        let activation = match report.activation {
            Activation::Active => "Active",
            Activation::Inactive => "Inactive",
        };
        let mut shown = json!({
            "rule": self.name(&report.rule), "report": kind, "attempt": "Attempted", "activation": activation,
            "premises": report.premises.iter().map(|one| self.premise_json(one)).collect::<Vec<_>>(),
        });
        if let (Some(state), Some(shown)) = (report.state, shown.as_object_mut()) {
            shown.insert("deontic".to_owned(), json!(deontic(state)));
        }
        if let (false, Some(shown)) = (report.duties.is_empty(), shown.as_object_mut()) {
            let duties = report.duties.iter();
            let duties =
                duties.map(|(path, state)| json!({"rule": self.name(path), "deontic": deontic(*state)}));
            shown.insert("duties".to_owned(), duties.collect());
        }
        shown
    }

    fn premise_json(&self, premise: &Premise) -> Json {
        let kind = match premise.kind {
            PremiseKind::Action => "ActionReport",
            PremiseKind::Constraint => "ConstraintReport",
            PremiseKind::Party => "PartyReport",
            PremiseKind::Target => "TargetReport",
        };
        let satisfaction = match premise.satisfaction {
            Satisfaction::Satisfied => "Satisfied",
            Satisfaction::Unknown => "Unknown",
            Satisfaction::Unsatisfied => "Unsatisfied",
        };
        let mut shown = json!({"report": kind, "satisfaction": satisfaction});
        if let Some(shown) = shown.as_object_mut() {
            if premise.kind == PremiseKind::Constraint {
                shown.insert("constraint".to_owned(), json!(self.name(&premise.path)));
            }
            if let Some(reason) = &premise.reason {
                shown.insert("reason".to_owned(), json!(reason));
            }
        }
        shown
    }

    /// The `@id` of what stands at `path`, else the path.
    fn name<'a>(&'a self, path: &'a str) -> &'a str {
        identifier(&self.source, path).unwrap_or(path)
    }

    fn request(&self) -> Request<'_> {
        Request { action: &self.action, party: &self.party, target: self.target.as_deref() }
    }

    fn world(&self) -> World<'_> {
        World {
            now: self.now,
            usage: self.usage,
            since: self.since,
            stated: &self.stated,
            together: None,
            asset: &self.asset,
            party: &self.party_facts,
            credentials: &self.credentials,
            record: &self.record,
            hierarchy: &self.known,
        }
    }
}

/// What is reported of duties and prohibitions.
fn record(policy: &Policy, source: &Json, world: &Json) -> Result<Record, PolicyError> {
    let mut record = Record::default();
    for (index, reported) in list(world, "duties")?.iter().enumerate() {
        let text = |key: &str| {
            reported.get(key).and_then(Json::as_str).ok_or_else(|| {
                PolicyError::new(format!("world: /duties/{index}/{key}"), "is missing, or is not a string")
            })
        };
        let (rule, deontic) = (text("rule")?, text("deontic")?);
        let at = instant(world, &format!("/duties/{index}/at"))?;
        let meant = |one: &&Rule| one.path == rule || identifier(source, &one.path) == Some(rule);
        let rules = policy.duties().into_iter().chain(&policy.prohibitions).filter(meant);
        let paths = rules.map(|rule| rule.path.clone());
        match deontic {
            "Fulfilled" => record.performed.extend(paths.map(|rule| Performed { rule, at })),
            "Violated" => record.violated.extend(paths),
            _ => {}
        }
    }
    Ok(record)
}

fn of_world(path: &str, error: &PolicyError) -> PolicyError {
    PolicyError::new(format!("world: {path}"), error.reason())
}

/// Facts by left operand.
fn facts(world: &Json, key: &str) -> Result<Facts, PolicyError> {
    let mut facts = Facts::default();
    match world.get(key) {
        None => {}
        Some(Json::Object(all)) => {
            for (left, values) in all {
                let several = values.as_array().map_or_else(|| std::slice::from_ref(values), Vec::as_slice);
                for value in several {
                    facts.state(left, value).map_err(|error| of_world(&format!("/{key}/{left}"), &error))?;
                }
            }
        }
        Some(_) => return Err(PolicyError::new(format!("world: /{key}"), "must be an object")),
    }
    Ok(facts)
}

fn instant(world: &Json, pointer: &str) -> Result<Option<Timestamp>, PolicyError> {
    let Some(json) = world.pointer(pointer) else { return Ok(None) };
    json.as_str().and_then(literal::instant).map(Some).ok_or_else(|| {
        PolicyError::new(format!("world: {pointer}"), "is not an xsd:dateTime such as 2027-01-01T00:00:00Z")
    })
}

fn usage(world: &Json) -> Result<Usage, PolicyError> {
    let count = match world.pointer("/usage/count").or_else(|| world.get("count")) {
        None => None,
        Some(count) => {
            Some(count.as_u64().ok_or_else(|| PolicyError::new("world: /count", "is not a whole number"))?)
        }
    };
    let metered = match world.pointer("/usage/metered") {
        None => None,
        Some(json) => match literal::read(json, Some(OperandKind::Duration), false, "/usage/metered")
            .map(|read| read.value)
        {
            Ok(Value::Duration { months: 0, nanoseconds }) => {
                Some(jiff::SignedDuration::from_nanos(i64::try_from(nanoseconds).unwrap_or(i64::MAX)))
            }
            Ok(_) => {
                return Err(PolicyError::new(
                    "world: /usage/metered",
                    "has months, which have no fixed length",
                ));
            }
            Err(error) => return Err(of_world("/usage/metered", &error)),
        },
    };
    Ok(Usage {
        count,
        first: instant(world, "/usage/first")?,
        last: instant(world, "/usage/last")?,
        metered,
        at_once: 0,
    })
}

fn identifier<'a>(source: &'a Json, path: &str) -> Option<&'a str> {
    source.pointer(path)?.get("@id")?.as_str()
}

const fn deontic(state: DutyState) -> &'static str {
    match state {
        DutyState::Fulfilled => "Fulfilled",
        DutyState::Pending => "Pending",
        DutyState::Unset => "Unset",
        DutyState::Violated => "Violated",
    }
}

fn list<'a>(world: &'a Json, key: &str) -> Result<&'a [Json], PolicyError> {
    match world.get(key) {
        None => Ok(&[]),
        Some(Json::Array(list)) => Ok(list),
        Some(_) => Err(PolicyError::new(format!("world: /{key}"), "must be an array")),
    }
}
