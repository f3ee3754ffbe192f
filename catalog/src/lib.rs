//! DCAT: what is on offer, to whom, as which document.
//!
//! A pure crate: no clock, no I/O. The resources an operator manages ([`Asset`], [`PolicyDefinition`],
//! [`ContractDefinition`], shaped as EDC's Management API v4 has them) are indexed in an [`Inventory`], whose [`View`]
//! answers what one participant may see and what an offer id stands for.
#![warn(missing_docs)]

mod criterion;
mod description;
mod error;
pub mod extent;
pub mod feed;
mod filter;
mod index;
mod inventory;
mod labelled;
pub mod lint;
mod model;
mod offer;
mod period;
mod places;
mod rdf_xml;
mod selectors;
mod text;
pub mod turtle;
mod view;
mod vocabulary;

pub use criterion::{Criterion, EDC, Path, order};
pub use description::{Description, Form, NamedForm, Split};
pub use error::CatalogError;
pub use filter::{Filter, Order, Window};
pub use inventory::Inventory;
pub use labelled::Labelled;
pub use model::{Asset, Automation, ContractDefinition, PolicyDefinition};
pub use offer::{Offer, is_offer_id};
pub use period::{end as end_of_period, start as start_of_period};
pub use text::Text;
pub use view::{Asker, Cursor, Page, View};

/// The property of an asset that says who finds it beyond participants: [`OPEN`], [`LISTED`], or nobody.
pub const VISIBILITY: &str = "urn:concordat:visibility";
/// A dataset whose description stands in the public catalogue; its data needs an agreement all the same.
pub const LISTED: &str = "listed";

/// A dataset that everybody may read, without an agreement.
pub const OPEN: &str = "open";

/// Property and value of a dataset series: its class (DCAT 3).
pub const SERIES: (&str, &str) = (vocabulary::TYPE, vocabulary::DATASET_SERIES);

/// The property of a distribution with the name under which it is read, where it is not the usual one.
pub const DISTRIBUTION_NAME: &str = "urn:concordat:distribution";
/// `dct:title`.
pub const TITLE: &str = vocabulary::TITLE;
/// `dct:description`.
pub const DESCRIPTION: &str = vocabulary::DESCRIPTION;
/// The property of an asset with the title of its distribution; in the catalog it is the distribution's `dct:title`.
pub const DISTRIBUTION_TITLE: &str = vocabulary::DISTRIBUTION_TITLE;
/// `dct:issued`: when a dataset was first published.
pub const ISSUED: &str = "http://purl.org/dc/terms/issued";
/// `dct:modified`: when what it says of itself last changed.
pub const MODIFIED: &str = "http://purl.org/dc/terms/modified";

/// The transfer format of data that the consumer fetches over HTTPS.
pub const HTTP_PULL: &str = "HttpData-PULL";
/// The format in which the provider sends data to an address of the consumer.
pub const HTTP_PUSH: &str = "HttpData-PUSH";
