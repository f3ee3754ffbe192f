//! ODRL in JSON, parsed into the model; errors carry the JSON pointer.
//!
//! What is read is the compact form of [`crate::compact`]. Every key must be one that is understood or one that only
//! describes: a condition behind a key that nobody knows would be lost, and the rule would permit without it. Bounds:
//! see the constants.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use crate::action::{is_odrl, named};
use crate::compact::{Compact, compact};
use crate::decimal::Decimal;
use crate::error::PolicyError;
use crate::literal::{self, Literal, MAX_TEXT};
use crate::model::{
    ANY_ACTION, About, Atomic, Conflict, Constraint, Kind, Logical, NOT_UNDERSTOOD, Operator, Policy, Rule,
    RuleKind, Scope, Value,
};
use crate::operand::{self, OperandKind};

/// Deepest nesting of logical constraints, of duties in duties, and of policies that inherit.
const MAX_DEPTH: usize = 8;
/// Most rules in one policy, duties included: from a peer, and in a file.
const MAX_RULES: (usize, usize) = (256, 1024);
/// Most constraints in one policy, logical ones and refinements included: from a peer, and in a file.
const MAX_CONSTRAINTS: (usize, usize) = (1024, 4096);
/// Most values in one right operand.
const MAX_VALUES: usize = 1024;

const ODRL: &str = "http://www.w3.org/ns/odrl/2/";
/// A rule's own refinement of its action, where the Dataspace Protocol's schema wants the action itself to be a string.
pub(crate) const REFINEMENT: &str = "http://www.w3.org/ns/odrl/2/refinement";

/// What stands at a policy beside its rules.
const OF_POLICY: [&str; 13] = [
    "@context",
    "@id",
    "@type",
    "action",
    "assignee",
    "assigner",
    "conflict",
    "inheritFrom",
    "obligation",
    "permission",
    "profile",
    "prohibition",
    "target",
];
const OF_RULE: [&str; 11] = [
    "@id",
    "@type",
    "action",
    "assignee",
    "assigner",
    "consequence",
    "constraint",
    "duty",
    "refinement",
    "remedy",
    "target",
];
const OF_CONSTRAINT: [&str; 13] = [
    "@id",
    "@type",
    "and",
    "andSequence",
    "dataType",
    "leftOperand",
    "operator",
    "or",
    "rightOperand",
    "rightOperandReference",
    "status",
    "unit",
    "xone",
];
const OF_SCOPE: [&str; 4] = ["@id", "@type", "refinement", "source"];
const OF_ACTION: [&str; 5] = ["@id", "@type", "rdf:value", "refinement", "value"];
/// Functions of parties besides assigner and assignee (ODRL Vocabulary 2.2, section 3.6).
pub(crate) const FUNCTIONS: [&str; 12] = [
    "attributedParty",
    "attributingParty",
    "compensatedParty",
    "compensatingParty",
    "consentedParty",
    "consentingParty",
    "contractedParty",
    "contractingParty",
    "informedParty",
    "informingParty",
    "trackedParty",
    "trackingParty",
];
/// Keys that describe and restrict nothing, by their plain names.
const ANNOTATIONS: [&str; 14] = [
    "comment",
    "created",
    "creator",
    "description",
    "identifier",
    "issued",
    "label",
    "modified",
    "name",
    "publisher",
    "timestamp",
    "title",
    "version",
    "versionInfo",
];
/// Vocabularies whose terms describe and restrict nothing, by prefix and namespace.
const DESCRIBING: [&str; 15] = [
    "dc:",
    "dct:",
    "dcterms:",
    "foaf:",
    "http://purl.org/dc/elements/1.1/",
    "http://purl.org/dc/terms/",
    "http://www.w3.org/2000/01/rdf-schema#",
    "http://www.w3.org/2004/02/skos/core#",
    "http://www.w3.org/2006/vcard/ns#",
    "http://xmlns.com/foaf/0.1/",
    "https://schema.org/",
    "rdfs:",
    "schema:",
    "skos:",
    "vcard:",
];
/// What this product itself puts beside the rules: service levels, words, digests.
pub(crate) const OWN: &str = "urn:concordat:";
/// The property of a policy that another one takes the place of.
const REPLACED: [&str; 4] =
    ["dct:isReplacedBy", "dcterms:isReplacedBy", "http://purl.org/dc/terms/isReplacedBy", "isReplacedBy"];
/// The vocabulary of Gaia-X in which a constraint is about a claim of a credential.
const GAIA_X: [&str; 2] = ["ovc:", "https://w3id.org/gaia-x/ovc/1/"];

/// Who wrote what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// All of ODRL: files, and what the management API is given.
    Odrl,
    /// The Dataspace Protocol's profile: what peers send.
    Profile,
    /// As the profile, from this node's own store: what is not understood is kept, and is never known to hold.
    Record,
}

impl Policy {
    /// Reads a policy in the compact JSON form (contract-schema.json of the Dataspace Protocol 2025-1). What the
    /// schema does not have but allows beside it is read too: `conflict`, `consequence`, `remedy`, party functions, and a
    /// rule's action refined under the absolute key `http://www.w3.org/ns/odrl/2/refinement`.
    ///
    /// # Errors
    /// Names the JSON pointer and the reason: a missing or mistyped property, a key that is not understood, an unknown
    /// operator, a right operand that does not fit its left operand, no permission and no prohibition, rules from
    /// elsewhere (`inheritFrom`), a policy that was replaced, or a bound exceeded.
    pub fn parse(json: &Json) -> Result<Self, PolicyError> {
        Parser::new(Form::Profile, &[]).document(json)
    }

    /// Reads a policy that was agreed to or offered before: as [`Self::parse`], but what is not understood becomes a
    /// constraint that is never known to hold, so that such a rule permits nothing, and forbids what it may forbid.
    ///
    /// # Errors
    /// It is no policy at all.
    pub fn parse_record(json: &Json) -> Result<Self, PolicyError> {
        Parser::new(Form::Record, &[]).document(json)
    }

    /// Reads what ODRL allows beyond the Dataspace Protocol's profile: rules with parties or assets of their own,
    /// each an IRI or a collection with refinements (ODRL 2.2, sections 2.2.1 and 2.3.1), refined actions, rules
    /// without an action, and compact rules: several actions, assets or parties in one rule, and actions, assets and
    /// parties that stand at the policy (section 2.7.1). For files and tests; what peers send is read by
    /// [`Self::parse`].
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_odrl(json: &Json) -> Result<Self, PolicyError> {
        Self::parse_inheriting(json, &[])
    }

