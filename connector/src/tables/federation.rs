//! Records of what others offer and ask for, and of who they are.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use trust::members::MemberList;

/// What is wanted. Names and values are those of a dataset's description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataRequest {
    /// Its id.
    #[serde(rename = "@id")]
    pub id: String,
    /// In one line.
    pub title: String,
    /// In more words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Which place it should cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// From when on it should cover it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How often it should change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency: Option<String>,
    /// Which media type would do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Which standard or Smart Data Model it should follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conforms_to: Option<String>,
    /// For what it would be used, an IRI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// When it was published.
    #[serde(default)]
    pub issued: Option<Timestamp>,
}

/// The members of a data space, as its authority last said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Membership {
    /// Who said so.
    pub authority: String,
    /// And what.
    pub list: MemberList,
}

/// How reading the catalog of a participant went, and what it told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Crawl {
    /// Whose catalog.
    pub peer: String,
    /// How it calls itself.
    pub name: Option<String>,
    /// Where it was.
    pub address: Option<String>,
    /// When this was last tried.
    pub tried: Timestamp,
    /// When it last succeeded: how old what is known of it is.
    pub seen: Option<Timestamp>,
    /// When something was last found to be different.
    pub changed: Option<Timestamp>,
    /// How often it failed since it last succeeded.
    pub failures: u32,
    /// Why it failed the last time.
    pub failure: Option<String>,
    /// How many datasets it offers to this node.
    pub datasets: u64,
    /// The reading by which its datasets stand in the search index.
    pub reading: u64,
    /// Its pages, for the question whether they have changed.
    pub pages: Vec<PageMark>,
    /// The requests for data that it told of.
    pub requests: Vec<DataRequest>,
}

impl Crawl {
    /// Before the first reading.
    #[must_use]
    pub fn of(peer: &str) -> Self {
        Self {
            peer: peer.to_owned(),
            name: None,
            address: None,
            tried: Timestamp::UNIX_EPOCH,
            seen: None,
            changed: None,
            failures: 0,
            failure: None,
            datasets: 0,
            reading: 0,
            pages: Vec::new(),
            requests: Vec::new(),
        }
    }
}

/// A page of a catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageMark {
    /// Its address.
    pub url: String,
    /// Its entity tag, if it has one.
    pub tag: Option<String>,
}

/// A participant that wants to be told when this node's catalog changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Watcher {
    /// Who.
    pub peer: String,
    /// When it last said so.
    pub at: Timestamp,
}

/// A request of this node for data that nobody offers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataRequestRecord {
    /// As others see it.
    pub request: DataRequest,
    /// Who may see it.
    pub access: Json,
    /// When it was taken back.
    pub withdrawn_at: Option<Timestamp>,
    /// In the order in which they came.
    pub answers: Vec<RequestAnswer>,
}

/// An answer to a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RequestAnswer {
    /// Whose.
    pub by: String,
    /// When it came.
    pub at: Timestamp,
    /// Which.
    #[serde(flatten)]
    pub kind: AnswerKind,
}

/// Yes or no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "answer")]
pub enum AnswerKind {
    /// A dataset is offered.
    Offered {
        /// Our pid of the negotiation about it.
        negotiation: String,
        /// Its id.
        dataset: String,
    },
    /// There will be none.
    Refused {
        /// Why.
        reason: String,
    },
}
