//! A policy, a request and a state of the world read from JSON: a question for tests and the command line.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::error::PolicyError;
use crate::evaluate::{Decision, DutyState, Request, World, evaluate};
use crate::hierarchy::Hierarchy;
use crate::model::{Policy, Rule, RuleKind};
use crate::operand::parse_instant;
use crate::report::{Activation, Premise, PremiseKind, RuleReport, Satisfaction, report};

/// A question as read; what it holds is owned, so it can be asked again.
#[derive(Debug, Clone)]
pub struct Question {
    policy: Policy,
    source: Json,
    action: String,
    party: String,
    target: Option<String>,
    now: Timestamp,
    count: Option<u64>,
    purposes: Vec<String>,
    places: Vec<String>,
    fulfilled: Vec<String>,
    violated: Vec<String>,
    known: Hierarchy,
}

impl Question {
    /// Reads a question.
    ///
    /// - `policy`: see [`Policy::parse_odrl`].
    /// - `request`: an ODRL request; its first permission says `assignee`, `action` and, if need be, `target`.
    /// - `world`: all members may be missing. `currentTime` (else `now`), `partOf` (pairs: part, whole), `duties`
    ///   (objects: `rule`, the duty's `@id` or JSON pointer; `deontic`: `Fulfilled`, `Violated`, or anything else for
    ///   neither), `purposes` and `places` (lists of terms), `count` (uses, this one included).
    /// - `known`: the terms known besides.
    ///
    /// # Errors
    /// Names the document, the place in it and the reason.
    pub fn parse(
        policy: &Json,
        request: &Json,
        world: &Json,
        now: Timestamp,
        mut known: Hierarchy,
    ) -> Result<Self, PolicyError> {
        let source = policy.clone();
        let policy = Policy::parse_odrl(policy)?;
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
        let (fulfilled, violated) = duties(&policy, &source, world)?;
        let action = need("action")?;
        Ok(Self {
            action: crate::odrl::term(&action).to_owned(),
            party: need("assignee")?,
            target: asked("target").map(str::to_owned),
            now: match world.get("currentTime") {
                None => now,
                Some(time) => time.as_str().and_then(parse_instant).ok_or_else(|| {
                    PolicyError::new(
                        "world: /currentTime",
                        "is not an xsd:dateTime such as 2027-01-01T00:00:00Z",
                    )
                })?,
            },
            count: match world.get("count") {
                None => None,
                Some(count) => Some(
                    count
                        .as_u64()
                        .ok_or_else(|| PolicyError::new("world: /count", "is not a whole number"))?,
                ),
            },
            purposes: texts(world, "purposes")?,
            places: texts(world, "places")?,
            policy,
            source,
            fulfilled,
            violated,
            known,
        })
    }

    /// Permit or deny, as the gate would decide.
    pub fn decide(&self) -> Decision {
        evaluate(&self.policy, &self.request(), &self.world())
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
            count: self.count,
            purposes: self.purposes.clone(),
            places: self.places.clone(),
            fulfilled: self.fulfilled.clone(),
            violated: self.violated.clone(),
            hierarchy: &self.known,
        }
    }
}

/// Paths of the duties that are reported fulfilled, and of those reported violated.
fn duties(policy: &Policy, source: &Json, world: &Json) -> Result<(Vec<String>, Vec<String>), PolicyError> {
    let mut states = (Vec::new(), Vec::new());
    for (index, reported) in list(world, "duties")?.iter().enumerate() {
        let text = |key: &str| {
            reported.get(key).and_then(Json::as_str).ok_or_else(|| {
                PolicyError::new(format!("world: /duties/{index}/{key}"), "is missing, or is not a string")
            })
        };
        let (rule, deontic) = (text("rule")?, text("deontic")?);
        let states = match deontic {
            "Fulfilled" => &mut states.0,
            "Violated" => &mut states.1,
            _ => continue,
        };
        let meant = |duty: &&Rule| duty.path == rule || identifier(source, &duty.path) == Some(rule);
        let all = policy.obligations.iter().chain(policy.permissions.iter().flat_map(|one| &one.duties));
        states.extend(all.filter(meant).map(|duty| duty.path.clone()));
    }
    Ok(states)
}

fn identifier<'a>(source: &'a Json, path: &str) -> Option<&'a str> {
    source.pointer(path)?.get("@id")?.as_str()
}

const fn deontic(state: DutyState) -> &'static str {
    match state {
        DutyState::Fulfilled => "Fulfilled",
        DutyState::Pending => "Pending",
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

fn texts(world: &Json, key: &str) -> Result<Vec<String>, PolicyError> {
    let strings = list(world, key)?.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>();
    strings.ok_or_else(|| PolicyError::new(format!("world: /{key}"), "must be an array of strings"))
}
