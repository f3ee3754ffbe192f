//! Nobody sees what is not for them, whatever changes in whatever order: the inventory is held against asking every
//! dataset, definition and policy anew.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use catalog::{
    Asker, Asset, ContractDefinition, Cursor, Filter, Inventory, LISTED, OPEN, PolicyDefinition, VISIBILITY,
};
use jiff::Timestamp;
use policy_engine::{Hierarchy, Outcome, Policy, Request, World, decide};
use proptest::prelude::*;
use serde_json::{Value, json};

const ASKERS: [&str; 3] = ["did:web:a", "did:web:b", "did:web:stranger"];

/// One change: which thing, and what becomes of it; `None` takes it away.
#[derive(Debug, Clone)]
enum Change {
    Asset(usize, Option<(usize, usize)>),
    Definition(usize, Option<(usize, usize, usize)>),
    Policy(usize, Option<usize>),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let asset =
        (0..6usize, prop::option::of((0..3usize, 0..3usize))).prop_map(|(id, to)| Change::Asset(id, to));
    let definition = (0..4usize, prop::option::of((0..3usize, 0..3usize, 0..4usize)))
        .prop_map(|(id, to)| Change::Definition(id, to));
    let policy = (0..3usize, prop::option::of(0..3usize)).prop_map(|(id, to)| Change::Policy(id, to));
    prop::collection::vec(prop_oneof![3 => asset, 2 => definition, 1 => policy], 1..60)
}

fn asset(id: usize, (visibility, city): (usize, usize)) -> Asset {
    let visibility = ["hidden", LISTED, OPEN][visibility];
    serde_json::from_value(json!({"@id": format!("d{id}"), "properties": {
        VISIBILITY: visibility, "city": city.to_string(),
        "http://purl.org/dc/terms/title": format!("word{id} common"),
        "http://www.w3.org/ns/dcat#keyword": [format!("city{city}")]}}))
    .unwrap()
}

fn policy(id: usize, who: usize) -> PolicyDefinition {
    let only = |who: &str| json!([{"leftOperand": "assignee", "operator": "eq", "rightOperand": who}]);
    let permission = match who {
        0 => json!({"action": "use"}),
        who => json!({"action": "use", "constraint": only(ASKERS[who - 1])}),
    };
    let policy = json!({"@type": "Set", "permission": [permission]});
    PolicyDefinition { id: format!("p{id}"), policy, ..PolicyDefinition::default() }
}

fn definition(id: usize, (access, terms, selector): (usize, usize, usize)) -> ContractDefinition {
    let selector = match selector {
        0 => json!([]),
        1 => json!([{"operandLeft": "id", "operator": "in", "operandRight": ["d0", "d1", "d2"]}]),
        2 => json!([{"operandLeft": "city", "operator": "=", "operandRight": "1"}]),
        _ => json!([{"operandLeft": "city", "operator": "=", "operandRight": "1"},
            {"operandLeft": "id", "operator": "=", "operandRight": "d3"}]),
    };
    serde_json::from_value(json!({"@id": format!("c{id}"), "accessPolicyId": format!("p{access}"),
        "contractPolicyId": format!("p{terms}"), "assetsSelector": selector}))
    .unwrap()
}

/// Everything as it is, without an index.
#[derive(Debug, Default)]
struct Plain {
    assets: BTreeMap<String, Asset>,
    definitions: BTreeMap<String, ContractDefinition>,
    policies: BTreeMap<String, PolicyDefinition>,
}

impl Plain {
    fn seen(&self, asker: &str, known: &Hierarchy) -> BTreeSet<String> {
        let admits = |definition: &ContractDefinition| {
            let Some(access) = self.policies.get(&definition.access_policy_id) else { return false };
            let request = Request { action: "use", party: asker, target: None };
            let world = World::at(Timestamp::UNIX_EPOCH, known);
            let access = Policy::parse(&access.policy).unwrap();
            self.policies.contains_key(&definition.contract_policy_id)
                && decide(&access, &request, &world).outcome == Outcome::Permit
        };
        let offered = |asset: &Asset| self.definitions.values().any(|one| one.selects(asset) && admits(one));
        self.assets.values().filter(|asset| offered(asset)).map(|asset| asset.id.clone()).collect()
    }
}

