"""Images: bands of one field, PSFs, rendered clusters, synthetic galaxies."""
