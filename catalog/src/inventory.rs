//! What is on offer, to whom: an index of everything that an operator manages, kept up to date change by change.
//!
//! It holds no descriptions: those are read where they are kept, for the datasets of a page alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use policy_engine::{Hierarchy, Purpose, unrestricted};
use roaring::{MultiOps as _, RoaringBitmap};
use serde_json::Value as Json;

use crate::filter::Filter;
use crate::index::Index;
use crate::model::{Asset, ContractDefinition, PolicyDefinition};
use crate::offer::{Terms, resolve};
use crate::places::Places;
use crate::selectors::Selectors;
use crate::view::{Asker, View};
use crate::{LISTED, OPEN, VISIBILITY};

/// Purposes for which it is remembered which definitions serve them.
const MAX_PURPOSES: usize = 64;

/// All that is managed, by what is asked about it.
#[derive(Debug, Default)]
pub struct Inventory {
    pub(crate) known: Arc<Hierarchy>,
    pub(crate) places: Places,
    pub(crate) index: Index,
    /// Ids of the datasets that the public catalogue shows, in order.
    listed: Vec<Arc<str>>,
    open: RoaringBitmap,
    policies: BTreeMap<String, Json>,
    pub(crate) definitions: BTreeMap<String, Resolved>,
    pub(crate) selectors: Selectors,
    /// What follows from the definitions, once somebody asked.
    derived: Derived,
}

/// What follows from definitions and policies; begun anew when one of them changes.
#[derive(Debug, Default)]
struct Derived {
    /// Types of credentials that policies ask for.
    kinds: OnceLock<BTreeSet<String>>,
    /// Definitions by what their access policy says.
    groups: OnceLock<BTreeMap<String, Group>>,
    /// By purpose, the definitions that serve it.
    served: Mutex<BTreeMap<String, Arc<BTreeSet<String>>>>,
}

/// Definitions whose access policies say the same.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) definitions: BTreeSet<String>,
    /// The datasets of all of them.
    pub(crate) offered: OnceLock<RoaringBitmap>,
}

/// A contract definition, and what its policies come to; `None` where one of them is missing.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) definition: ContractDefinition,
    pub(crate) selected: Selected,
    pub(crate) offer: Option<Terms>,
}

/// Which datasets a contract definition offers.
#[derive(Debug)]
pub(crate) enum Selected {
    All,
    These(RoaringBitmap),
}

impl Inventory {
    /// An empty one, which reads places and purposes with `known`.
    #[must_use]
    pub fn new(known: Arc<Hierarchy>) -> Self {
        Self { known, ..Self::default() }
    }

    /// Takes an asset in place of the one that it was before; `None` for one that was not there, or is there no more.
    pub fn change_asset(&mut self, before: Option<&Asset>, after: Option<&Asset>) {
        if let Some(asset) = before {
            self.mark(asset, false);
            if after.is_none_or(|after| after.id != asset.id) {
                self.places.give_back(&asset.id);
            }
        }
        if let Some(asset) = after
            && self.places.take(&asset.id).is_some()
        {
            self.mark(asset, true);
        }
    }

    /// Puts an asset into every set that it belongs to, or takes it out.
    fn mark(&mut self, asset: &Asset, there: bool) {
        let Some(place) = self.places.by_id.get(asset.id.as_str()).copied() else { return };
        for group in self.derived.groups.get_mut().into_iter().flat_map(BTreeMap::values_mut) {
            group.offered = OnceLock::new();
        }
        self.index.change(place, asset, there);
        let candidates: Vec<_> = self.selectors.candidates(asset).into_iter().map(str::to_owned).collect();
        for id in candidates {
            if let Some(Resolved { definition, selected: Selected::These(datasets), .. }) =
                self.definitions.get_mut(&id)
                && definition.selects(asset)
            {
                set(datasets, place, there);
            }
        }
        set(&mut self.open, place, there && visibility(asset) == Some(OPEN));
        let listed = there && matches!(visibility(asset), Some(LISTED | OPEN));
        match (self.listed.binary_search_by(|id| id.as_ref().cmp(asset.id.as_str())), listed) {
            (Err(at), true) => self.listed.insert(at, asset.id.as_str().into()),
            (Ok(at), false) => drop(self.listed.remove(at)),
            _ => {}
        }
    }