    /// As [`Self::parse_odrl`]; the rules of the policies that it names in `inheritFrom` (ODRL 2.2, section 2.9) are
    /// taken from `parents`, by `@id` or `uid`, and stand after its own. What a parent says of conflicts, assets and
    /// parties holds for the child where the child does not say it.
    ///
    /// # Errors
    /// As [`Self::parse`]; a parent is not there, or a policy inherits from itself.
    pub fn parse_inheriting(json: &Json, parents: &[Json]) -> Result<Self, PolicyError> {
        let mut read = Vec::new();
        for (index, parent) in parents.iter().enumerate() {
            let wrong = |error: PolicyError| {
                PolicyError::new(format!("/inheritFrom/{index}{}", error.path()), error.reason())
            };
            read.push(compact(parent).map_err(wrong)?);
        }
        Parser::new(Form::Odrl, &read).document(json)
    }
}

struct Parser<'a> {
    form: Form,
    /// Where `inheritFrom` finds its policies.
    parents: &'a [Compact],
    /// The policies that are being read, each the parent of the one before.
    inheriting: Vec<String>,
    /// Nodes that may be referred to.
    nodes: BTreeMap<String, Json>,
    /// Where each duty that has a name stands in the policy.
    duties: BTreeMap<String, String>,
    /// What was not understood in a record, and where.
    not_understood: Vec<(String, String)>,
    rules: usize,
    constraints: usize,
}

/// What stands at the policy for all its rules.
#[derive(Default, Clone)]
struct Common {
    action: Option<Json>,
    targets: Vec<Scope>,
    assigners: Vec<Scope>,
    assignees: Vec<Scope>,
}

/// A compact policy that says that it has no rules (lists of them are there, and there is nothing in any) as the permission to
/// use that it stands for: EDC's way to say that nothing is restricted. Any other as it is.
#[must_use]
pub fn unrestricted(mut policy: Json) -> Json {
    let lists = ["permission", "prohibition", "obligation"].map(|name| policy.get(name));
    let mut said = lists.iter().flatten().peekable();
    let is_empty = said.peek().is_some() && said.all(|list| list.as_array().is_some_and(Vec::is_empty));
    if let Some(map) = policy.as_object_mut().filter(|_| is_empty) {
        map.retain(|name, _| !["prohibition", "obligation"].contains(&name.as_str()));
        map.insert("permission".to_owned(), serde_json::json!([{"action": "use"}]));
    }
    policy
}

/// A policy with what its children need.
struct Read {
    policy: Policy,
    conflict: Option<Conflict>,
    common: Common,
}

impl<'a> Parser<'a> {
    const fn new(form: Form, parents: &'a [Compact]) -> Self {
        Self {
            form,
            parents,
            inheriting: Vec::new(),
            nodes: BTreeMap::new(),
            duties: BTreeMap::new(),
            not_understood: Vec::new(),
            rules: 0,
            constraints: 0,
        }
    }

    fn is_wide(&self) -> bool {
        self.form == Form::Odrl
    }

    /// The bound for a peer, or for a file.
    fn most(&self, (peer, file): (usize, usize)) -> usize {
        if self.is_wide() { file } else { peer }
    }

    /// Something that is not understood: an error, but in a record.
    fn stop(&mut self, path: String, reason: impl Into<String>) -> Result<(), PolicyError> {
        if self.form == Form::Record {
            self.not_understood.push((path, reason.into()));
            return Ok(());
        }
        Err(PolicyError::new(path, reason))
    }

    /// Whether every key of `map` is one of `known` or describes.
    fn keys(
        &mut self,
        map: &Map<String, Json>,
        known: &[&str],
        what: &str,
        path: &str,
    ) -> Result<(), PolicyError> {
        for key in map.keys() {
            let describes = ANNOTATIONS.contains(&key.as_str())
                || DESCRIBING.iter().any(|vocabulary| key.starts_with(vocabulary))
                || what == "a policy" && key.starts_with(OWN)
                // A peer may say more of a policy as a whole in words of its own; what its rules demand must be understood.
                || what == "a policy" && self.form == Form::Profile && key.contains(':');
            if known.contains(&key.as_str()) || describes {
                continue;
            }
            let place = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
            self.stop(
                place,
                format!("`{key}` is not understood at {what}, so what it demands could not be kept"),
            )?;
        }
        Ok(())
    }

    fn document(&mut self, json: &Json) -> Result<Policy, PolicyError> {
        let Compact { policy: json, nodes } = compact(json)?;
        self.nodes = nodes;
        let json = if self.is_wide() { json } else { unrestricted(json) };
        named_duties(&json, "", &mut self.duties);
        let policy = self.rules_of(&json, "")?.policy;
        let obliges = self.is_wide() && !policy.obligations.is_empty();
        if policy.permissions.is_empty() && policy.prohibitions.is_empty() && !obliges {
            return Err(PolicyError::new("", "a policy needs at least one permission or prohibition"));
        }
        if policy.kind == Kind::Agreement {
            let every =
                |own: fn(&Rule) -> bool| !policy.permissions.is_empty() && policy.permissions.iter().all(own);
            for (name, there) in [
                ("target", policy.target.is_some() || every(|rule| rule.target.is_some())),
                ("assigner", policy.assigner.is_some() || every(|rule| rule.assigner.is_some())),
                ("assignee", policy.assignee.is_some() || every(|rule| rule.assignee.is_some())),
            ] {
                if !there {
                    return Err(PolicyError::new(format!("/{name}"), "an agreement must have it"));
                }
            }
        }
        Ok(policy)
    }

