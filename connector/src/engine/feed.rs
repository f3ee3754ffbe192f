//! The public catalogue, as portals harvest it and people find it.

use std::borrow::Cow;
use std::sync::Arc;

use catalog::feed::{self, About, PAGE, Paging, Syntax, Triple};
use catalog::{Asset, Description, Filter};
use jiff::Timestamp;
use protocol::RefusalKind;

use super::{Engine, EngineError};

/// A listed dataset, for a page that people read.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub address: String,
    /// Where everybody may read its data, if everybody may.
    pub data: Option<String>,
    /// Whether it is a series of datasets.
    pub is_series: bool,
    /// When what is said of it last changed.
    pub modified: Option<Timestamp>,
    /// What it says of itself.
    pub description: Description,
}

/// Which page of the catalogue is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Counted from 1.
    pub number: usize,
    /// The page begins behind this dataset, wherever it now stands; where nothing is said, the number counts.
    pub after: Option<String>,
    /// Only datasets that this fits.
    pub filter: Filter,
    /// Only datasets of which something else is said since then.
    pub since: Option<Timestamp>,
    /// What of the address asks for that, for links: nothing, or the beginning of a query with `&` at its end.
    pub kept: String,
}

/// A page of the catalogue.
#[derive(Debug, Clone)]
struct Shown {
    assets: Vec<Asset>,
    number: usize,
    last: usize,
    total: usize,
    more: bool,
}

/// A page of the catalogue for people.
#[derive(Debug, Clone)]
pub struct Index {
    /// What stands on it.
    pub listed: Vec<Listed>,
    /// The page, counted from 1.
    pub number: usize,
    /// How many there are.
    pub last: usize,
}

impl Engine {
    fn about<'a>(&'a self, shows: &'a dyn Fn(&str) -> bool) -> About<'a> {
        About {
            address: &self.open_address,
            publisher: &self.name,
            did: self.did(),
            endpoint: &self.own_address,
            segment: trust::did::segment,
            shows,
        }
    }

    /// The address below which the public catalogue stands.
    #[must_use]
    pub fn open_address(&self) -> &str {
        &self.open_address
    }

    /// This node's address as others see it.
    #[must_use]
    pub fn public_address(&self) -> &str {
        &self.public_address
    }

    /// A page of the catalogue, which was asked for at the address `asked`.
    ///
    /// # Errors
    /// There are not so many pages, or the catalogue lacks something.
    pub fn feed_page(&self, wanted: &Wanted, asked: &str, syntax: Syntax) -> Result<Vec<u8>, EngineError> {
        let Shown { assets, number, last, total, more } = self.page_shown(wanted)?;
        let paging = Paging { asked, kept: &wanted.kept, number, last, total, more };
        let shows = |id: &str| self.offered.read().is_listed(id);
        written(&feed::page(&assets, self.about(&shows), paging), syntax)
    }

    /// A listed dataset.
    ///
    /// # Errors
    /// There is none with this id, or it is not listed: the same answer for both.
    pub fn feed_dataset(&self, id: &str, syntax: Syntax) -> Result<Vec<u8>, EngineError> {
        let asset = self.listed_asset(id)?;
        let shows = |id: &str| self.offered.read().is_listed(id);
        written(&feed::dataset(&asset, self.about(&shows)), syntax)
    }

    /// A listed dataset, for people.
    ///
    /// # Errors
    /// As [`Self::feed_dataset`].
    pub fn listed(&self, id: &str) -> Result<Listed, EngineError> {
        Ok(self.for_people(&self.listed_asset(id)?))
    }

    /// When what is said of a listed dataset last changed.
    ///
    /// # Errors
    /// As [`Self::feed_dataset`].
    pub fn listed_changed(&self, id: &str) -> Result<Option<Timestamp>, EngineError> {
        Ok(self.listed_asset(id)?.modified)
    }

    /// A page of the catalogue for people.
    ///
    /// # Errors
    /// As [`Self::feed_page`].
    pub fn listed_page(&self, wanted: &Wanted) -> Result<Index, EngineError> {
        let Shown { assets, number, last, .. } = self.page_shown(wanted)?;
        Ok(Index { listed: assets.iter().map(|asset| self.for_people(asset)).collect(), number, last })
    }

    /// How many pages the catalogue has; one at least.
    ///
    /// # Errors
    /// The catalogue lacks something.
    pub fn feed_pages(&self) -> Result<usize, EngineError> {
        self.complete()?;
        Ok(pages(self.offered.read().listed().len()))
    }

    fn page_shown(&self, wanted: &Wanted) -> Result<Shown, EngineError> {
        self.complete()?;
        let number = wanted.number;
        let (ids, total, more) = {
            let inventory = self.offered.read();
            let listed = match wanted.filter.is_empty() && wanted.since.is_none() {
                true => Cow::Borrowed(inventory.listed()),
                false => Cow::Owned(inventory.listed_that_fit(&wanted.filter, wanted.since)),
            };
            let begin = match wanted.after.as_deref() {
                Some(id) => listed.partition_point(|one| one.as_ref() <= id),
                None if number == 0 || number > pages(listed.len()) => return Err(no_page(number)),
                None => (number - 1) * PAGE,
            };
            let end = listed.len().min(begin.saturating_add(PAGE));
            let ids: Vec<_> = listed.get(begin..end).unwrap_or_default().iter().map(Arc::clone).collect();
            (ids, listed.len(), end < listed.len())
        };
        // What was withdrawn a moment ago is left out.
        let assets = self.assets(ids.iter().map(AsRef::as_ref))?;
        Ok(Shown { assets, number, last: pages(total), total, more })
    }

    fn listed_asset(&self, id: &str) -> Result<Asset, EngineError> {
        let is_listed = self.offered.read().is_listed(id);
        self.asset(id)?.filter(|_| is_listed).ok_or_else(|| not_listed(id))
    }

    fn for_people(&self, asset: &Asset) -> Listed {
        let about = self.about(&|_| false);
        Listed {
            id: asset.id.clone(),
            address: about.dataset(&asset.id),
            data: self.offered.read().is_open(&asset.id).then(|| about.data(&asset.id)),
            is_series: asset.is_series(),
            modified: asset.modified,
            description: Description::from_properties(&asset.properties),
        }
    }
}

fn pages(datasets: usize) -> usize {
    datasets.div_ceil(PAGE).max(1)
}

fn no_page(number: usize) -> EngineError {
    EngineError::NotFound { kind: "page of the catalogue", id: number.to_string() }
}

fn not_listed(id: &str) -> EngineError {
    EngineError::NotFound { kind: "dataset in the public catalogue", id: id.to_owned() }
}

fn written(triples: &[Triple], syntax: Syntax) -> Result<Vec<u8>, EngineError> {
    feed::write(triples, syntax).map_err(|error| {
        EngineError::refused(RefusalKind::Disagreement, format!("the catalogue cannot be written: {error}"))
    })
}
