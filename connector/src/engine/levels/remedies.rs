//! What follows where a level was missed.

use std::sync::Arc;

use governance::levels::{Attainment, Remedy};
use protocol::Role;

use super::{Promise, side};
use crate::engine::{Engine, EngineError};
use crate::tables::{AgreementRecord, Breach, PeriodRecord};

impl Engine {
    /// What was missed in a period, with the step of the ladder that follows.
    pub(super) fn breaches(
        &self,
        promise: &Promise,
        agreement: &str,
        attainment: &Attainment,
    ) -> Result<Vec<Breach>, EngineError> {
        let mut before = self.periods(agreement)?;
        before.retain(|one| one.period < attainment.period);
        let missed = attainment.levels.iter().filter(|level| !level.met);
        let breaches = missed.map(|level| {
            let earlier = before.iter().filter_map(|one| {
                let stands = |breach: &Breach| breach.level == level.id && breach.waived.is_none();
                one.breaches.iter().any(stands).then_some(one.attainment.as_ref()?.until)
            });
            let count = promise.levels.step(earlier.chain([attainment.until]));
            Breach {
                level: level.id.clone(),
                owed_by: level.owed_by,
                count,
                remedy: promise.levels.remedy(count),
                cents: level.cents,
                waived: None,
            }
        });
        Ok(breaches.collect())
    }

    /// Carries out what follows, where this node is the one to whom the level is owed.
    pub(super) async fn remedy(
        self: &Arc<Self>,
        record: &AgreementRecord,
        period: &PeriodRecord,
    ) -> Result<(), EngineError> {
        let agreement = record.agreement.id().to_string();
        let ours = side(record.role);
        let owed = period.breaches.iter().filter(|one| one.owed_by != ours && one.waived.is_none());
        let Some(worst) = owed.max_by_key(|one| one.remedy) else { return Ok(()) };
        let reason = format!(
            "the level `{}` was missed in period {} (breach {})",
            worst.level, period.period, worst.count
        );
        match worst.remedy {
            Remedy::Notice | Remedy::Credit => {}
            // The consumer takes what comes; there is nothing that it could slow down.
            Remedy::Throttle if record.role == Role::Provider => self.fairness.throttle(&agreement),
            Remedy::Throttle => {}
            Remedy::Suspend => {
                for pid in self.transfers_of(&agreement)? {
                    match self.suspend_transfer(&pid, &reason).await {
                        // What does not run cannot be suspended.
                        Ok(_) | Err(EngineError::Refused(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Remedy::Terminate => match self.end_agreement(&agreement, &reason).await {
                Ok(_) | Err(EngineError::Refused(_)) => {}
                Err(error) => return Err(error),
            },
        }
        Ok(())
    }
}
