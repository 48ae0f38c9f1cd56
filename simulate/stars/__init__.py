"""Stars to magnitudes: isochrones, atmospheres, filters and the grid made of them."""

from .grid import StellarGrid as StellarGrid
