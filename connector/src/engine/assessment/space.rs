//! What this node's records show of the data space that it is in: the rulebook, the directory, the catalogs and requests of
//! others.

use governance::mims::Finding;
use serde_json::{Value as Json, json};

use super::{Assessment, Ids};
use crate::engine::EngineError;
use crate::search::Question;
use crate::tables::{self, Accepted, Membership, Told, Watcher, prefix};

impl Assessment<'_> {
    pub(super) fn has_rulebook(&self) -> Result<bool, EngineError> {
        Ok(self.engine.rulebooks()?.iter().any(|one| one.state == "in force"))
    }

    pub(super) async fn check_space(&self, name: &str) -> Result<Option<Finding>, EngineError> {
        Ok(Some(match name {
            "rulebook-in-force" | "rulebook-known" | "rulebook-words" => self.check_rulebook(name)?,
            "offers-fit-rulebook" => self.check_fits()?,
            "directory" | "memberships-known" => self.check_members(name)?,
            "search-works" => self.check_search().await?,
            "requests-made" => {
                let made: Ids = self.engine.own_requests()?.into_iter().map(|one| one.request.id).collect();
                Finding::recorded(made.count, json!({"requests published": made.json()}))
            }
            "requests-received" => {
                let all = self.engine.crawls()?;
                let others = all.into_iter().filter(|crawl| crawl.peer != self.engine.did());
                let received: Ids =
                    others.flat_map(|crawl| crawl.requests).map(|request| request.id).collect();
                Finding::recorded(received.count, json!({"open requests of others": received.json()}))
            }
            "changes-told" => {
                let watchers = tables::all::<Watcher>(&self.engine.store, prefix::WATCHER)?;
                let told = self.engine.federation.told();
                let evidence = json!({
                    "participants that watch the catalog": watchers.len(),
                    "the last that took a notice, since the node started": told.as_ref().map(|(peer, at)| json!({"participant": peer, "at": at})),
                });
                Finding::recorded(usize::from(told.is_some()), evidence)
            }
            "gateway-read" => {
                let all = self.engine.all_in_use()?;
                let read: Ids = all
                    .iter()
                    .filter(|one| one.usage.requests > 0)
                    .map(|one| format!("{} of {}", one.used.dataset, one.used.provider))
                    .collect();
                Finding::recorded(
                    read.count,
                    json!({"datasets in use": all.len(), "read through the gateway": read.json()}),
                )
            }
            _ => return Ok(None),
        }))
    }

    /// A rulebook is used where somebody else has to do with it: its authority took this node's acceptance, or a member
    /// accepted what this node published.
    fn check_rulebook(&self, name: &str) -> Result<Finding, EngineError> {
        let own = self.engine.did();
        let all = self.engine.rulebooks()?;
        let members = tables::all::<Accepted>(&self.engine.store, prefix::ACCEPTANCE)?;
        let (mut in_force, mut used, mut foreign, mut clauses) =
            (Ids::default(), Ids::default(), Ids::default(), 0);
        for one in &all {
            let (book, accepted) = (&one.record.book, &one.record.accepted);
            let title = format!("version {} of {}", book.version, book.space);
            let taken = match one.record.authority == own {
                true => members.iter().any(|member| member.member != own && member.version == book.version),
                false => accepted.as_ref().is_some_and(|accepted| accepted.told == Told::Yes),
            };
            if one.record.authority != own {
                foreign.note(title.as_str());
            }
            if one.state == "in force" {
                clauses += book.clauses.len();
                if taken {
                    used.note(title.as_str());
                }
                in_force.note(title);
            }
        }
        let others = members.iter().filter(|member| member.member != own).count();
        Ok(match name {
            "rulebook-known" => {
                let evidence = json!({
                    "versions known": all.len(), "received from authorities": foreign.json(),
                    "acceptances of members": others,
                });
                match all.len() {
                    0 => Finding::not(json!("no rulebook is known here")),
                    _ => Finding::recorded(foreign.count + others, evidence),
                }
            }
            "rulebook-words" => match clauses {
                0 => Finding::not(json!("no rulebook is in force here")),
                _ => Finding::able(json!({"in force": in_force.json(), "clauses in words": clauses})),
            },
            _ => {
                let evidence = json!({
                    "in force": in_force.json(),
                    "accepted, and the other side has the acceptance": used.json(),
                });
                match in_force.count {
                    0 => Finding::not(json!("no rulebook is in force here")),
                    _ => Finding::recorded(used.count, evidence),
                }
            }
        })
    }

    fn check_fits(&self) -> Result<Finding, EngineError> {
        let offers =
            tables::all::<::catalog::ContractDefinition>(&self.engine.store, prefix::CONTRACT_DEFINITION)?;
        if !self.has_rulebook()? || offers.is_empty() {
            let what =
                if offers.is_empty() { "nothing is offered here" } else { "no rulebook is in force here" };
            return Ok(Finding::not(json!(what)));
        }
        let check = self.engine.check_rulebook()?;
        let against = check.get("offers").and_then(Json::as_array).into_iter().flatten();
        let against: Ids =
            against.filter_map(|one| one.get("contractDefinition").and_then(Json::as_str)).collect();
        let evidence =
            json!({"offers held against the rulebook now": offers.len(), "against a clause": against.json()});
        Ok(Finding::probed(against.is_empty(), evidence))
    }

    /// Lists of authorities that this node trusts, with somebody else on them.
    fn check_members(&self, name: &str) -> Result<Finding, EngineError> {
        let trusted = self.engine.authorities()?;
        let lists: Vec<_> = tables::all::<Membership>(&self.engine.store, prefix::MEMBERSHIP)?
            .into_iter()
            .filter(|one| trusted.contains(&one.authority))
            .collect();
        let others = |one: &Membership| {
            let others = one.list.members.iter().filter(|member| member.did != self.engine.did());
            others.filter(|member| name == "directory" || !member.credentials.is_empty()).count()
        };
        let told: Vec<_> = lists
            .iter()
            .map(|one| json!({"data space": one.list.space, "members besides this node": others(one)}))
            .collect();
        match lists.len() {
            0 => Ok(Finding::not(json!("no list of members of a trusted authority is known here"))),
            _ => Ok(Finding::recorded(
                lists.iter().map(others).sum(),
                json!({"signed lists of authorities": told}),
            )),
        }
    }

    /// Looks for a dataset of somebody else.
    async fn check_search(&self) -> Result<Finding, EngineError> {
        let own = self.engine.did();
        let read: Vec<_> = self
            .engine
            .crawls()?
            .into_iter()
            .filter(|crawl| crawl.peer != own && crawl.seen.is_some())
            .collect();
        let mut found = Vec::new();
        for crawl in read.iter().filter(|crawl| crawl.datasets > 0).take(super::NAMED) {
            let question =
                Question { participant: Some(crawl.peer.clone()), limit: Some(1), ..Question::default() };
            let total = self.engine.search(question).await?.total;
            if total > 0 {
                found.push(json!({"participant": crawl.peer, "datasets found": total}));
            }
        }
        let evidence = json!({"catalogs of others that were read": read.len(), "found in them": found});
        Ok(match (read.len(), found.is_empty()) {
            (0, _) => Finding::not(json!("no catalog of another participant is read here")),
            (_, true) => Finding::able(evidence),
            (_, false) => Finding::probed(true, evidence),
        })
    }
}
