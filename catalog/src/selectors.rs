//! Which contract definitions may offer a dataset, without asking all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::criterion::{Path, keys};
use crate::model::{Asset, ContractDefinition};

/// Contract definitions by what their selector begins with, so that not all of them are asked about each dataset.
#[derive(Debug, Default)]
pub(crate) struct Selectors {
    /// By property and value.
    by_value: BTreeMap<Path, HashMap<String, BTreeSet<String>>>,
    /// Without a selector, or with one of another kind.
    others: BTreeSet<String>,
}

impl Selectors {
    pub(crate) fn change(&mut self, definition: &ContractDefinition, there: bool) {
        let set = |set: &mut BTreeSet<String>| match there {
            true => drop(set.insert(definition.id.clone())),
            false => drop(set.remove(&definition.id)),
        };
        let Some((property, values)) = definition.first_values() else { return set(&mut self.others) };
        let of_property = self.by_value.entry(property.clone()).or_default();
        for value in values.into_iter().flat_map(keys) {
            set(of_property.entry(value.clone()).or_default());
            if of_property.get(&value).is_some_and(BTreeSet::is_empty) {
                of_property.remove(&value);
            }
        }
        if of_property.is_empty() {
            self.by_value.remove(&property);
        }
    }

    /// The definitions that may offer `asset`, in the order of their ids.
    pub(crate) fn candidates(&self, asset: &Asset) -> BTreeSet<&str> {
        let shown = asset.as_asked();
        let found = self.by_value.iter().flat_map(|(property, definitions)| {
            let values = property.find(&shown).into_iter().flat_map(keys);
            values.filter_map(|value| definitions.get(&value)).collect::<Vec<_>>()
        });
        found.flatten().chain(&self.others).map(String::as_str).collect()
    }
}
