//! Small numbers for datasets, under which sets of them are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

/// Each dataset has a small number of its own, under which sets of datasets are kept.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) by_id: BTreeMap<Arc<str>, u32>,
    ids: Vec<Option<Arc<str>>>,
    free: Vec<u32>,
    pub(crate) taken: RoaringBitmap,
}

impl Places {
    pub(crate) fn take(&mut self, id: &str) -> Option<u32> {
        if let Some(place) = self.by_id.get(id) {
            return Some(*place);
        }
        let place = match self.free.pop() {
            Some(place) => place,
            None => u32::try_from(self.ids.len()).ok()?,
        };
        let slot = usize::try_from(place).ok()?;
        if slot == self.ids.len() {
            self.ids.push(None);
        }
        let id: Arc<str> = id.into();
        *self.ids.get_mut(slot)? = Some(Arc::clone(&id));
        self.by_id.insert(id, place);
        self.taken.insert(place);
        Some(place)
    }

    pub(crate) fn give_back(&mut self, id: &str) {
        let Some(place) = self.by_id.remove(id) else { return };
        if let Some(slot) = usize::try_from(place).ok().and_then(|slot| self.ids.get_mut(slot)) {
            *slot = None;
        }
        self.taken.remove(place);
        self.free.push(place);
    }

    pub(crate) fn id(&self, place: u32) -> Option<&Arc<str>> {
        self.ids.get(usize::try_from(place).ok()?)?.as_ref()
    }
}
