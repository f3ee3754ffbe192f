//! Nodes as processes, talked to over the network and by the command line, as others do.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![expect(clippy::print_stderr, reason = "tests say what they left out")]

mod architecture;
mod audit;
mod bench;
mod browser;
mod clerk;
mod compliance;
mod conformance;
mod dataplane;
mod deliveries;
mod demo;
mod documents;
mod edc;
mod faults;
mod federation;
mod feed;
mod files;
mod fuzz;
mod gateway;
mod greedy;
mod hostile;
mod identity;
mod interop;
mod levels;
mod limits;
mod live;
mod management;
mod membership;
mod mim;
mod mim4;
mod notices;
mod origins;
mod personal;
mod records;
mod releases;
mod room;
mod rulebook;
mod soak;
mod streams;
mod support;
mod tls;
mod upstream;
mod usage;
mod verifier;
mod words;
