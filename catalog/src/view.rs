//! What one participant may see of the inventory, page by page.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use jiff::Timestamp;
use policy_engine::{Outcome, Request, World, decide};
use roaring::{MultiOps as _, RoaringBitmap};
use serde_json::Value as Json;

use crate::filter::Filter;
use crate::inventory::{Group, Inventory, Resolved, Selected};
use crate::model::Asset;
use crate::offer::{Offer, Terms, parts};

/// Up to so many datasets that fit are put in order at once; of more, those from the cursor on are looked through.
const FEW: u64 = 4096;

/// Who looks at the catalog.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The authenticated participant.
    pub did: &'a str,
    /// Its verified credentials.
    pub credentials: &'a [Json],
}

/// Where a page of the catalog begins. Pages are cut by ids, so what is published or withdrawn meanwhile shifts nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// After the dataset with this id.
    After(String),
    /// With the page that ends before the dataset with this id.
    Before(String),
    /// Behind so many, as whoever counts asks for it.
    Skip(usize),
    /// At the beginning.
    Start,
}

/// The ids of a page, and where others begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub ids: Vec<Arc<str>>,
    /// How many fit in all.
    pub total: u64,
    /// The page before it.
    pub previous: Option<Cursor>,
    /// The page behind it.
    pub next: Option<Cursor>,
}

/// What one participant may see at one time.
#[derive(Debug)]
pub struct View<'a> {
    inventory: &'a Inventory,
    asker: Asker<'a>,
    now: Timestamp,
    /// By what access policies say, whether they admit the asker.
    admits: HashMap<&'a str, bool>,
    /// The asker sees everything.
    all: bool,
}

impl<'a> View<'a> {
    pub(crate) fn new(inventory: &'a Inventory, asker: Asker<'a>, now: Timestamp) -> Self {
        Self { inventory, asker, now, admits: HashMap::new(), all: false }
    }

    /// The same for one who sees every offer, whomever its access policy admits.
    #[must_use]
    pub fn of_all(self) -> Self {
        Self { all: true, ..self }
    }