    fn rules_of(&mut self, json: &Json, path: &str) -> Result<Read, PolicyError> {
        let map = object(json, path)?;
        self.keys(map, &OF_POLICY, "a policy", path)?;
        if let Some((key, other)) = map.iter().find(|(key, _)| REPLACED.contains(&key.as_str())) {
            let by = identifier(other, &format!("{path}/{key}"))?;
            let reason = format!("the policy was replaced by `{by}`; use that one");
            self.stop(format!("{path}/{}", key.replace('/', "~1")), reason)?;
        }
        if !self.is_wide() && map.contains_key("action") {
            let reason = "stands at each rule, not at the policy (Dataspace Protocol, ODRL profile)";
            self.stop(format!("{path}/action"), reason)?;
        }
        let kind = self.kind(map, path)?;
        let conflict = match map.get("conflict").map(|one| identifier(one, &format!("{path}/conflict"))) {
            None => None,
            Some(written) => Some(match term(&written?) {
                "invalid" => Conflict::Invalid,
                "perm" => Conflict::Perm,
                "prohibit" => Conflict::Prohibit,
                other => {
                    return Err(PolicyError::new(
                        format!("{path}/conflict"),
                        format!("`{other}` is not perm, prohibit or invalid"),
                    ));
                }
            }),
        };
        let mut profiles = BTreeSet::new();
        for profile in map.get("profile").map(one_or_many).unwrap_or_default() {
            profiles.insert(identifier(profile, &format!("{path}/profile"))?);
        }
        let id =
            map.get("@id").map(|id| identifier(id, &format!("{path}/@id"))).transpose()?.unwrap_or_default();
        let parents = match map.get("inheritFrom") {
            Some(parents) => self.inherited(&id, parents, &format!("{path}/inheritFrom"))?,
            None => Vec::new(),
        };
        let mut common = Common {
            action: map.get("action").filter(|_| self.is_wide()).cloned(),
            targets: self.scopes(map, "target", path, About::Asset)?,
            assigners: self.scopes(map, "assigner", path, About::Party)?,
            assignees: self.scopes(map, "assignee", path, About::Party)?,
        };
        for parent in &parents {
            for (own, theirs) in [
                (&mut common.targets, &parent.common.targets),
                (&mut common.assigners, &parent.common.assigners),
                (&mut common.assignees, &parent.common.assignees),
            ] {
                if own.is_empty() {
                    own.clone_from(theirs);
                }
            }
        }
        // One name for all rules stays at the policy; what is more is said of each rule (ODRL 2.2, section 2.7.1).
        let whole = |key: &str, scopes: &[Scope]| match scopes {
            [Scope { id: Some(id), refinements }]
                if refinements.is_empty() && parents.is_empty() && !any_rule_has(map, key) =>
            {
                Some(id.clone())
            }
            _ => None,
        };
        let (target, assigner, assignee) = (
            whole("target", &common.targets),
            whole("assigner", &common.assigners),
            whole("assignee", &common.assignees),
        );
        let kept = common.clone();
        for (whole, scopes) in [
            (&target, &mut common.targets),
            (&assigner, &mut common.assigners),
            (&assignee, &mut common.assignees),
        ] {
            if whole.is_some() {
                scopes.clear();
            }
        }
        let mut policy = Policy {
            id,
            kind,
            conflict: Conflict::default(),
            profiles,
            target,
            assigner,
            assignee,
            permissions: self.rules(map, "permission", path, RuleKind::Permission, &common, 0)?,
            prohibitions: self.rules(map, "prohibition", path, RuleKind::Prohibition, &common, 0)?,
            obligations: self.rules(map, "obligation", path, RuleKind::Duty, &common, 0)?,
        };
        self.deny_for_what_was_not_understood(&mut policy);
        let mut resolved = conflict;
        for parent in parents {
            resolved = match (resolved, parent.conflict) {
                (Some(own), Some(theirs)) if own != theirs => Some(Conflict::Invalid),
                (own, theirs) => own.or(theirs),
            };
            policy.profiles.extend(parent.policy.profiles);
            policy.permissions.extend(parent.policy.permissions);
            policy.prohibitions.extend(parent.policy.prohibitions);
            policy.obligations.extend(parent.policy.obligations);
        }
        policy.conflict = resolved.unwrap_or_default();
        Ok(Read { policy, conflict: resolved, common: kept })
    }

    fn kind(&self, map: &Map<String, Json>, path: &str) -> Result<Kind, PolicyError> {
        let path = format!("{path}/@type");
        let written = map.get("@type").map(one_or_many).unwrap_or_default();
        let mut kinds = Vec::new();
        for one in written {
            let text = identifier(one, &path)?;
            let name = term(&text);
            let found = Kind::ALL.into_iter().find(|kind| kind.term() == name);
            kinds.extend(found.or_else(|| (name == "Policy").then_some(Kind::Set)));
            if written.len() == 1 && kinds.is_empty() {
                return Err(PolicyError::new(path, format!("`{name}` is not Offer, Agreement or Set")));
            }
        }
        kinds.dedup();
        match kinds.as_slice() {
            [] if written.is_empty() => Ok(Kind::Offer),
            [kind] if kind.is_decided() || self.is_wide() => Ok(*kind),
            [kind] => {
                Err(PolicyError::new(path, format!("`{}` is not Offer, Agreement or Set", kind.term())))
            }
            [] => Err(PolicyError::new(path, "names no class of policy, such as Offer, Agreement or Set")),
            _ => Err(PolicyError::new(path, "names several classes of policy")),
        }
    }

    /// The policies that `json` names, with their rules (ODRL 2.2, section 2.9).
    fn inherited(&mut self, child: &str, json: &Json, path: &str) -> Result<Vec<Read>, PolicyError> {
        if !self.is_wide() {
            self.stop(path.to_owned(), "a policy of the protocol carries all its rules itself")?;
            return Ok(Vec::new());
        }
        let mut read = Vec::new();
        for (index, parent) in one_or_many(json).iter().enumerate() {
            let path = if json.is_array() { format!("{path}/{index}") } else { path.to_owned() };
            let id = identifier(parent, &path)?;
            self.inheriting.push(child.to_owned());
            if self.inheriting.contains(&id) {
                return Err(PolicyError::new(path, format!("`{id}` inherits from itself")));
            }
            if self.inheriting.len() > MAX_DEPTH {
                return Err(PolicyError::new(path, format!("policies inherit deeper than {MAX_DEPTH}")));
            }
            let parents = self.parents;
            let named = |one: &&Compact| one.policy.get("@id").and_then(Json::as_str) == Some(id.as_str());
            let found = parents.iter().find(named).ok_or_else(|| {
                PolicyError::new(
                    path.clone(),
                    format!("the policy `{id}` is not at hand, so its rules are not known"),
                )
            })?;
            for (id, node) in &found.nodes {
                self.nodes.entry(id.clone()).or_insert_with(|| node.clone());
            }
            read.push(self.rules_of(&found.policy, &path)?);
            self.inheriting.pop();
        }
        Ok(read)
    }

    /// What was not understood at the policy is not understood at any of its rules.
    fn deny_for_what_was_not_understood(&mut self, policy: &mut Policy) {
        for (path, reason) in std::mem::take(&mut self.not_understood) {
            let stop = not_understood(path, &reason);
            let rules = policy.permissions.iter_mut().chain(&mut policy.prohibitions);
            rules.for_each(|rule| rule.constraints.push(stop.clone()));
        }
    }

    fn rules(
        &mut self,
        map: &Map<String, Json>,
        key: &str,
        path: &str,
        kind: RuleKind,
        common: &Common,
        depth: usize,
    ) -> Result<Vec<Rule>, PolicyError> {
        let path = format!("{path}/{key}");
        let Some(json) = map.get(key) else { return Ok(Vec::new()) };
        if depth > MAX_DEPTH {
            return Err(PolicyError::new(path, format!("duties nested deeper than {MAX_DEPTH}")));
        }
        let mut found = Vec::new();
        for (index, rule) in array(json, &path)?.iter().enumerate() {
            found.extend(self.rule(rule, format!("{path}/{index}"), key, kind, common, depth)?);
        }
        Ok(found)
    }

