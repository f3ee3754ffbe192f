//! Move bytes under a Grant: sources, guard, meter.
