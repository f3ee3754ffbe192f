//! A place among so many that may be open at once, taken before what takes it is known to come about.

use std::fmt;

/// It is given back when it is dropped, unless it was kept.
pub(super) struct Place<'a>(Option<Box<dyn FnOnce() + Send + 'a>>);

impl<'a> Place<'a> {
    /// A place that `give_back` gives back.
    pub(super) fn new(give_back: impl FnOnce() + Send + 'a) -> Self {
        Self(Some(Box::new(give_back)))
    }

    /// What takes it has come about; what becomes of that is noted elsewhere.
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(give_back) = self.0.take() {
            give_back();
        }
    }
}

impl fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}
