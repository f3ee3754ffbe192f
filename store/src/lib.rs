//! Remember, durably: ordered keys, atomic batches, compare-and-set, behind one journal.
