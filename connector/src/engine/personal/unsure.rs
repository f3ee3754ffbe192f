//! After a kill: reads of which it was not written who was among their rows. Whoever permitted it then may have been.

use std::collections::HashMap;

use jiff::Timestamp;
use store::Batch;

use super::View;
use crate::clock;
use crate::engine::{Engine, EngineError};
use crate::ids;
use crate::tables::{
    self, AgreementRecord, ConsentRecord, Event, PersonRecord, Running, UnsureRecord, prefix,
};

/// That a person may have been among rows that were handed on.
pub(super) struct Perhaps {
    /// Since when.
    pub(super) from: Timestamp,
    /// Until when.
    pub(super) until: Timestamp,
    /// Attributes that were left out then, whichever rows they were.
    pub(super) left_out: Vec<String>,
}

impl Engine {
    /// Notes, at a start, in which times a kill took what was counted.
    pub(in crate::engine) async fn take_up_handing(&self) -> Result<(), EngineError> {
        let now = clock::now();
        let mut since: HashMap<String, Timestamp> = HashMap::new();
        let mut batch = Batch::new();
        for (key, running) in tables::list::<Running>(&self.store, prefix::HANDING, None, usize::MAX)? {
            let first = since.entry(running.agreement).or_insert(running.since);
            *first = running.since.min(*first);
            batch.delete(key);
        }
        if since.is_empty() {
            return Ok(());
        }
        for (agreement, from) in since {
            let key = format!("{}{}", unsure(&agreement), ids::urn());
            let text = format!(
                "the node was killed while rows about persons were handed on: who was among them since {from} was not counted; whoever permitted it then counts as having been"
            );
            tables::append_event(&mut batch, &Event::new("consent", now, text).about(&agreement))?;
            tables::put(&mut batch, key, &UnsureRecord { from, until: now })?;
        }
        self.commit(batch).await.map(|_| ())
    }

    /// Whether a person may have been among rows that were handed on under an agreement and not counted: where one of
    /// `consents` permitted it then, or, with `open`, another basis did.
    pub(super) fn perhaps(
        &self,
        record: &AgreementRecord,
        person: &PersonRecord,
        consents: &[ConsentRecord],
        open: bool,
    ) -> Result<Option<Perhaps>, EngineError> {
        let times: Vec<UnsureRecord> = tables::whole(&self.store, &unsure(record.agreement.id().as_str()))?;
        if times.is_empty() {
            return Ok(None);
        }
        let Some(asset) = self.asset(record.agreement.target().as_str())? else { return Ok(None) };
        let Ok(Some(view)) = self.view(record, &asset) else { return Ok(None) };
        let mut found: Option<Perhaps> = None;
        for time in times {
            for left_out in left_out_then(&view, &time, person, consents, open) {
                found = Some(match found {
                    None => Perhaps { from: time.from, until: time.until, left_out },
                    Some(mut before) => {
                        before.from = before.from.min(time.from);
                        before.until = before.until.max(time.until);
                        before.left_out.retain(|name| left_out.contains(name));
                        before
                    }
                });
            }
        }
        Ok(found)
    }
}

/// What was left out of a person's rows within a time, for each basis on which some were handed on.
fn left_out_then(
    view: &View,
    time: &UnsureRecord,
    person: &PersonRecord,
    consents: &[ConsentRecord],
    open: bool,
) -> Vec<Vec<String>> {
    let given = consents.iter().map(|one| &one.consent).filter(|one| {
        let withdrawn = one.withdrawn.as_ref().map(|withdrawn| withdrawn.at);
        let end = [withdrawn, one.until].into_iter().flatten().min();
        one.from <= time.until && end.is_none_or(|end| end > time.from)
    });
    let given = given.filter_map(|one| view.left_out(&one.extent));
    let mut all: Vec<_> = given.map(|names| names.into_iter().map(str::to_owned).collect()).collect();
    let open = view.open.as_ref().filter(|_| open && person.objected.is_none_or(|at| at > time.from));
    all.extend(open.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>()));
    all
}

fn unsure(agreement: &str) -> String {
    tables::within(prefix::UNSURE, agreement)
}
