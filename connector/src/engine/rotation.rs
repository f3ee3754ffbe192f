//! Keys and certificates that change.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use trust::Algorithm;

use super::{Engine, EngineError};
use crate::clock;
use crate::keyring::Rotation;
use crate::tables::Event;
use crate::tls;

impl Engine {
    /// Lets a new key take the place of the others.
    ///
    /// # Errors
    /// The DID allows only one, a file cannot be written, or the store failed.
    pub async fn rotate_key(&self, algorithm: Algorithm, rotation: Rotation) -> Result<(), EngineError> {
        let made = self.identity.rotate(algorithm, rotation);
        let id = made.map_err(|error| {
            EngineError::refused(protocol::RefusalKind::Disagreement, format!("{error:#}"))
        })?;
        let text = if rotation.compromised {
            let since = rotation.since.map(|since| format!(" since {since}")).unwrap_or_default();
            format!(
                "{id} signs from now on; the keys before it are in wrong hands{since}: what they signed counts only where \
                 it was recorded here before that"
            )
        } else {
            format!(
                "{id} signs in {} s; the keys before it are believed for {} s more",
                rotation.lead_seconds, rotation.overlap_seconds
            )
        };
        self.record(Event::new("identity", clock::now(), text).about(id)).await;
        // Lists that are kept were signed by a key that may not count any more.
        self.published.clear();
        if rotation.compromised {
            // From here on the new key says what stood in the log when the old ones were given up.
            self.seal_audit_log().await?;
            self.cut_compromised()?;
        }
        Ok(())
    }

    /// Stops what runs under agreements that count no more, since a key of this node that signed them is in wrong hands.
    fn cut_compromised(&self) -> Result<(), EngineError> {
        self.verified.clear();
        self.each_agreement(|record| {
            if record.end().is_none()
                && let Err(reason) = self.is_signed(record)
            {
                for pid in self.transfers_of(record.agreement.id().as_str())? {
                    self.streams.cut(&pid, &reason);
                }
            }
            Ok(())
        })
    }

    /// Destroys private keys that will not sign any more, until `stop`.
    pub async fn watch_retired_keys(self: Arc<Self>, stop: CancellationToken) {
        self.identity.watch_retired_keys(stop).await;
    }

    /// Reads certificates and authorities anew; where anything is wrong with them, the old ones stay.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn reload_certificates(&self, certificates: &tls::Live) -> Result<(), EngineError> {
        let result = certificates.reload();
        let text = match &result {
            Ok(()) => "certificates and authorities were read anew".to_owned(),
            Err(error) => format!("certificates and authorities stay as they were: {error:#}"),
        };
        tracing::info!("{text}");
        self.record(Event::new("identity", clock::now(), text)).await;
        result
            .map_err(|error| EngineError::refused(protocol::RefusalKind::Disagreement, format!("{error:#}")))
    }
}
