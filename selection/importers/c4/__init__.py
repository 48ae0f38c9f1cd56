"""The networks of cluster-completeness-pipeline (C-4)."""
