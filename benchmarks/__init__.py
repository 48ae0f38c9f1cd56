"""Benchmarks of the library; `starcensus bench` prints one JSON line each."""