fn ids(found: &[Arc<str>]) -> BTreeSet<String> {
    found.iter().map(ToString::to_string).collect()
}

fn see(inventory: &Inventory, asker: &str, filter: Value) -> BTreeSet<String> {
    let filter = Filter::parse(&[filter]).unwrap();
    let asker = Asker { did: asker, credentials: &[] };
    ids(&inventory.view(asker, Timestamp::UNIX_EPOCH).page(&filter, &Cursor::Start, 100).ids)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_changes_everybody_sees_what_is_for_them(changes in changes()) {
        let known = Arc::new(Hierarchy::shipped());
        let (mut plain, mut inventory) = (Plain::default(), Inventory::new(Arc::clone(&known)));
        for change in changes {
            match change {
                Change::Asset(id, to) => {
                    let after = to.map(|to| asset(id, to));
                    let before = plain.assets.remove(&format!("d{id}"));
                    inventory.change_asset(before.as_ref(), after.as_ref());
                    plain.assets.extend(after.map(|one| (one.id.clone(), one)));
                }
                Change::Definition(id, to) => {
                    let after = to.map(|to| definition(id, to));
                    plain.definitions.remove(&format!("c{id}"));
                    inventory.change_definition(&format!("c{id}"), after.clone(), plain.assets.values());
                    plain.definitions.extend(after.map(|one| (one.id.clone(), one)));
                }
                Change::Policy(id, to) => {
                    let after = to.map(|who| policy(id, who));
                    plain.policies.remove(&format!("p{id}"));
                    inventory.change_policy(&format!("p{id}"), after.as_ref());
                    plain.policies.extend(after.map(|one| (one.id.clone(), one)));
                }
            }
            for asker in ASKERS {
                let expected = plain.seen(asker, &known);
                prop_assert_eq!(&see(&inventory, asker, json!({})), &expected, "{}", asker);
                prop_assert_eq!(&see(&inventory, asker, json!({"text": "common"})), &expected);
                let mut view = inventory.view(Asker { did: asker, credentials: &[] }, Timestamp::UNIX_EPOCH);
                for one in plain.assets.values() {
                    let offers = view.offers(one);
                    prop_assert_eq!(!offers.is_empty(), expected.contains(&one.id));
                    for offer in offers {
                        prop_assert_eq!(view.offer(&offer.id), Some(offer.clone()));
                        // Nobody else gets in with the id of the offer.
                        for other in ASKERS {
                            let mut others = inventory.view(Asker { did: other, credentials: &[] }, Timestamp::UNIX_EPOCH);
                            let has = others.offers(one).contains(&offer);
                            prop_assert_eq!(others.offer(&offer.id).is_some(), has);
                        }
                    }
                }
                for city in 0..3 {
                    let wanted = format!("city{city}");
                    let found = see(&inventory, asker, json!({"keyword": wanted}));
                    prop_assert!(found.is_subset(&expected));
                    let of_city = |id: &&String| plain.assets[*id].properties["city"] == json!(city.to_string());
                    let expected: BTreeSet<_> = expected.iter().filter(of_city).cloned().collect();
                    prop_assert_eq!(found, expected);
                }
            }
            // The public catalogue: what is listed or open, and nothing else.
            let public = |visible: &[&str]| -> BTreeSet<String> {
                let is = |one: &&Asset| one.properties[VISIBILITY].as_str().is_some_and(|one| visible.contains(&one));
                plain.assets.values().filter(is).map(|one| one.id.clone()).collect()
            };
            prop_assert_eq!(ids(inventory.listed()), public(&[LISTED, OPEN]));
            for id in plain.assets.keys() {
                prop_assert_eq!(inventory.is_open(id), public(&[OPEN]).contains(id));
                prop_assert_eq!(inventory.is_listed(id), public(&[LISTED, OPEN]).contains(id));
            }
        }
    }
}
