//! Move bytes under a Grant: sources, guard, meter.
//!
//! Nothing is read from a [`Source`] without a [`Grant`], and a grant comes only from a policy that permits
//! ([`Grant::decide`]). While a body runs, the [`guard`] asks again when time may change the answer and is told when
//! something else did; then the body ends with the reason. Memory is constant whatever the size.
//!
//! This crate knows no protocol, no participants' tokens and no store.
#![warn(missing_docs)]

mod error;
mod grant;
pub mod guard;
mod source;

pub use error::{SourceError, StreamError};
pub use grant::{Denied, Grant, Judge};
pub use guard::{Clock, Metered, Signal, serve};
pub use source::{Body, DataRequest, DataResponse, FileSource, HttpSource, Opening, Source};
