"""Clusters: stars drawn from an IMF, and where they stand."""
