"""Readers of operators that others published."""
