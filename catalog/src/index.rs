//! Which datasets filters fit: for each value of each property the datasets that have it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use jiff::Timestamp;
use policy_engine::{Hierarchy, media};
use roaring::{MultiOps as _, RoaringBitmap};

use crate::description::Description;
use crate::filter::Terms;
use crate::labelled::Labelled;
use crate::model::Asset;
use crate::period::{first_day, last_day};
use crate::text::Text;

/// A word of at least so many characters also finds words that begin with it.
const PREFIX: usize = 3;

/// Properties that a filter compares as they are, but for upper and lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Property {
    ConformsTo,
    Format,
    Keyword,
    License,
    Place,
    Publisher,
    Theme,
}

impl Property {
    /// A value as it is compared: places are codes, in which upper and lower case differ.
    /// However a format is named, it is the one that the table of media types has.
    fn folded(self, value: &str) -> String {
        match self {
            Self::Place => value.to_owned(),
            Self::Format => match media::meant(value) {
                Some(known) => known.label.to_owned(),
                None => media::canonical(value),
            },
            _ => value.to_lowercase(),
        }
    }
}

/// For each value the places (small numbers) of the datasets that have it.
#[derive(Debug, Default)]
pub(crate) struct Index {
    values: BTreeMap<(Property, String), RoaringBitmap>,
    words: BTreeMap<String, RoaringBitmap>,
    /// Datasets by the day on which their period begins; those that do not say under an empty text.
    begins: BTreeMap<String, RoaringBitmap>,
    /// By the day on which it ends.
    ends: BTreeMap<String, RoaringBitmap>,
    /// By the second in which what is said of them last changed.
    modified: BTreeMap<i64, RoaringBitmap>,
}

impl Index {
    /// Adds a dataset under `place`, or takes it away again.
    pub(crate) fn change(&mut self, place: u32, asset: &Asset, there: bool) {
        let (id, described) = (asset.id.as_str(), &Description::from_properties(&asset.properties));
        if let Some(at) = asset.modified {
            change(&mut self.modified, at.as_second(), place, there);
        }
        for (property, value) in values(described) {
            change(&mut self.values, (property, property.folded(value)), place, there);
        }
        let texts = [id].into_iter().chain(described.publisher.iter().flat_map(Labelled::all));
        let texts = texts.chain(described.title.all()).chain(described.description.all());
        for word in texts.chain(described.keywords.iter().flat_map(Text::all)).flat_map(words) {
            change(&mut self.words, word, place, there);
        }
        // What is no time is as if nothing were said.
        let begins = described.from.as_deref().and_then(first_day).unwrap_or_default();
        let ends = described.until.as_deref().and_then(last_day).unwrap_or_default();
        change(&mut self.begins, begins, place, there);
        change(&mut self.ends, ends, place, there);
    }

    /// Whether it knows of no dataset.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        [&self.words, &self.begins, &self.ends].into_iter().all(BTreeMap::is_empty)
            && self.values.is_empty()
            && self.modified.is_empty()
    }

    /// Which of the datasets fit every member of `terms`; `None` for all of them.
    pub(crate) fn fitting(&self, terms: &Terms, known: &Hierarchy) -> Option<RoaringBitmap> {
        let mut fits: Option<RoaringBitmap> = None;
        let mut narrow = |found: RoaringBitmap| {
            fits = Some(match fits.take() {
                Some(before) => before & found,
                None => found,
            });
        };
        for (property, wanted) in [
            (Property::ConformsTo, &terms.conforms_to),
            (Property::Format, &terms.format),
            (Property::Keyword, &terms.keyword),
            (Property::License, &terms.license),
            (Property::Publisher, &terms.publisher),
            (Property::Theme, &terms.theme),
        ] {
            if let Some(wanted) = wanted {
                narrow(self.values.get(&(property, property.folded(wanted))).cloned().unwrap_or_default());
            }
        }
        if let Some(wanted) = &terms.place {
            narrow(self.within(wanted, known));
        }
        for word in terms.text.iter().flat_map(|text| words(text)) {
            narrow(self.saying(&word));
        }
        // As texts, days of XML Schema are in the order of time; a dataset that does not say is not excluded.
        if let Some(from) = terms.from.as_deref().and_then(first_day) {
            let later = self.ends.range(from..).map(|(_, datasets)| datasets);
            let silent = self.ends.get("");
            narrow(later.chain(silent).collect::<Vec<_>>().union());
        }
        if let Some(until) = terms.until.as_deref().and_then(last_day) {
            narrow(self.begins.range(..=until).map(|(_, datasets)| datasets).union());
        }
        fits
    }

    /// The datasets of which something else is said since the second of `since`.
    pub(crate) fn since(&self, since: Timestamp) -> RoaringBitmap {
        self.modified.range(since.as_second()..).map(|(_, datasets)| datasets).union()
    }

    /// The datasets about places within `whole`.
    fn within(&self, whole: &str, known: &Hierarchy) -> RoaringBitmap {
        let places = self.values.range((Property::Place, String::new())..);
        let places = places.take_while(|((property, _), _)| *property == Property::Place);
        places.filter(|((_, place), _)| known.is_within(place, whole)).map(|(_, datasets)| datasets).union()
    }

    /// The datasets that say `word`, or one that begins with it.
    fn saying(&self, word: &str) -> RoaringBitmap {
        if word.chars().count() < PREFIX {
            return self.words.get(word).cloned().unwrap_or_default();
        }
        let from = self.words.range::<str, _>((Bound::Included(word), Bound::Unbounded));
        from.take_while(|(one, _)| one.starts_with(word)).map(|(_, datasets)| datasets).union()
    }
}

fn values(described: &Description) -> impl Iterator<Item = (Property, &str)> {
    let forms =
        || std::iter::once(&described.form).chain(described.distributions.iter().map(|one| &one.form));
    let formats = forms().flat_map(|form| form.media_type.iter().chain(&form.format));
    let licenses = forms().filter_map(|form| form.license.as_ref());
    let strings = [(Property::ConformsTo, &described.conforms_to), (Property::Theme, &described.themes)];
    let strings =
        strings.into_iter().flat_map(|(property, all)| all.iter().map(move |text| (property, text.as_str())));
    let place = described.place.iter().flat_map(Labelled::keys);
    let publisher = described.publisher.iter().flat_map(Labelled::all);
    formats
        .map(|text| (Property::Format, text.as_str()))
        .chain(licenses.map(|text| (Property::License, text.as_str())))
        .chain(place.map(|text| (Property::Place, text)))
        .chain(publisher.map(|text| (Property::Publisher, text)))
        .chain(described.keywords.iter().flat_map(Text::all).map(|text| (Property::Keyword, text)))
        .chain(strings)
}

fn change<K: Ord>(map: &mut BTreeMap<K, RoaringBitmap>, key: K, place: u32, there: bool) {
    match (map.entry(key), there) {
        (entry, true) => drop(entry.or_default().insert(place)),
        (Entry::Occupied(mut entry), false) => {
            entry.get_mut().remove(place);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
        (Entry::Vacant(_), false) => {}
    }
}

/// The words of a text, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}
