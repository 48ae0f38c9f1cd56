"""Jobs: one file each, from checked settings to files on disk."""
