//! What a party recorded.

use serde::{Deserialize, Serialize};

/// Who of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The consumer.
    Consumer,
    /// The provider.
    Provider,
}

/// One read, or one thing done or due. The order of members is the order of measurements.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Measured {
    /// A read.
    Read {
        /// Its name, which both know: the consumer chose it and sent it along.
        id: String,
        /// Who recorded it.
        by: Side,
        /// When it was asked for, by the clock of who recorded it, in milliseconds since 1970.
        at: i64,
        /// Whether it went as it should.
        ok: bool,
        /// Milliseconds to the first byte.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first_byte: Option<u64>,
        /// Milliseconds to the end.
        #[serde(default)]
        took: u64,
        /// Bytes.
        #[serde(default)]
        bytes: u64,
        /// Rows, where they were counted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rows: Option<u64>,
        /// Age of the data in seconds, where it was told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        age: Option<u64>,
        /// Whether it was only to see whether a read would go.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        probe: bool,
    },
    /// A deletion that was asked for.
    Deletion {
        /// Id of the notice.
        id: String,
        /// By when, in milliseconds since 1970.
        due: i64,
        /// When it was confirmed, by the consumer's clock.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        done: Option<i64>,
    },
    /// A statement of the consumer that the provider is named.
    Attribution {
        /// Its id.
        id: String,
        /// When.
        at: i64,
    },
}
