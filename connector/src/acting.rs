//! Who acts: the key with which a change is asked for, and from where, so that the audit log can name it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

tokio::task_local! {
    static ACTOR: Actor;
}

/// Whoever asks this node for something over its management API, by the command line, or at its gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Actor {
    /// The id of the key; `None` for the node's own, out of its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The name that the key has.
    pub name: String,
    /// From which address the request came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

impl Actor {
    /// Does `work` in the name of this actor.
    pub(crate) async fn act<T>(self, work: impl Future<Output = T>) -> T {
        ACTOR.scope(self, work).await
    }

    /// In whose name the current task works; `None` for what the node does by itself, or because a participant asks.
    pub(crate) fn current() -> Option<Self> {
        ACTOR.try_with(Clone::clone).ok()
    }
}
