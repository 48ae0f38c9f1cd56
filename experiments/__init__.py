"""Experiments: the command line, experiment files, reports and benchmarks."""