    fn admits(&mut self, resolved: &'a Resolved) -> Option<&'a Terms> {
        let offer = resolved.offer.as_ref()?;
        if self.all {
            return Some(offer);
        }
        let (asker, now, known) = (self.asker, self.now, &self.inventory.known);
        let admitted = self.admits.entry(&offer.access_digest).or_insert_with(|| {
            let request = Request { action: policy_engine::ACCESS, party: asker.did, target: None };
            let world = World { credentials: asker.credentials, ..World::at(now, known) };
            decide(&offer.access, &request, &world).outcome == Outcome::Permit
        });
        admitted.then_some(offer)
    }

    /// The datasets with an offer whose access policy admits the asker and that `filter` fits: at most `most` from
    /// `cursor` on, in the order of their ids.
    #[must_use]
    pub fn page(&mut self, filter: &Filter, cursor: &Cursor, most: usize) -> Page {
        let fits = self.fitting(filter);
        let total = fits.len();
        let places = &self.inventory.places;
        if total <= FEW {
            let mut ids: Vec<&Arc<str>> = fits.iter().filter_map(|place| places.id(place)).collect();
            ids.sort_unstable();
            let (begin, end) = match cursor {
                Cursor::Start => (0, ids.len()),
                Cursor::Skip(passed) => (ids.len().min(*passed), ids.len()),
                Cursor::After(last) => (ids.partition_point(|id| id.as_ref() <= last.as_str()), ids.len()),
                Cursor::Before(first) => (0, ids.partition_point(|id| id.as_ref() < first.as_str())),
            };
            return cut(ids.get(begin..end).unwrap_or_default().iter().copied(), cursor, most, total);
        }
        let fitting = |(id, place): (&'a Arc<str>, &u32)| fits.contains(*place).then_some(id);
        match cursor {
            Cursor::Start => cut(places.by_id.iter().filter_map(fitting), cursor, most, total),
            Cursor::Skip(passed) => {
                let behind = places.by_id.iter().filter_map(fitting).skip(*passed);
                let these: Vec<_> = behind.take(most.saturating_add(1)).collect();
                cut(these.into_iter(), cursor, most, total)
            }
            Cursor::After(last) => {
                let range = places.by_id.range::<str, _>((Bound::Excluded(last.as_str()), Bound::Unbounded));
                cut(range.filter_map(fitting), cursor, most, total)
            }
            Cursor::Before(first) => {
                let range = places.by_id.range::<str, _>((Bound::Unbounded, Bound::Excluded(first.as_str())));
                cut(range.filter_map(fitting), cursor, most, total)
            }
        }
    }

    /// The places of the datasets that `filter` fits, among those offered to the asker.
    fn fitting(&mut self, filter: &Filter) -> RoaringBitmap {
        let inventory = self.inventory;
        let serving: Vec<_> =
            filter.purposes().iter().map(|(name, purpose)| inventory.serving(name, purpose)).collect();
        let mut admitted = Vec::new();
        for group in inventory.groups().values() {
            let first = group.definitions.first().and_then(|id| inventory.definitions.get(id));
            if first.is_some_and(|first| self.admits(first).is_some()) {
                admitted.push(group);
            }
        }
        let mut fits = if serving.is_empty() {
            let offered = |group: &&'a Group| {
                group.offered.get_or_init(|| inventory.offered_by(group.definitions.iter()))
            };
            admitted.iter().map(offered).union()
        } else {
            let definitions = admitted.iter().flat_map(|group| &group.definitions);
            inventory.offered_by(definitions.filter(|id| serving.iter().all(|one| one.contains(*id))))
        };
        for found in
            filter.terms().iter().filter_map(|terms| inventory.index.fitting(terms, &inventory.known))
        {
            fits &= found;
        }
        fits
    }

    /// The offers for `asset` whose access policy admits the asker; none where there is nothing for them.
    #[must_use]
    pub fn offers(&mut self, asset: &Asset) -> Vec<Offer> {
        let inventory = self.inventory;
        let mut offers = Vec::new();
        for id in inventory.selectors.candidates(asset) {
            if let Some(resolved) = inventory.definitions.get(id)
                && resolved.definition.selects(asset)
                && let Some(terms) = self.admits(resolved)
            {
                offers.push(terms.offer(&resolved.definition, &asset.id));
            }
        }
        offers
    }

    /// What the offer `id` stands for, if the asker may see it.
    #[must_use]
    pub fn offer(&mut self, id: &str) -> Option<Offer> {
        let (definition, asset, digest) = parts(id)?;
        let resolved = self.inventory.definitions.get(definition.as_ref())?;
        let place = self.inventory.places.by_id.get(asset.as_ref())?;
        let selects = match &resolved.selected {
            Selected::All => true,
            Selected::These(datasets) => datasets.contains(*place),
        };
        let terms = self.admits(resolved)?;
        (selects && terms.digest == digest).then(|| terms.offer(&resolved.definition, &asset))
    }
}

/// A page of `ids`, which are those from the cursor on in order (`Before`: those before it, of which the last are shown).
fn cut<'a>(
    ids: impl DoubleEndedIterator<Item = &'a Arc<str>>,
    cursor: &Cursor,
    most: usize,
    total: u64,
) -> Page {
    let backwards = matches!(cursor, Cursor::Before(_));
    let with_one_more: Vec<_> = match backwards {
        true => ids.rev().take(most.saturating_add(1)).cloned().collect(),
        false => ids.take(most.saturating_add(1)).cloned().collect(),
    };
    let more = with_one_more.len() > most;
    let mut ids = with_one_more;
    ids.truncate(most);
    if backwards {
        ids.reverse();
    }
    let before = ids.first().map(|id| Cursor::Before(id.to_string()));
    let after = ids.last().map(|id| Cursor::After(id.to_string()));
    let (previous, next) = match cursor {
        Cursor::Skip(_) | Cursor::Start => (None, after.filter(|_| more)),
        Cursor::After(_) => (before, after.filter(|_| more)),
        Cursor::Before(_) => (before.filter(|_| more), after),
    };
    Page { ids, total, previous, next }
}