    /// One rule, or several where it is compact.
    fn rule(
        &mut self,
        json: &Json,
        path: String,
        key: &str,
        kind: RuleKind,
        common: &Common,
        depth: usize,
    ) -> Result<Vec<Rule>, PolicyError> {
        self.count_rule(&path)?;
        // A duty that is named here and stands elsewhere is one duty: once done, it is done (ODRL 2.2, section 2.6.5).
        let referred = reference(json).filter(|_| kind == RuleKind::Duty);
        let (node, path) = match referred {
            None => (None, path),
            Some(id) => match self.nodes.get(id) {
                Some(node) => (Some(node.clone()), self.duties.get(id).cloned().unwrap_or(path)),
                None => {
                    let reason = format!("the duty `{id}` does not stand in this document");
                    self.stop(path, reason)?;
                    return Ok(Vec::new());
                }
            },
        };
        let map = object(node.as_ref().unwrap_or(json), &path)?;
        let known: Vec<&str> = OF_RULE.iter().chain(&FUNCTIONS).copied().collect();
        self.keys(map, &known, "a rule", &path)?;
        for own in ["target", "assigner", "assignee"] {
            if map.contains_key(own) && !self.is_wide() {
                let reason = "stands at the policy, not at a rule (Dataspace Protocol, ODRL profile)";
                self.stop(format!("{path}/{own}"), reason)?;
            }
        }
        for (own, of, may) in [
            ("duty", "a permission", kind == RuleKind::Permission),
            (
                "consequence",
                "a duty or an obligation, not in a remedy",
                kind == RuleKind::Duty && key != "remedy",
            ),
            ("remedy", "a prohibition", kind == RuleKind::Prohibition),
        ] {
            if map.contains_key(own) && !may {
                self.stop(format!("{path}/{own}"), format!("stands in {of} only (ODRL 2.2, section 2.6)"))?;
            }
        }
        let actions = self.actions(map, &path, common)?;
        let constraints = self.list_of(
            map,
            "constraint",
            &path,
            if kind == RuleKind::Duty { About::Duty } else { About::Use },
        )?;
        let nothing = Common::default();
        let mut duties = |key: &str, may: bool| match may {
            true => self.rules(map, key, &path, RuleKind::Duty, &nothing, depth + 1),
            false => Ok(Vec::new()),
        };
        let own = duties("duty", kind == RuleKind::Permission)?;
        let consequences = duties("consequence", kind == RuleKind::Duty && key != "remedy")?;
        let remedies = duties("remedy", kind == RuleKind::Prohibition)?;
        let assignees = self.own_and_common(map, "assignee", &path, About::Party, &common.assignees)?;
        let targets = self.own_and_common(map, "target", &path, About::Asset, &common.targets)?;
        let assigners = self.own_and_common(map, "assigner", &path, About::Party, &common.assigners)?;
        let mut functions = Vec::new();
        for function in FUNCTIONS {
            let parties = self.scopes(map, function, &path, About::Party)?;
            functions.extend(parties.into_iter().map(|party| (function.to_owned(), party)));
        }
        let mut found = Vec::new();
        for (action, refinements) in &actions {
            for assigner in &assigners {
                for assignee in &assignees {
                    for target in &targets {
                        if !found.is_empty() {
                            self.count_rule(&path)?;
                        }
                        found.push(Rule {
                            kind,
                            path: path.clone(),
                            action: action.clone(),
                            refinements: refinements.clone(),
                            assigner: assigner.clone(),
                            assignee: assignee.clone(),
                            functions: functions.clone(),
                            target: target.clone(),
                            constraints: constraints.clone(),
                            duties: own.clone(),
                            consequences: consequences.clone(),
                            remedies: remedies.clone(),
                        });
                    }
                }
            }
        }
        Ok(found)
    }

    fn count_rule(&mut self, path: &str) -> Result<(), PolicyError> {
        self.rules += 1;
        let most = self.most(MAX_RULES);
        if self.rules > most {
            return Err(PolicyError::new(path, format!("more than {most} rules")));
        }
        Ok(())
    }

