"""Schemas of the files that starcensus reads."""
