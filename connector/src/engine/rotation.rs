//! Keys and certificates that change.

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
    /// The DID allows only one, or a file cannot be written.
    pub async fn rotate_key(&self, algorithm: Algorithm, rotation: Rotation) -> Result<(), EngineError> {
        let made = self.identity.rotate(algorithm, rotation);
        let id = made.map_err(|error| {
            EngineError::refused(protocol::RefusalKind::Disagreement, format!("{error:#}"))
        })?;
        let text = if rotation.compromised {
            format!("{id} signs from now on; the keys before it are in wrong hands and count for nothing")
        } else {
            format!(
                "{id} signs in {} s; the keys before it are believed for {} s more",
                rotation.lead_seconds, rotation.overlap_seconds
            )
        };
        self.record(Event::new("identity", clock::now(), text).about(id)).await;
        // Lists that are kept were signed by a key that may not count any more.
        self.published.clear();
        Ok(())
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
