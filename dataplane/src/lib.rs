//! Move bytes under a Grant: sources, guard, meter.
//!
//! Nothing is read from a [`Source`] without a [`Grant`], and a grant comes only from a policy that permits
//! ([`Grant::decide`]). While a body runs, the [`guard`] asks again when time may change the answer and is told when
//! something else did; then the body ends with the reason. Memory is constant whatever the size.
//!
//! This crate knows no protocol, no participants' tokens and no store.
#![warn(missing_docs)]

mod error;
mod fair;
mod grant;
pub mod guard;
pub mod live;
mod obligations;
mod persons;
pub mod released;
mod requests;
pub mod rows;
pub mod sink;
mod source;

pub use error::{SourceError, StreamError};
pub use fair::{Fairness, Limits, THROTTLED, Ticket, TooMuch};
pub use grant::{Denied, Grant, Judge};
pub use guard::{APPLIED, Clock, Follow, Metered, REPR_DIGEST, Reading, Signal, WANT_REPR_DIGEST, serve};
pub use obligations::{Obligations, PseudonymKey, Stage, delivered};
pub use persons::{Hidden, OfPersons, Permitted, Persons};
pub use requests::{Requests, Unsent};
pub use source::{
    Body, DataRequest, DataResponse, FileSource, FolderSource, HttpAllowed, HttpAsked, HttpSource,
    MqttBroker, MqttSource, NatsConnections, NatsServer, NatsSource, NgsiQuery, NgsiSource, Notifications,
    ObjectClient, ObjectSource, Opening, Parameter, ParameterKind, Places, PostgresPools, PostgresSource,
    Source, SqlForm, Subscribing, TailSource, WantedRange, Watches, extended, media_type_of, wanted_range,
};
