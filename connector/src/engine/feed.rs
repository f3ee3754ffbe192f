//! The public catalogue, as portals harvest it and people find it.

use catalog::Description;
use catalog::feed::{self, About, Syntax, Triple};
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
    /// What it says of itself.
    pub description: Description,
}

impl Engine {
    fn about(&self) -> About<'_> {
        About { address: &self.open_address, publisher: &self.name, did: self.did() }
    }

    /// The address below which the public catalogue stands.
    #[must_use]
    pub fn open_address(&self) -> &str {
        &self.open_address
    }

    /// A page of the catalogue, counted from 1.
    ///
    /// # Errors
    /// There are not so many pages.
    pub fn feed_page(&self, number: usize, syntax: Syntax) -> Result<Vec<u8>, EngineError> {
        let snapshot = self.snapshot();
        let page = feed::page(&snapshot, self.about(), number, trust::did::segment);
        let page = page.ok_or_else(|| no_page(number))?;
        written(&page, syntax)
    }

    /// A listed dataset.
    ///
    /// # Errors
    /// There is none with this id, or it is not listed: the same answer for both.
    pub fn feed_dataset(&self, id: &str, syntax: Syntax) -> Result<Vec<u8>, EngineError> {
        let found = feed::dataset(&self.snapshot(), self.about(), id, trust::did::segment);
        written(&found.ok_or_else(|| not_listed(id))?, syntax)
    }

    /// A listed dataset, for people.
    ///
    /// # Errors
    /// As [`Self::feed_dataset`].
    pub fn listed(&self, id: &str) -> Result<Listed, EngineError> {
        let snapshot = self.snapshot();
        let asset = snapshot.listed_asset(id).ok_or_else(|| not_listed(id))?;
        let segment = trust::did::segment(id);
        let open = snapshot.open_asset(id).is_some();
        Ok(Listed {
            id: id.to_owned(),
            address: self.about().dataset(&segment),
            data: open.then(|| format!("{}/data/{segment}", self.open_address)),
            description: Description::from_properties(&asset.properties),
        })
    }

    /// How many pages the catalogue has; one at least.
    #[must_use]
    pub fn feed_pages(&self) -> usize {
        feed::pages(&self.snapshot())
    }

    /// The listed datasets of a page, counted from 1.
    ///
    /// # Errors
    /// There are not so many pages.
    pub fn listed_page(&self, number: usize) -> Result<Vec<Listed>, EngineError> {
        let snapshot = self.snapshot();
        if number == 0 || number > feed::pages(&snapshot) {
            return Err(no_page(number));
        }
        let ids = snapshot.listed().iter().skip((number - 1) * feed::PAGE).take(feed::PAGE);
        // What was withdrawn a moment ago is left out.
        Ok(ids.filter_map(|id| self.listed(id).ok()).collect())
    }
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
