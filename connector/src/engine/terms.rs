//! The terms of a negotiation: what this side wants, how that differs from what is on the table, and what would do.

use jiff::Timestamp;
use policy_engine::{
    Atomic, Cause, Change, Constraint, Policy, Proposal, Request, Rule, Severity, Usage, World, decide,
    difference, explain, promised, propose, within,
};
use protocol::negotiation::Negotiation;
use protocol::wire::Offer;
use protocol::{RefusalKind, Role};
use serde_json::{Value as Json, json};

use super::{Engine, EngineError};
use crate::clock;
use crate::config::PeerProfile;
use crate::tables::NegotiationRecord;

/// Largest request for which a refusal also says what would do: that takes far more work than to refuse.
const MAX_RULES: usize = 16;
const MAX_ATOMS: usize = 64;

impl Engine {
    /// What of `policy` this node does not understand, each with its place; `None` where it is all understood. It would deny
    /// at the first read, so it is said before.
    pub(super) fn strange(&self, policy: &Policy) -> Option<String> {
        let doubts = policy_engine::not_understood(policy, &self.known);
        let said: Vec<_> = doubts.iter().map(|doubt| format!("{}: {}", doubt.path, doubt.text)).collect();
        (!said.is_empty()).then(|| format!("these terms may never permit a read: {}", said.join("; ")))
    }

    /// What of a policy is not understood here, each with its place, in words; nothing where all of it is.
    #[must_use]
    pub fn doubts(&self, policy: &Json) -> Vec<String> {
        match Policy::parse(&policy_engine::unrestricted(policy.clone())) {
            Err(error) => vec![error.to_string()],
            Ok(policy) => {
                let doubts = policy_engine::not_understood(&policy, &self.known);
                let nothing = self.permits_nothing(&policy, clock::now());
                doubts.iter().map(|doubt| format!("{}: {}", doubt.path, doubt.text)).chain(nothing).collect()
            }
        }
    }

    /// Gives a request that names an offer and has no rules, as programs of EDC write one whose terms are open, what it stands
    /// for: the permission to use; towards EDC, which compares with its own empty lists, lists of nothing.
    pub fn fill_open_terms(&self, peer: &str, policy: &mut serde_json::Map<String, Json>) {
        // In whatever way the keys are written.
        let is_rules = |name: &String| {
            let term = name.rsplit([':', '/']).next().unwrap_or_default();
            ["permission", "prohibition", "obligation"].contains(&term)
        };
        if policy.keys().any(is_rules) {
            return;
        }
        let rules = match self.rules.profile(peer) {
            PeerProfile::Edc => json!([]),
            PeerProfile::Dsp => json!([{"action": "use"}]),
        };
        policy.insert("permission".to_owned(), rules);
    }

    /// The offer for the dataset of a negotiation as published now.
    pub(super) fn published(&self, negotiation: &Negotiation, now: Timestamp) -> Result<Offer, EngineError> {
        let (dataset, peer) = (negotiation.dataset.as_str(), negotiation.peer.as_str());
        let asset = self.asset(dataset)?;
        let offer = asset.and_then(|asset| self.offers_of(&asset, peer, now).into_iter().next());
        let offer = offer.ok_or_else(|| {
            EngineError::refused(
                RefusalKind::TermsNotOffered,
                format!("`{dataset}` is not offered to `{peer}` any more"),
            )
        })?;
        Offer::parse(offer.policy).map_err(|reason| EngineError::refused(RefusalKind::Malformed, reason))
    }

    /// What this side wants: the terms it published, or those it asked for; `None` where it wants nothing yet.
    pub(super) fn own_terms(&self, record: &NegotiationRecord, now: Timestamp) -> Option<Offer> {
        match record.negotiation.role {
            Role::Consumer => record.wanted.clone(),
            Role::Provider => self.published(&record.negotiation, now).ok(),
        }
    }

    /// What this side wants, as an offer: the terms it published, or those it asked for.
    #[must_use]
    pub fn own_offer(&self, record: &NegotiationRecord) -> Option<Offer> {
        self.own_terms(record, clock::now())
    }

    /// Terms as an offer of the negotiation `pid`: its id, its class, the dataset and who grants are filled in where they are
    /// not said.
    ///
    /// # Errors
    /// There is no such negotiation.
    pub fn as_offer_of(&self, pid: &str, mut terms: Json) -> Result<Json, EngineError> {
        let record = self.negotiation(pid)?;
        let ours = &record.negotiation;
        let provider = match ours.role {
            Role::Consumer => ours.peer.as_str(),
            Role::Provider => self.did(),
        };
        if let Some(map) = terms.as_object_mut() {
            if map.get("@type").is_none_or(|kind| kind == "Set") {
                map.insert("@type".to_owned(), json!("Offer"));
            }
            let whole = [
                ("@id", json!(ours.offer.id())),
                ("target", json!(ours.dataset)),
                ("assigner", json!(provider)),
            ];
            for (name, value) in whole {
                map.entry(name).or_insert(value);
            }
        }
        Ok(terms)
    }

    /// What is hardly meant of a policy, each with its place; that is not looked for in terms that are very large.
    #[must_use]
    pub fn warnings(&self, policy: &Json) -> Vec<String> {
        let Ok(policy) = Policy::parse(&policy_engine::unrestricted(policy.clone())) else {
            return Vec::new();
        };
        if is_large(&policy) {
            return Vec::new();
        }
        let doubts = policy_engine::lint(&policy, clock::now(), &self.known).into_iter();
        let serious = doubts.filter(|doubt| doubt.severity == Severity::Warning);
        serious.map(|doubt| format!("{}: {}", doubt.path, doubt.text)).collect()
    }

