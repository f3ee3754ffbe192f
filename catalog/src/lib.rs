//! DCAT: what is on offer, to whom, as which document.
//!
//! A pure crate: no clock, no I/O. The resources an operator manages ([`Asset`], [`PolicyDefinition`],
//! [`ContractDefinition`], shaped as EDC's Management API v4 has them) become a [`Snapshot`], which answers what one
//! participant may see ([`Snapshot::offered_to`]) and what an offer id stands for ([`Snapshot::offer`]).
#![warn(missing_docs)]

mod description;
mod error;
pub mod feed;
mod filter;
pub mod lint;
mod model;
mod view;

pub use description::Description;
pub use error::CatalogError;
pub use filter::Filter;
pub use model::{Asset, Automation, ContractDefinition, Criterion, PolicyDefinition};
pub use view::{Asker, Offer, Offering, Snapshot};

/// The property of an asset that says who finds it beyond participants: [`OPEN`], [`LISTED`], or nobody.
pub const VISIBILITY: &str = "urn:concordat:visibility";
/// A dataset whose description stands in the public catalogue; its data needs an agreement all the same.
pub const LISTED: &str = "listed";

/// A dataset that everybody may read, without an agreement.
pub const OPEN: &str = "open";

/// The transfer format of data that the consumer fetches over HTTPS.
pub const HTTP_PULL: &str = "HttpData-PULL";
