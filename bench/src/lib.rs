//! Benchmarks of dotpipe against its peers, interleaved in one run.