    /// How the terms on the table differ from what this side wants, in words.
    #[must_use]
    pub fn differences(&self, record: &NegotiationRecord) -> Vec<String> {
        let own = self.own_terms(record, clock::now());
        own.map(|own| difference(own.policy(), record.negotiation.offer.policy())).unwrap_or_default()
    }

    /// The largest terms within both what this side wants and what is on the table, under the id on the table.
    pub(super) fn meeting(&self, record: &NegotiationRecord, now: Timestamp) -> Result<Offer, EngineError> {
        let table = &record.negotiation.offer;
        let refuse = |reason: &str| EngineError::refused(RefusalKind::TermsNotOffered, reason);
        let own = self
            .own_terms(record, now)
            .ok_or_else(|| refuse("this side wants no terms that could be met"))?;
        let policy = match propose(own.policy(), table.policy(), &self.known) {
            Proposal::Terms(policy) => policy,
            Proposal::Nothing => {
                return Err(refuse("no terms lie within both what this side wants and what is on the table"));
            }
            Proposal::Unknown => {
                return Err(refuse(
                    "it is not known whether any terms lie within both what this side wants and what is on the table; \
                     `concordat policy compare` tells what is missing",
                ));
            }
        };
        let mut json = policy.write();
        if let Some(map) = json.as_object_mut() {
            map.insert("@id".to_owned(), json!(table.id()));
            map.insert("@type".to_owned(), json!("Offer"));
        }
        Offer::parse(json).map_err(|reason| EngineError::refused(RefusalKind::Malformed, reason))
    }

    /// Why the terms asked for are not within those offered, and what would be.
    pub(super) fn outside(&self, asked: &Offer, offered: &Offer) -> Option<String> {
        if asked.service_levels() != offered.service_levels() {
            return Some("the service levels asked for are not those offered; they are taken as they are, or negotiated by hand".to_owned());
        }
        let reason = within(asked.policy(), offered.policy(), &self.known).reason()?;
        if is_large(asked.policy()) {
            return Some(reason);
        }
        Some(match propose(asked.policy(), offered.policy(), &self.known) {
            Proposal::Terms(both) => {
                format!("{reason}; within both would be: {}", explain::policy(&both).join("; "))
            }
            Proposal::Nothing => {
                format!("{reason}; no terms lie within both, so there is no counter-offer")
            }
            Proposal::Unknown => reason,
        })
    }

    /// Why nothing is ever permitted under `policy` from now on; that is not looked for in terms that are very large.
    pub(super) fn permits_nothing(&self, policy: &Policy, now: Timestamp) -> Option<String> {
        let doubt = (!is_large(policy))
            .then(|| policy_engine::permits_nothing(policy, now, &self.known))
            .flatten()?;
        Some(format!("nothing could ever be read under these terms: {}: {}", doubt.path, doubt.text))
    }

    /// Why nothing could be read under terms of which every way to read demands credentials that `participant` has not shown, or
    /// that were revoked: said where they are negotiated, and not at the first read.
    pub(super) fn not_entitled(&self, participant: &str, policy: &Policy, now: Timestamp) -> Option<String> {
        let asks = |atom: &&Atomic| atom.operand.is_some_and(|operand| operand.changes == Change::Credential);
        let demands = |rule: &Rule| rule.conditions().flat_map(Constraint::atoms).any(|atom| asks(&atom));
        if !policy.permissions.iter().any(demands) {
            return None;
        }
        let (credentials, _) = self.claims.of(participant, now);
        let request = Request { action: "read", party: participant, target: policy.target.as_deref() };
        let usage = Usage { count: Some(1), ..Usage::default() };
        let world =
            World { usage, since: Some(now), credentials: &credentials, ..World::at(now, &self.known) };
        // Each way alone: whether it leads to a read, and whether only a credential is missing on it.
        let mut ways = policy.permissions.iter().filter_map(|permission| {
            let alone = Policy { permissions: vec![permission.clone()], ..policy.clone() };
            let uses = promised(&alone, request.action, &self.known);
            let mut leads = false;
            let for_lack_of_it = uses.iter().all(|stated| {
                let verdict = decide(&alone, &request, &World { stated, ..world.clone() });
                leads |= !matches!(verdict.cause, Cause::NoPermission | Cause::OfOthers);
                // Where something else stands in the way as well, it may pass.
                matches!(verdict.cause, Cause::Unmet(_, unmet) if unmet.atoms().iter().all(asks))
            });
            leads.then_some(for_lack_of_it)
        });
        let all_lack_it = ways.next()? && ways.all(|lacks| lacks);
        all_lack_it.then(|| {
            let terms = explain::policy(policy).join("; ");
            format!("you have shown no credential that these terms demand, so nothing could be read under them: {terms}")
        })
    }

    /// Why a counter-offer is not within what is offered for the dataset now.
    pub(super) fn terms_refused(&self, negotiation: &Negotiation, now: Timestamp) -> Option<String> {
        let asset = self.asset(negotiation.dataset.as_str()).ok().flatten();
        let offers = asset.map(|asset| self.offers_of(&asset, negotiation.peer.as_str(), now));
        let offers = offers.filter(|offers| !offers.is_empty());
        let Some(offers) = offers else {
            return Some(format!("`{}` is not offered any more", negotiation.dataset));
        };
        let mut refused = None;
        for offer in offers {
            let Ok(terms) = Offer::parse(offer.policy) else { continue };
            let outside = self.outside(&negotiation.offer, &terms)?;
            refused = refused.or(Some(outside));
        }
        refused
    }
}

/// Whether to work out what could be permitted under it at all would take too long.
fn is_large(policy: &Policy) -> bool {
    let atoms = policy.rules().flat_map(Rule::conditions).flat_map(Constraint::atoms).count();
    policy.rules().count() > MAX_RULES || atoms > MAX_ATOMS
}