    /// Takes a policy, or lets it go; contract definitions that name it follow.
    pub fn change_policy(&mut self, id: &str, after: Option<&PolicyDefinition>) {
        self.derived = Derived::default();
        match after {
            Some(policy) => self.policies.insert(id.to_owned(), unrestricted(policy.policy.clone())),
            None => self.policies.remove(id),
        };
        for resolved in self.definitions.values_mut() {
            if resolved.definition.access_policy_id == id || resolved.definition.contract_policy_id == id {
                resolved.offer = resolve(&self.policies, &resolved.definition);
            }
        }
    }

    /// Takes a contract definition, or lets it go; `among` are the assets that it may select, unless it selects all.
    pub fn change_definition<'a>(
        &mut self,
        id: &str,
        after: Option<ContractDefinition>,
        among: impl IntoIterator<Item = &'a Asset>,
    ) {
        self.derived = Derived::default();
        if let Some(before) = self.definitions.remove(id) {
            self.selectors.change(&before.definition, false);
        }
        let Some(definition) = after else { return };
        let selected = if definition.assets_selector.is_empty() {
            Selected::All
        } else {
            let these = among.into_iter().filter(|asset| definition.selects(asset));
            Selected::These(
                these.filter_map(|asset| self.places.by_id.get(asset.id.as_str()).copied()).collect(),
            )
        };
        self.selectors.change(&definition, true);
        let offer = resolve(&self.policies, &definition);
        self.definitions.insert(id.to_owned(), Resolved { definition, selected, offer });
    }

    /// A contract definition that offers nothing, because a policy that it names is missing.
    pub fn incomplete(&self) -> impl Iterator<Item = &str> {
        self.definitions.iter().filter(|(_, one)| one.offer.is_none()).map(|(id, _)| id.as_str())
    }

    /// A contract definition that names the policy `id`.
    #[must_use]
    pub fn user_of_policy(&self, id: &str) -> Option<&str> {
        let mut all = self.definitions.iter();
        let user = all.find(|(_, one)| {
            one.definition.access_policy_id == id || one.definition.contract_policy_id == id
        });
        user.map(|(id, _)| id.as_str())
    }

    /// The types of the credentials that policies ask of participants; an empty name stands for any type.
    #[must_use]
    pub fn credential_kinds(&self) -> &BTreeSet<String> {
        self.derived.kinds.get_or_init(|| {
            let offers = self.definitions.values().filter_map(|one| one.offer.as_ref());
            let policies = offers.flat_map(|offer| [Some(&offer.access), offer.contract.as_ref()]);
            policies.flatten().flat_map(|policy| policy.credential_kinds(&self.known)).collect()
        })
    }

    /// How many datasets are managed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.by_id.len()
    }

    /// Whether nothing is managed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.by_id.is_empty()
    }

    /// The ids of the datasets that the public catalogue shows, in order.
    #[must_use]
    pub fn listed(&self) -> &[Arc<str>] {
        &self.listed
    }

    /// Those of them that `filter` fits, and of which something else is said since `since`. A filter's purpose is about
    /// offers, which the public catalogue does not show.
    #[must_use]
    pub fn listed_that_fit(&self, filter: &Filter, since: Option<Timestamp>) -> Vec<Arc<str>> {
        let mut sets: Vec<_> =
            filter.terms().iter().filter_map(|terms| self.index.fitting(terms, &self.known)).collect();
        sets.extend(since.map(|since| self.index.since(since)));
        let fits = |id: &&Arc<str>| {
            self.places
                .by_id
                .get(id.as_ref())
                .is_some_and(|place| sets.iter().all(|set| set.contains(*place)))
        };
        self.listed.iter().filter(fits).map(Arc::clone).collect()
    }

    /// Whether the public catalogue shows the dataset `id`.
    #[must_use]
    pub fn is_listed(&self, id: &str) -> bool {
        self.listed.binary_search_by(|one| one.as_ref().cmp(id)).is_ok()
    }

    /// Whether everybody may read the dataset `id`.
    #[must_use]
    pub fn is_open(&self, id: &str) -> bool {
        self.places.by_id.get(id).is_some_and(|place| self.open.contains(*place))
    }

    pub(crate) fn groups(&self) -> &BTreeMap<String, Group> {
        self.derived.groups.get_or_init(|| {
            let mut groups: BTreeMap<String, Group> = BTreeMap::new();
            for (id, offer) in self.definitions.iter().filter_map(|(id, one)| Some((id, one.offer.as_ref()?)))
            {
                groups.entry(offer.access_digest.clone()).or_default().definitions.insert(id.clone());
            }
            groups
        })
    }

    /// The datasets that some of the definitions offer.
    pub(crate) fn offered_by<'a>(&self, definitions: impl Iterator<Item = &'a String>) -> RoaringBitmap {
        let mut sets = Vec::new();
        for resolved in definitions.filter_map(|id| self.definitions.get(id)) {
            match &resolved.selected {
                Selected::All => return self.places.taken.clone(),
                Selected::These(datasets) => sets.push(datasets),
            }
        }
        sets.into_iter().union()
    }

    /// The definitions whose terms serve a purpose.
    pub(crate) fn serving(&self, name: &str, purpose: &Purpose) -> Arc<BTreeSet<String>> {
        let mut served = self.derived.served.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = served.get(name) {
            return Arc::clone(known);
        }
        let serves = |one: &Resolved| {
            let terms = one.offer.as_ref().and_then(|offer| offer.contract.as_ref());
            terms.is_some_and(|terms| purpose.is_served_by(terms, &self.known))
        };
        let found = self.definitions.iter().filter(|(_, one)| serves(one)).map(|(id, _)| id.clone());
        let found = Arc::new(found.collect::<BTreeSet<_>>());
        // What strangers ask for must not fill the memory.
        if served.len() >= MAX_PURPOSES {
            served.clear();
        }
        served.insert(name.to_owned(), Arc::clone(&found));
        found
    }

    /// What `asker` may see at `now`.
    #[must_use]
    pub fn view<'a>(&'a self, asker: Asker<'a>, now: Timestamp) -> View<'a> {
        View::new(self, asker, now)
    }
}

