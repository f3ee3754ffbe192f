//! Who is it, and is it signed: DIDs, JOSE, self-issued tokens and credentials (DCP 1.0.1), agreement dossiers.
//!
//! No sockets, no files, no clock: verification goes in two steps. First the crate says whose DID document it needs
//! ([`token::Claimed`], [`did::document_url`]); the shell fetches it; then the crate decides. What was decided is a
//! proof type with private fields: [`token::Caller`]. The one exception to "no random source" is key generation,
//! which takes OpenSSL's.
#![warn(missing_docs)]

pub mod access;
pub mod agreement;
pub mod audit;
pub mod credential;
pub mod dcp;
mod dcp_normal;
pub mod did;
pub mod dossier;
mod error;
pub mod jose;
pub mod members;
pub mod presentation;
pub mod statement;
pub mod status;
pub mod token;

pub use agreement::{AgreementSignature, Bound, SignerRole};
pub use credential::{Credential, Profile, StatusEntry};
pub use did::{DidDocument, Relationship};
pub use dossier::{CompromisedKey, CredentialEvidence, Dossier, Finding, MessageEvidence, json_escape};
pub use error::TrustError;
pub use jose::{Algorithm, PrivateKey, PublicKey};
pub use statement::Statement;
pub use status::StatusList;
