//! The participants' directory: who belongs to the data spaces whose authorities this node trusts, in which roles; and as an
//! authority, the list that it gives to its members.

use std::collections::BTreeMap;

use jiff::Timestamp;
use protocol::RefusalKind;
use store::Batch;
use trust::members::{MAX_LIST, Member, MemberList};

use super::{Engine, EngineError};
use crate::clock;
use crate::tables::{self, Crawl, IssuedCredential, Membership, Peer, prefix};

/// Path of the list below an issuer service. Ours, beside the protocol.
pub(crate) const MEMBERS_PATH: &str = "members";
/// Most participants in the directory.
const MAX_PARTICIPANTS: usize = 100_000;

/// What this node knows of a participant.
#[derive(Debug, Clone, Default)]
pub struct Participant {
    /// Where it is, if it was ever found.
    pub address: Option<String>,
    /// As a member: of which data spaces, with what.
    pub memberships: Vec<(String, Member)>,
    /// How reading its catalog went.
    pub crawl: Option<Crawl>,
    /// Since when this node knows its address.
    pub met: Option<Timestamp>,
}

impl Engine {
    /// The list of members, signed, for one of them.
    ///
    /// # Errors
    /// This node is no authority, or `asker` no member: the same answer for both.
    pub fn member_list(&self, asker: &str) -> Result<String, EngineError> {
        let authority = self.authority()?;
        let now = clock::now();
        let valid = |one: &IssuedCredential| one.revoked_at.is_none() && one.until > now;
        let mut members: BTreeMap<String, Member> = BTreeMap::new();
        for one in self.issued()?.into_iter().filter(valid) {
            let member = members.entry(one.holder.clone()).or_insert_with(|| Member {
                did: one.holder,
                since: one.at,
                credentials: Vec::new(),
                roles: Vec::new(),
            });
            member.since = member.since.min(one.at);
            for (list, value) in [(&mut member.credentials, Some(one.kind)), (&mut member.roles, one.role)] {
                list.extend(value);
                list.sort();
                list.dedup();
            }
        }
        if asker != self.did() && !members.contains_key(asker) {
            let reason = "the list of members is for members";
            return Err(EngineError::refused(RefusalKind::NotFound, reason));
        }
        let list =
            MemberList { space: authority.space.clone(), at: now, members: members.into_values().collect() };
        Ok(self.identity.sign_members(&list)?)
    }

    /// Asks every authority that this node trusts for its members. One that has no list, or does not answer, stays with what
    /// it said last.
    pub async fn refresh_members(&self) {
        let trusted = match self.authorities() {
            Ok(trusted) => trusted,
            Err(error) => return tracing::error!(%error, "the trust list cannot be read"),
        };
        for authority in trusted {
            // Not every authority has one.
            if let Err(error) = self.fetch_rulebook(&authority).await {
                tracing::debug!(%error, authority, "its rulebook is not known anew");
            }
            if let Err(error) = self.refresh_members_of(&authority).await {
                tracing::info!(%error, authority, "its members are not known anew");
                self.resolver.forget_failure(&authority);
            }
        }
    }

    async fn refresh_members_of(&self, authority: &str) -> Result<(), EngineError> {
        let now = clock::now();
        let list = if authority == self.did() {
            let document = self.identity.document()?;
            trust::members::open(&self.member_list(authority)?, &document, now)?
        } else {
            // Its key may have changed.
            let document = self.resolver.refreshed(authority).await.map_err(EngineError::Peer)?;
            let service = document.service("IssuerService").ok_or_else(|| {
                EngineError::Peer(format!("the DID document of `{authority}` names no IssuerService"))
            })?;
            let url = format!("{}/{MEMBERS_PATH}", service.trim_end_matches('/'));
            self.guard.check_url(&url).map_err(|error| EngineError::Peer(error.to_string()))?;
            let body = self.get(&url, Some(authority), MAX_LIST).await?;
            let compact = String::from_utf8(body)
                .map_err(|_| EngineError::Peer(format!("{url} answered with something else than a list")))?;
            trust::members::open(&compact, &document, clock::now())?
        };
        let key = tables::key(prefix::MEMBERSHIP, &trust::did::segment(authority));
        let before = tables::load::<Membership>(&self.store, &key)?;
        if before
            .is_some_and(|(before, _)| before.list.members == list.members && before.list.space == list.space)
        {
            return Ok(());
        }
        let mut batch = Batch::new();
        tables::put(&mut batch, key, &Membership { authority: authority.to_owned(), list })?;
        self.commit(batch).await?;
        Ok(())
    }

    /// Everybody this node knows of, by DID: members of its data spaces, those whose catalogs it reads, those it talked to.
    ///
    /// # Errors
    /// The store failed.
    pub fn participants(&self) -> Result<BTreeMap<String, Participant>, EngineError> {
        let mut all: BTreeMap<String, Participant> = BTreeMap::new();
        let trusted = self.authorities()?;
        // Whoever is not trusted any more has no say in who belongs to what.
        let memberships = tables::all::<Membership>(&self.store, prefix::MEMBERSHIP)?;
        for Membership { list, .. } in memberships.into_iter().filter(|one| trusted.contains(&one.authority))
        {
            for member in list.members.into_iter().take(MAX_PARTICIPANTS) {
                let one = all.entry(member.did.clone()).or_default();
                one.memberships.push((list.space.clone(), member));
            }
        }
        for peer in tables::all::<Peer>(&self.store, prefix::PEER)? {
            let one = all.entry(peer.did).or_default();
            (one.address, one.met) = (Some(peer.address), Some(peer.last_seen));
        }
        for crawl in tables::all::<Crawl>(&self.store, prefix::CRAWL)? {
            let one = all.entry(crawl.peer.clone()).or_default();
            one.crawl = Some(crawl);
        }
        all.remove(self.did());
        Ok(all)
    }
}