    /// The actions of a rule with their refinements: its own, and those that stand at the policy.
    fn actions(
        &mut self,
        map: &Map<String, Json>,
        path: &str,
        common: &Common,
    ) -> Result<Vec<(String, Vec<Constraint>)>, PolicyError> {
        let own = self.list_of(map, "refinement", path, About::Action)?;
        let place = format!("{path}/action");
        let written = [map.get("action"), common.action.as_ref()];
        let mut found = Vec::new();
        for json in written.into_iter().flatten() {
            if !self.is_wide() && json.is_array() {
                return Err(PolicyError::new(place, "must be a string"));
            }
            let many = one_or_many(json);
            bounded(many, &place)?;
            for (index, one) in many.iter().enumerate() {
                let path = if json.is_array() { format!("{place}/{index}") } else { place.clone() };
                let mut refinements = own.clone();
                let action = match one {
                    Json::Object(refined) => {
                        self.keys(refined, &OF_ACTION, "an action", &path)?;
                        refinements.extend(self.list_of(refined, "refinement", &path, About::Action)?);
                        if !self.is_wide() && refined.contains_key("refinement") {
                            let reason =
                                format!("stands at the rule, as `{REFINEMENT}`, in the protocol's profile");
                            self.stop(format!("{path}/refinement"), reason)?;
                        }
                        let named =
                            ["rdf:value", "value", "@id", "@type"].iter().find_map(|key| refined.get(*key));
                        identifier(named.unwrap_or(one), &path)?
                    }
                    one => identifier(one, &path)?,
                };
                found.push((action_of(&action), refinements));
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
        if map.contains_key("action") {
            return Err(PolicyError::new(place, "must not be empty"));
        }
        if self.is_wide() {
            return Ok(vec![(ANY_ACTION.to_owned(), own)]);
        }
        Err(PolicyError::new(place, "every rule needs an action"))
    }

    /// The parties or assets of a rule, its own and those of the policy; one `None` where nothing is said.
    fn own_and_common(
        &mut self,
        map: &Map<String, Json>,
        key: &str,
        path: &str,
        about: About,
        common: &[Scope],
    ) -> Result<Vec<Option<Scope>>, PolicyError> {
        let mut found = self.scopes(map, key, path, about)?;
        for scope in common {
            if !found.contains(scope) {
                found.push(scope.clone());
            }
        }
        Ok(if found.is_empty() { vec![None] } else { found.into_iter().map(Some).collect() })
    }

    /// The parties or assets at `key`: IRIs, or collections with refinements.
    fn scopes(
        &mut self,
        map: &Map<String, Json>,
        key: &str,
        path: &str,
        about: About,
    ) -> Result<Vec<Scope>, PolicyError> {
        let Some(json) = map.get(key) else { return Ok(Vec::new()) };
        let path = format!("{path}/{key}");
        if !self.is_wide() && !FUNCTIONS.contains(&key) && !json.is_string() {
            return Err(PolicyError::new(path, "must be a string"));
        }
        let many = one_or_many(json);
        bounded(many, &path)?;
        let mut found = Vec::new();
        for (index, one) in many.iter().enumerate() {
            let path = if json.is_array() { format!("{path}/{index}") } else { path.clone() };
            // A party or asset that stands elsewhere in the document.
            let node = reference(one).or(one.as_str()).and_then(|id| self.nodes.get(id)).cloned();
            let described =
                node.as_ref().filter(|node| node.get("refinement").is_some() || node.get("source").is_some());
            let Json::Object(collection) = described.unwrap_or(one) else {
                found.push(Scope::named(identifier(one, &path)?));
                continue;
            };
            self.keys(collection, &OF_SCOPE, "a party or an asset", &path)?;
            let refinements = self.list_of(collection, "refinement", &path, about)?;
            // With refinements, `source` names the collection (ODRL 2.2, sections 2.2.1 and 2.3.1).
            let named = collection.contains_key("@id") && refinements.is_empty();
            let id = match collection.get("source").filter(|_| !named) {
                Some(source) => Some(identifier(source, &format!("{path}/source"))?),
                None if collection.contains_key("@id") || refinements.is_empty() => {
                    Some(identifier(one, &path)?)
                }
                None => None,
            };
            found.push(Scope { id, refinements });
        }
        if found.is_empty() {
            return Err(PolicyError::new(path, "must not be empty"));
        }
        Ok(found)
    }

    fn list_of(
        &mut self,
        map: &Map<String, Json>,
        key: &str,
        path: &str,
        about: About,
    ) -> Result<Vec<Constraint>, PolicyError> {
        map.get(key).map_or(Ok(Vec::new()), |list| self.constraints(list, &format!("{path}/{key}"), about, 0))
    }

    fn constraints(
        &mut self,
        json: &Json,
        path: &str,
        about: About,
        depth: usize,
    ) -> Result<Vec<Constraint>, PolicyError> {
        let list = array(json, path)?.iter().enumerate();
        list.map(|(index, one)| self.constraint(one, format!("{path}/{index}"), about, depth)).collect()
    }

    fn constraint(
        &mut self,
        json: &Json,
        path: String,
        about: About,
        depth: usize,
    ) -> Result<Constraint, PolicyError> {
        self.constraints += 1;
        let most = self.most(MAX_CONSTRAINTS);
        if self.constraints > most {
            return Err(PolicyError::new(path, format!("more than {most} constraints")));
        }
        if depth > MAX_DEPTH {
            return Err(PolicyError::new(path, format!("constraints nested deeper than {MAX_DEPTH}")));
        }
        match self.understood(json, path.clone(), about, depth) {
            Err(error) if self.form == Form::Record => Ok(not_understood(path, error.reason())),
            read => read,
        }
    }

    fn understood(
        &mut self,
        json: &Json,
        path: String,
        about: About,
        depth: usize,
    ) -> Result<Constraint, PolicyError> {
        let node = match reference(json) {
            None => None,
            Some(id) => Some(self.nodes.get(id).cloned().ok_or_else(|| {
                PolicyError::new(&path, format!("the constraint `{id}` does not stand in this document"))
            })?),
        };
        let map = object(node.as_ref().unwrap_or(json), &path)?;
        let claim = map.keys().any(|key| GAIA_X.iter().any(|vocabulary| key.starts_with(vocabulary)));
        let translated;
        let map = if claim {
            translated = of_gaia_x(map, &path)?;
            &translated
        } else {
            map
        };
        self.keys(map, &OF_CONSTRAINT, "a constraint", &path)?;
        let mut logical = None;
        for (key, value) in map {
            let found = match key.as_str() {
                "and" => Logical::And,
                "andSequence" => Logical::AndSequence,
                "or" => Logical::Or,
                "xone" => Logical::Xone,
                _ => continue,
            };
            if logical.replace((found, key, value)).is_some() {
                return Err(PolicyError::new(
                    path,
                    "a logical constraint has exactly one of and, andSequence, or, xone",
                ));
            }
        }
        let Some((logical, key, value)) = logical else {
            return atomic(map, path, about, self.is_wide()).map(Constraint::Atomic);
        };
        if map.contains_key("leftOperand") {
            return Err(PolicyError::new(path, "a constraint is either logical or atomic, not both"));
        }
        let parts = self.constraints(value, &format!("{path}/{key}"), about, depth + 1)?;
        if parts.is_empty() {
            return Err(PolicyError::new(format!("{path}/{key}"), "must not be empty"));
        }
        Ok(Constraint::Logical { logical, parts })
    }
}

impl Scope {
    const fn named(id: String) -> Self {
        Self { id: Some(id), refinements: Vec::new() }
    }
}

/// Whether a rule of the policy says `key` of its own.
fn any_rule_has(map: &Map<String, Json>, key: &str) -> bool {
    let lists =
        ["permission", "prohibition", "obligation"].into_iter().filter_map(|list| map.get(list)?.as_array());
    lists.flatten().any(|rule| rule.get(key).is_some())
}

/// Where duties with a name stand.
fn named_duties(json: &Json, path: &str, found: &mut BTreeMap<String, String>) {
    for key in ["permission", "prohibition", "obligation", "duty", "consequence", "remedy"] {
        for (index, rule) in json.get(key).and_then(Json::as_array).into_iter().flatten().enumerate() {
            let place = format!("{path}/{key}/{index}");
            if reference(rule).is_none()
                && let Some(id) = rule.get("@id").and_then(Json::as_str)
            {
                found.entry(id.to_owned()).or_insert_with(|| place.clone());
            }
            named_duties(rule, &place, found);
        }
    }
}

/// The name of a node that stands elsewhere.
fn reference(json: &Json) -> Option<&str> {
    let map = json.as_object().filter(|map| map.len() == 1)?;
    map.get("@id").and_then(Json::as_str)
}

/// A constraint that is never known to hold.
fn not_understood(path: String, reason: &str) -> Constraint {
    let left: String = format!("{NOT_UNDERSTOOD}{reason}").chars().take(512).collect();
    Constraint::Atomic(Atomic {
        path,
        about: About::Use,
        left,
        operand: None,
        unit: None,
        status: None,
        assumed_utc: false,
        operator: Operator::Eq,
        right: vec![Value::Term(String::new())],
    })
}

/// An action's name; ODRL's own also in capitals, as older connectors write them.
fn action_of(written: &str) -> String {
    let name = named(term(written));
    let lower = name.to_ascii_lowercase();
    if name.chars().all(|letter| letter.is_ascii_uppercase()) && is_odrl(&lower) {
        lower
    } else {
        name.to_owned()
    }
}

/// Gaia-X's constraint on a claim of a credential, as this engine has it.
fn of_gaia_x(map: &Map<String, Json>, path: &str) -> Result<Map<String, Json>, PolicyError> {
    let mut out = map.clone();
    let mut take = |name: &str| {
        let key =
            GAIA_X.iter().map(|vocabulary| format!("{vocabulary}{name}")).find(|key| out.contains_key(key));
        key.and_then(|key| out.remove(&key))
    };
    let (left, kind) = (take("leftOperand"), take("credentialSubjectType"));
    let need = |found: Option<Json>, name: &str| match found {
        Some(json) => identifier(&json, &format!("{path}/ovc:{name}")),
        None => Err(PolicyError::new(format!("{path}/ovc:{name}"), "is missing")),
    };
    let (left, kind) = (need(left, "leftOperand")?, need(kind, "credentialSubjectType")?);
    if out.contains_key("leftOperand") {
        return Err(PolicyError::new(path, "has `leftOperand` twice, once as Gaia-X's claim"));
    }
    let steps = left.strip_prefix("$.").ok_or_else(|| {
        PolicyError::new(
            format!("{path}/ovc:leftOperand"),
            format!("`{left}` is not a path such as $.credentialSubject.name"),
        )
    })?;
    let steps: String = steps.split('.').map(|step| format!("['{}']", step.replace('\'', "\\'"))).collect();
    out.insert("leftOperand".to_owned(), json!(format!("{}{kind}:${steps}", operand::CLAIM_PREFIX)));
    Ok(out)
}

fn atomic(map: &Map<String, Json>, path: String, about: About, plain: bool) -> Result<Atomic, PolicyError> {
    let need = |key: &str| {
        let json = map.get(key).ok_or_else(|| PolicyError::new(format!("{path}/{key}"), "is missing"))?;
        identifier(json, &format!("{path}/{key}"))
    };
    let left = operand_of(term(&need("leftOperand")?)).to_owned();
    let written = need("operator")?;
    // ODRL 2.2 gives the fragment of `lteq` as `term-lteq`, and schemas have taken that for its name.
    let name = term(&written).strip_prefix("term-").unwrap_or_else(|| term(&written));
    let operator = Operator::ALL.into_iter().find(|known| known.term() == name).ok_or_else(|| {
        PolicyError::new(format!("{path}/operator"), format!("unknown operator `{written}`"))
    })?;
    let operand = operand::find(&left);
    let (right, assumed_utc) = right(map, &path, operand.map(|operand| operand.kind), plain)?;
    let kind = operand.map(|operand| operand.kind);
    let unordered = match kind {
        Some(OperandKind::Identifier | OperandKind::Language | OperandKind::Place | OperandKind::Term) => {
            true
        }
        _ => right.iter().any(|value| matches!(value, Value::Area(_))),
    };
    if operator.is_ordering() && unordered {
        return Err(PolicyError::new(
            format!("{path}/operator"),
            format!("`{left}` has no order, so `{}` cannot compare it", operator.term()),
        ));
    }
    let is_amount = matches!(kind, Some(OperandKind::Duration | OperandKind::Instant | OperandKind::Number));
    let of_terms =
        matches!(operator, Operator::HasPart | Operator::IsA | Operator::IsAllOf | Operator::IsPartOf);
    if is_amount && of_terms {
        return Err(PolicyError::new(
            format!("{path}/operator"),
            format!("`{left}` has one value and no parts, so `{}` cannot compare it", operator.term()),
        ));
    }
    let one_only = operator.is_ordering() || matches!(operator, Operator::Eq | Operator::Neq);
    if one_only && right.len() > 1 {
        return Err(PolicyError::new(
            format!("{path}/rightOperand"),
            format!("`{}` compares with one value, not {}", operator.term(), right.len()),
        ));
    }
    let operator = match (operator, operand) {
        (Operator::Eq, Some(operand)) => operand.equal,
        (operator, _) => operator,
    };
    let unit = map.get("unit").map(|unit| identifier(unit, &format!("{path}/unit"))).transpose()?;
    let status = match map.get("status") {
        None => None,
        Some(json) => Some(status(json, operand.map(|operand| operand.kind), &format!("{path}/status"))?),
    };
    Ok(Atomic { path, about, left, operand, unit, status, assumed_utc, operator, right })
}

/// What there was before: a number, for an operand that is one.
fn status(json: &Json, kind: Option<OperandKind>, path: &str) -> Result<Decimal, PolicyError> {
    let read = literal::read(json, Some(OperandKind::Number), true, path)?;
    match (kind, read.value) {
        (Some(OperandKind::Number), Value::Number(number)) => Ok(number),
        _ => Err(PolicyError::new(path, "is understood for operands that are numbers only, such as `count`")),
    }
}

fn right(
    map: &Map<String, Json>,
    path: &str,
    kind: Option<OperandKind>,
    plain: bool,
) -> Result<(Vec<Value>, bool), PolicyError> {
    if map.contains_key("rightOperandReference") {
        return Err(PolicyError::new(
            format!("{path}/rightOperandReference"),
            "this node reads no right operand from elsewhere; state it in the policy",
        ));
    }
    let datatype = map.get("dataType").map(|one| identifier(one, &format!("{path}/dataType"))).transpose()?;
    let path = format!("{path}/rightOperand");
    let raw = map.get("rightOperand").ok_or_else(|| PolicyError::new(&path, "is missing"))?;
    let read = |one: &Json| match (&datatype, one) {
        (Some(datatype), Json::String(text)) => {
            literal::read(&json!({"@value": text, "@type": datatype}), kind, plain, &path)
        }
        _ => literal::read(one, kind, plain, &path),
    };
    let read: Vec<Literal> = match raw.get("@list").unwrap_or(raw) {
        Json::Array(list) => {
            bounded(list, &path)?;
            list.iter().map(read).collect::<Result<Vec<_>, _>>()?
        }
        one => vec![read(one)?],
    };
    let assumed = read.iter().any(|one| one.assumed_utc);
    let values: Vec<Value> = read.into_iter().map(|one| one.value).collect();
    let daily = values.iter().filter(|value| matches!(value, Value::TimeOfDay(_))).count();
    if values.is_empty() {
        return Err(PolicyError::new(path, "must not be empty"));
    }
    if daily != 0 && daily != values.len() {
        return Err(PolicyError::new(path, "times of day and dates do not stand in one list"));
    }
    Ok((values, assumed))
}

fn bounded(list: &[Json], path: &str) -> Result<(), PolicyError> {
    if list.len() > MAX_VALUES {
        return Err(PolicyError::new(path, format!("more than {MAX_VALUES} values")));
    }
    Ok(())
}

/// A JSON array's members, or the one value that stands without an array.
fn one_or_many(json: &Json) -> &[Json] {
    json.as_array().map_or_else(|| std::slice::from_ref(json), Vec::as_slice)
}

/// An IRI or text, also in an object (`@id`, `@value`) or a list of one.
fn identifier(json: &Json, path: &str) -> Result<String, PolicyError> {
    let json = match json {
        Json::Array(list) if list.len() == 1 => list.first().unwrap_or(json),
        other => other,
    };
    let (text, path) = match json {
        Json::Object(map) => (map.get("@id").or_else(|| map.get("@value")), format!("{path}/@id")),
        one => (Some(one), path.to_owned()),
    };
    match text {
        None => Err(PolicyError::new(path, "is missing")),
        Some(Json::String(text)) if text.len() <= MAX_TEXT => Ok(text.clone()),
        Some(Json::String(_)) => Err(PolicyError::new(path, format!("longer than {MAX_TEXT} bytes"))),
        Some(_) => Err(PolicyError::new(path, "must be a string")),
    }
}

/// An operand without the namespaces in which programs of EDC and Tractus-X write what they mean by the bare name.
fn operand_of(name: &str) -> &str {
    let namespaces =
        ["https://w3id.org/edc/v0.0.1/ns/", "https://w3id.org/tractusx/v0.0.1/ns/", "edc:", "tx:"];
    namespaces
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .filter(|rest| !rest.is_empty())
        .unwrap_or(name)
}

/// ODRL's own terms without prefix or namespace, anything else as written.
pub(crate) fn term(text: &str) -> &str {
    text.strip_prefix("odrl:").or_else(|| text.strip_prefix(ODRL)).unwrap_or(text)
}

fn object<'a>(json: &'a Json, path: &str) -> Result<&'a Map<String, Json>, PolicyError> {
    json.as_object().ok_or_else(|| PolicyError::new(path, "must be an object"))
}

