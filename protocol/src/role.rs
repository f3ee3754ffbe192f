//! Which side of a process a participant is on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A side of a negotiation or transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Role {
    /// Asks for data.
    Consumer,
    /// Offers data.
    Provider,
}

impl Role {
    /// Both roles.
    pub const ALL: [Self; 2] = [Self::Consumer, Self::Provider];

    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Consumer => Self::Provider,
            Self::Provider => Self::Consumer,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Consumer => "consumer",
            Self::Provider => "provider",
        })
    }
}
