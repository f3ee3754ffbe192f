//! DCAT: what is on offer, to whom, as which document.