fn array<'a>(json: &'a Json, path: &str) -> Result<&'a Vec<Json>, PolicyError> {
    json.as_array().ok_or_else(|| PolicyError::new(path, "must be an array"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(policy: Json) -> String {
        Policy::parse(&policy).unwrap_err().to_string()
    }

    fn with_constraint(constraint: Json) -> Json {
        json!({"@id": "urn:x", "@type": "Offer", "permission": [{"action": "use", "constraint": [constraint]}]})
    }

    #[test]
    fn the_term_that_the_schema_lists_is_an_operator() {
        let with = |operator: &str| {
            let constraint = json!({"leftOperand": "count", "operator": operator, "rightOperand": "5"});
            Policy::parse(&with_constraint(constraint)).unwrap()
        };
        assert_eq!(with("term-lteq"), with("lteq"));
        assert_ne!(with("lt"), with("lteq"));
    }

    #[test]
    fn an_operand_is_the_same_in_the_namespaces_of_edc_and_tractus_x() {
        let with = |left: &str| {
            let constraint = json!({"leftOperand": left, "operator": "eq", "rightOperand": "BPNL1"});
            Policy::parse(&with_constraint(constraint)).unwrap()
        };
        for left in [
            "tx:BusinessPartnerNumber",
            "https://w3id.org/tractusx/v0.0.1/ns/BusinessPartnerNumber",
            "https://w3id.org/edc/v0.0.1/ns/BusinessPartnerNumber",
        ] {
            assert_eq!(with(left), with("BusinessPartnerNumber"), "{left}");
        }
    }

    #[test]
    fn lists_without_rules_permit_use_and_no_lists_at_all_are_a_mistake() {
        let open = Policy::parse(&json!({"permission": [{"action": "use"}]})).unwrap();
        for empty in [
            json!({"permission": []}),
            json!({"@type": "Set", "permission": [], "prohibition": [], "obligation": []}),
            json!({"@context": {"odrl": "http://www.w3.org/ns/odrl/2/"}, "odrl:permission": [], "odrl:obligation": []}),
        ] {
            assert_eq!(Policy::parse(&empty).unwrap().permissions, open.permissions, "{empty}");
            assert!(Policy::parse_odrl(&empty).is_err(), "as ODRL has it, it permits nothing");
        }
        let duty = json!({"permission": [], "obligation": [{"action": "inform"}]});
        assert!(Policy::parse(&duty).is_err());
    }

    #[test]
    fn errors_name_path_and_reason() {
        assert_eq!(refused(json!([])), "/: must be an object");
        assert_eq!(
            refused(json!({"@type": "Offer"})),
            "/: a policy needs at least one permission or prohibition"
        );
        assert_eq!(refused(json!({"@type": "Ticket"})), "/@type: `Ticket` is not Offer, Agreement or Set");
        assert_eq!(refused(json!({"@type": "Moon"})), "/@type: `Moon` is not Offer, Agreement or Set");
        assert_eq!(
            refused(json!({"permission": [{"action": "use"}, {"target": "x", "action": "use"}]})),
            "/permission/1/target: stands at the policy, not at a rule (Dataspace Protocol, ODRL profile)"
        );
        assert_eq!(
            refused(with_constraint(
                json!({"leftOperand": "dateTime", "operator": "before", "rightOperand": "x"})
            )),
            "/permission/0/constraint/0/operator: unknown operator `before`"
        );
        assert_eq!(
            refused(with_constraint(
                json!({"leftOperand": "dateTime", "operator": "lt", "rightOperand": "soon"})
            )),
            "/permission/0/constraint/0/rightOperand: `soon` is not an xsd:dateTime such as 2027-01-01T00:00:00Z"
        );
        assert_eq!(
            refused(with_constraint(
                json!({"leftOperand": "purpose", "operator": "lt", "rightOperand": "x"})
            )),
            "/permission/0/constraint/0/operator: `purpose` has no order, so `lt` cannot compare it"
        );
        assert_eq!(
            refused(with_constraint(json!({"leftOperand": "count", "operator": "lt", "rightOperand": 5}))),
            "/permission/0/constraint/0/rightOperand: must be a string, an object or an array of these (contract-schema.json)"
        );
    }

    #[test]
    fn a_peer_may_send_less_than_a_file_may_hold() {
        let rules = |count: usize| json!({"permission": vec![json!({"action": "use"}); count]});
        assert!(Policy::parse(&rules(256)).is_ok());
        assert_eq!(refused(rules(257)), "/permission/256: more than 256 rules");
        assert!(Policy::parse_odrl(&rules(1024)).is_ok() && Policy::parse_odrl(&rules(1025)).is_err());
        let leaf = json!({"leftOperand": "count", "operator": "lt", "rightOperand": "5"});
        let constraints = |count: usize| json!({"permission": [{"action": "use", "constraint": vec![leaf.clone(); count]}]});
        assert!(Policy::parse(&constraints(1024)).is_ok());
        assert!(refused(constraints(1025)).ends_with("more than 1024 constraints"));
        assert!(Policy::parse_odrl(&constraints(1025)).is_ok());
    }

    #[test]
    fn depth_is_bounded() {
        let mut nested = json!({"leftOperand": "count", "operator": "lt", "rightOperand": "5"});
        for _ in 0..=MAX_DEPTH {
            nested = json!({"and": [nested]});
        }
        assert!(refused(with_constraint(nested)).ends_with("constraints nested deeper than 8"));
    }

    #[test]
    fn prefixed_and_full_terms_are_the_compact_ones() {
        let policy = Policy::parse(&json!({
            "@id": "urn:x", "@type": "odrl:Offer",
            "permission": [{"action": "odrl:use", "constraint": [{
                "leftOperand": "http://www.w3.org/ns/odrl/2/dateTime", "operator": "odrl:lteq",
                "rightOperand": {"@value": "2023-12-31T06:00Z", "@type": "xsd:dateTime"}}]}]
        }))
        .unwrap();
        let rule = policy.permissions.first().unwrap();
        assert_eq!(rule.action, "use");
        let Some(Constraint::Atomic(atomic)) = rule.constraints.first() else { panic!("atomic expected") };
        assert_eq!((atomic.left.as_str(), atomic.operator), ("dateTime", Operator::Lteq));
        assert_eq!(atomic.right, vec![Value::Instant("2023-12-31T06:00:00Z".parse().unwrap())]);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        let limit = json!({"leftOperand": "count", "operator": "lt", "rightOperand": "5"});
        let read = |policy: &Json| Policy::parse_odrl(policy).map_err(|error| error.path().to_owned());
        let rule = |key: &str, value: Json| json!({"permission": [{"action": "use", key: value}]});
        for (policy, path) in [
            (rule("constraints", json!([limit])), "/permission/0/constraints"),
            (rule("ex:constraint", json!([limit])), "/permission/0/ex:constraint"),
            (rule("output", json!("urn:x")), "/permission/0/output"),
            (rule("remedy", json!([{"action": "delete"}])), "/permission/0/remedy"),
            (rule("consequence", json!([{"action": "delete"}])), "/permission/0/consequence"),
            (
                rule(
                    "constraint",
                    json!([{"leftOperand": "count", "operator": "lt", "rightOperand": "5", "until": "x"}]),
                ),
                "/permission/0/constraint/0/until",
            ),
            (
                rule("target", json!({"source": "urn:c", "refinements": [limit]})),
                "/permission/0/target/refinements",
            ),
            (
                json!({"permission": [{"action": {"@id": "use", "odrl:refine": [limit]}}]}),
                "/permission/0/action/refine",
            ),
            (json!({"permission": [{"action": "use"}], "prohibitions": []}), "/prohibitions"),
            (json!({"permission": [{"action": "use"}], "dct:isReplacedBy": "urn:new"}), "/dct:isReplacedBy"),
            (
                json!({"permission": [{"action": "use"}],
                "prohibition": [{"action": "sell", "remedy": [{"action": "inform", "consequence": [{"action": "delete"}]}]}]}),
                "/prohibition/0/remedy/0/consequence",
            ),
            (
                json!({"permission": [{"action": "use", "duty": [{"@id": "urn:elsewhere"}]}]}),
                "/permission/0/duty/0",
            ),
        ] {
            assert_eq!(read(&policy).unwrap_err(), path, "{policy}");
        }
        let described = json!({"@context": "http://www.w3.org/ns/odrl.jsonld", "dct:creator": "urn:me", "description": "x",
            "timestamp": "2026-01-01T00:00:00Z", "urn:concordat:serviceLevels": [], "permission": [{"action": "use",
                "rdfs:comment": "y", "constraint": [{"leftOperand": "count", "operator": "lt", "rightOperand": "5", "comment": "z"}]}]});
        assert!(Policy::parse(&described).is_ok());
    }

    #[test]
    fn a_record_with_what_is_not_understood_permits_nothing() {
        let known = crate::Hierarchy::shipped();
        let decide = |policy: &Json| {
            let policy = Policy::parse_record(policy).unwrap();
            let request = crate::Request { action: "use", party: "urn:p", target: None };
            crate::decide(&policy, &request, &crate::World::at(jiff::Timestamp::UNIX_EPOCH, &known)).outcome
        };
        for policy in [
            json!({"permission": [{"action": "use", "constraints": []}]}),
            json!({"permission": [{"action": "use"}], "inheritFrom": "urn:x"}),
            json!({"permission": [{"action": "use"}], "isReplacedBy": "urn:x"}),
            json!({"permission": [{"action": "use", "constraint": [{"leftOperand": "dateTime", "operator": "lt",
                "rightOperand": "2999-01-01T00:00:00[Europe/Brussels]"}]}]}),
            json!({"permission": [{"action": "use"}], "prohibition": [{"action": "use", "constraint": [
                {"leftOperand": "dateTime", "operator": "before", "rightOperand": "x"}]}]}),
        ] {
            assert_eq!(decide(&policy), crate::Outcome::Deny, "{policy}");
            assert!(Policy::parse(&policy).is_err(), "{policy}");
        }
        assert_eq!(decide(&json!({"permission": [{"action": "use"}]})), crate::Outcome::Permit);
    }

    #[test]
    fn what_others_write() {
        let read = |policy: Json| Policy::parse_odrl(&policy).unwrap();
        let old = read(
            json!({"@type": ["http://www.w3.org/ns/odrl/2/Set", "ex:Own"], "permission": {"action": {"odrl:type": "USE"}}}),
        );
        assert_eq!((old.kind, old.permissions[0].action.as_str()), (Kind::Set, "use"));
        let both = read(
            json!({"action": "play", "target": "urn:a", "permission": [{"action": "read", "target": "urn:b"}]}),
        );
        let pairs: Vec<_> = both
            .permissions
            .iter()
            .map(|one| (one.action.as_str(), one.target.clone().unwrap().id.unwrap()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("read", "urn:b".to_owned()),
                ("read", "urn:a".into()),
                ("play", "urn:b".into()),
                ("play", "urn:a".into())
            ]
        );
        let named = read(
            json!({"assignee": {"@type": "Party", "uid": "urn:p", "vcard:fn": "P"}, "permission": [{"action": "use"}]}),
        );
        assert_eq!(named.assignee.as_deref(), Some("urn:p"));
        let claim = read(
            json!({"permission": [{"action": "use", "constraint": [{"operator": "eq", "rightOperand": "BE",
            "ovc:leftOperand": "$.credentialSubject.gx:country", "ovc:credentialSubjectType": "gx:LegalParticipant"}]}]}),
        );
        assert!(claim.credential_kinds(&crate::Hierarchy::default()).contains("gx:LegalParticipant"));
        let duties = read(json!({"obligation": [{"action": "delete"}]}));
        assert_eq!(duties.obligations.len(), 1);
        let shared =
            read(json!({"permission": [{"action": "play", "duty": [{"@id": "urn:d", "action": "inform"}]},
            {"action": "read", "duty": [{"@id": "urn:d"}]}]}));
        let paths: Vec<_> = shared.duties().iter().map(|one| one.path.clone()).collect();
        assert_eq!(paths, ["/permission/0/duty/0", "/permission/0/duty/0"]);
    }
}
