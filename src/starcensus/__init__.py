"""Forward modelling and inference for populations of star clusters in other galaxies."""

from importlib.metadata import version as _version

__version__ = _version("starcensus")
