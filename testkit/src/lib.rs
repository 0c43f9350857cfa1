//! What the tests of all dotpipe crates share.
