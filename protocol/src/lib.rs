//! Dataspace Protocol 2025-1: messages; negotiation and transfer as pure machines.