fn set(datasets: &mut RoaringBitmap, place: u32, there: bool) {
    match there {
        true => datasets.insert(place),
        false => datasets.remove(place),
    };
}

fn visibility(asset: &Asset) -> Option<&str> {
    asset.properties.get(VISIBILITY).and_then(Json::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::description::Description;
    use crate::view::{Cursor, Page};

    fn asset(id: &str) -> Asset {
        serde_json::from_value(json!({"@id": id, "properties": {"city": "Paris"}})).unwrap()
    }

    fn policy(id: &str, policy: Json) -> PolicyDefinition {
        PolicyDefinition { id: id.to_owned(), policy, ..PolicyDefinition::default() }
    }

    fn definition(id: &str, access: &str, contract: &str, selector: Json) -> ContractDefinition {
        serde_json::from_value(json!({"@id": id, "accessPolicyId": access, "contractPolicyId": contract,
            "assetsSelector": selector}))
        .unwrap()
    }

    fn by(did: &str) -> Asker<'_> {
        Asker { did, credentials: &[] }
    }

    fn inventory(
        assets: &[Asset],
        policies: &[PolicyDefinition],
        definitions: &[ContractDefinition],
    ) -> Inventory {
        let mut made = Inventory::new(Arc::new(Hierarchy::shipped()));
        for policy in policies {
            made.change_policy(&policy.id, Some(policy));
        }
        for one in definitions {
            made.change_definition(&one.id, Some(one.clone()), assets);
        }
        for asset in assets {
            made.change_asset(None, Some(asset));
        }
        made
    }

    fn seen(made: &Inventory, asker: Asker<'_>, filter: Json) -> Vec<String> {
        let filter = Filter::parse(&[filter]).unwrap();
        let page = made.view(asker, Timestamp::UNIX_EPOCH).page(&filter, &Cursor::Start, 1000);
        page.ids.iter().map(ToString::to_string).collect()
    }

    fn open() -> Json {
        json!({"@type": "Set", "permission": [{"action": "use"}]})
    }

    #[test]
    fn credentials_open_what_an_access_policy_asks_for() {
        let members = json!({"@type": "Set", "permission": [{"action": "use", "constraint": [
            {"leftOperand": "urn:concordat:membership", "operator": "eq", "rightOperand": "urn:space"}]}]});
        let made = inventory(
            &[asset("x")],
            &[policy("members", members), policy("open", open())],
            &[definition("d", "members", "open", json!([]))],
        );
        assert!(made.credential_kinds().iter().eq(["MembershipCredential"]));
        let shown = [
            json!({"type": ["VerifiableCredential", "MembershipCredential"], "credentialSubject": {"memberOf": "urn:space"}}),
        ];
        assert!(seen(&made, by("did:web:a"), json!({})).is_empty());
        assert_eq!(seen(&made, Asker { did: "did:web:a", credentials: &shown }, json!({})), ["x"]);
    }

    fn three() -> Inventory {
        let only_b = json!({"@type": "Set", "permission": [{"action": "use", "constraint": [
            {"leftOperand": "assignee", "operator": "eq", "rightOperand": "did:web:b"}]}]});
        let by_id = |id: &str| json!([{"operandLeft": "id", "operator": "=", "operandRight": id}]);
        inventory(
            &[asset("x"), asset("y"), asset("hidden")],
            &[policy("open", open()), policy("only-b", only_b)],
            &[
                definition("d1", "open", "open", by_id("x")),
                definition("d2", "only-b", "open", by_id("y")),
                definition("d3", "open", "missing", json!([])),
            ],
        )
    }

    #[test]
    fn each_sees_what_its_access_policy_admits_and_nothing_else() {
        let (made, now) = (three(), Timestamp::UNIX_EPOCH);
        assert_eq!(made.incomplete().collect::<Vec<_>>(), ["d3"]);
        assert_eq!(seen(&made, by("did:web:a"), json!({})), ["x"]);
        assert_eq!(seen(&made, by("did:web:b"), json!({})), ["x", "y"]);
        let offers = |asker| made.view(by(asker), now).offers(&asset("y"));
        assert!(offers("did:web:a").is_empty());
        let offer = offers("did:web:b").pop().unwrap();
        assert_eq!(made.view(by("did:web:b"), now).offer(&offer.id), Some(offer.clone()));
        assert_eq!(
            made.view(by("did:web:a"), now).offer(&offer.id),
            None,
            "an offer id tells a stranger nothing"
        );
        assert!(offer.policy.get("target").is_none());
        let other = offer.id.replace(":y:", ":x:");
        assert_eq!(made.view(by("did:web:b"), now).offer(&other), None, "d2 does not offer x");
        for wrong in ["urn:x", "urn:concordat:offer:d2:y", "urn:concordat:offer:d2:y:00:1"] {
            assert_eq!(made.view(by("did:web:b"), now).offer(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn changes_come_to_the_same_as_beginning_anew() {
        let mut made = three();
        let paris = json!([{"operandLeft": "city", "operator": "=", "operandRight": "Paris"}]);
        let a = by("did:web:a");
        // A missing policy comes, a selector changes, assets come and go and change.
        made.change_policy("missing", Some(&policy("missing", open())));
        assert_eq!(seen(&made, a, json!({})), ["hidden", "x", "y"]);
        let all = [asset("hidden"), asset("x"), asset("y")];
        made.change_definition("d3", Some(definition("d3", "open", "missing", paris)), &all);
        assert_eq!(seen(&made, a, json!({})), ["hidden", "x", "y"]);
        let mut moved = asset("hidden");
        moved.properties.insert("city".to_owned(), json!("London"));
        made.change_asset(Some(&asset("hidden")), Some(&moved));
        made.change_asset(None, Some(&asset("new")));
        made.change_asset(Some(&asset("y")), None);
        assert_eq!(seen(&made, a, json!({})), ["new", "x"]);
        made.change_asset(None, Some(&asset("y2")));
        assert_eq!((seen(&made, a, json!({})), made.len()), (vec!["new".into(), "x".into(), "y2".into()], 4));
        assert_eq!(made.user_of_policy("missing"), Some("d3"));
        made.change_definition("d3", None, []);
        assert_eq!((seen(&made, a, json!({})), made.user_of_policy("missing")), (vec!["x".into()], None));
        made.change_policy("open", None);
        assert!(seen(&made, a, json!({})).is_empty());
    }

    #[test]
    fn every_member_of_a_filter_must_fit() {
        let description = Description {
            title: "Hourly NO2 in Antwerp".into(),
            keywords: vec!["air quality".into()],
            publisher: Some("City of Antwerp".into()),
            place: Some("http://publications.europa.eu/resource/authority/country/BEL".into()),
            from: Some("2019-05-07".to_owned()),
            until: Some("2019-06-17T12:00:00Z".to_owned()),
            form: crate::description::Form { media_type: Some("text/csv".to_owned()), ..Default::default() },
            ..Description::default()
        };
        let mut no2 = asset("urn:no2");
        no2.properties = description.to_properties();
        let research = json!({"@type": "Set", "permission": [{"action": "use", "constraint": [
            {"leftOperand": "purpose", "operator": "isA", "rightOperand": "https://w3id.org/dpv#ResearchAndDevelopment"}]}]});
        let mut made = inventory(
            &[no2.clone(), asset("other")],
            &[policy("open", open()), policy("research", research)],
            &[definition("d", "open", "research", json!([]))],
        );
        let fits = |made: &Inventory, filter: Json| {
            seen(made, by("did:web:a"), filter).contains(&"urn:no2".to_owned())
        };
        for yes in [
            json!({}),
            json!({"text": "no2 HOURLY"}),
            json!({"text": "antw"}),
            json!({"keyword": "Air Quality", "format": "text/csv"}),
            json!({"format": "http://publications.europa.eu/resource/authority/file-type/CSV"}),
            json!({"format": "application/csv", "publisher": "city of antwerp"}),
            json!({"from": "2019", "until": "2019"}),
            json!({"from": "2019-06", "until": "2019-05"}),
            json!({"place": "http://publications.europa.eu/resource/authority/country/BEL"}),
            json!({"from": "2019-06-01", "until": "2019-06-02"}),
            json!({"until": "2019-05-07"}),
            json!({"purpose": "https://w3id.org/dpv#AcademicResearch"}),
        ] {
            assert!(fits(&made, yes.clone()), "{yes}");
        }
        for no in [
            json!({"text": "no2 daily"}),
            json!({"text": "an"}),
            json!({"text": "ntwerp"}),
            json!({"keyword": "noise"}),
            json!({"place": "FR"}),
            json!({"from": "2019-06-18"}),
            json!({"until": "2019-05-06"}),
            json!({"from": "2019-07"}),
            json!({"from": "2020"}),
            json!({"until": "2018"}),
            json!({"until": "2019-04"}),
            json!({"format": "application/json"}),
            json!({"license": "https://x.example"}),
            json!({"purpose": "https://w3id.org/dpv#Marketing"}),
        ] {
            assert!(!fits(&made, no.clone()), "{no}");
        }
        let both = Filter::parse(&[json!({"text": "no2"}), json!({"place": "FR"})]).unwrap();
        let page = made.view(by("did:web:a"), Timestamp::UNIX_EPOCH).page(&both, &Cursor::Start, 10);
        assert_eq!((page.ids.len(), page.total), (0, 0));
        assert_eq!(seen(&made, by("did:web:a"), json!({"from": "2030-01-01"})), ["other"], "it does not say");
        made.change_asset(Some(&no2), None);
        assert!(!fits(&made, json!({"text": "no2"})));
        made.change_asset(Some(&asset("other")), None);
        assert!(made.index.is_empty(), "nothing is left behind");
    }

    #[test]
    fn a_year_covers_all_of_its_days() {
        let mut years = asset("urn:years");
        let period = json!({"http://www.w3.org/ns/dcat#startDate": "2018", "http://www.w3.org/ns/dcat#endDate": "2020-02"});
        years.properties.insert("http://purl.org/dc/terms/temporal".to_owned(), period);
        let policies = [policy("open", open())];
        let made = inventory(&[years], &policies, &[definition("d", "open", "open", json!([]))]);
        let fits = |filter: Json| !seen(&made, by("did:web:a"), filter).is_empty();
        assert!(fits(json!({"from": "2020-02-29"})) && !fits(json!({"from": "2020-03-01"})));
        assert!(fits(json!({"until": "2018-01-01"})) && !fits(json!({"until": "2017-12-31"})));
        assert!(
            fits(json!({"from": "2020"}))
                && fits(json!({"until": "2018"}))
                && !fits(json!({"until": "2017"}))
        );
    }

    #[test]
    fn pages_are_cut_by_ids_both_ways() {
        // One run with few that fit, one with many.
        for count in [10_usize, 5000] {
            let assets: Vec<_> = (0..count).map(|number| asset(&format!("n{number:05}"))).collect();
            let mut made =
                inventory(&assets, &[policy("open", open())], &[definition("d", "open", "open", json!([]))]);
            let page = |made: &Inventory, cursor: &Cursor| {
                made.view(by("did:web:a"), Timestamp::UNIX_EPOCH).page(&Filter::default(), cursor, 4)
            };
            let ids = |page: &Page| page.ids.iter().map(ToString::to_string).collect::<Vec<_>>();
            let first = page(&made, &Cursor::Start);
            assert_eq!(
                (ids(&first).len(), &first.previous, first.total),
                (4, &None, u64::try_from(count).unwrap())
            );
            made.change_asset(Some(&asset("n00002")), None);
            let second = page(&made, &first.next.unwrap());
            assert_eq!(ids(&second), ["n00004", "n00005", "n00006", "n00007"]);
            let back = page(&made, &second.previous.unwrap());
            assert_eq!(
                (ids(&back), back.previous),
                (vec!["n00000".into(), "n00001".into(), "n00003".into()], None)
            );
            assert_eq!(back.next, Some(Cursor::After("n00003".to_owned())));
            let last = page(&made, &Cursor::After(format!("n{:05}", count - 3)));
            assert_eq!((last.ids.len(), last.next), (2, None));
            assert!(page(&made, &Cursor::After("z".to_owned())).ids.is_empty());
        }
    }

    #[test]
    fn selectors_compare_id_and_properties() {
        let by = |selector: Json| definition("d", "o", "o", selector).selects(&asset("x"));
        assert!(by(json!([])));
        assert!(by(
            json!([{"operandLeft": "https://w3id.org/edc/v0.0.1/ns/id", "operator": "in", "operandRight": ["x", "z"]}])
        ));
        assert!(by(json!([{"operandLeft": "city", "operator": "=", "operandRight": "Paris"}])));
        assert!(!by(json!([{"operandLeft": "city", "operator": "=", "operandRight": "London"}])));
        assert!(by(json!([{"operandLeft": "city", "operator": "ilike", "operandRight": "p%"}])));
        assert!(by(json!([{"operandLeft": "id", "operator": "!=", "operandRight": "y"}])));
        assert!(!by(json!([{"operandLeft": "none", "operator": "=", "operandRight": "x"}])));
        assert!(
            definition(
                "d",
                "o",
                "o",
                json!([{"operandLeft": "id", "operator": "near", "operandRight": "x"}])
            )
            .check()
            .is_err()
        );
    }
}
