"""FITS files of bands, as their owners write them."""
