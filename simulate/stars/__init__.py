"""Stars to magnitudes: isochrones, atmospheres, filters and the grid made of them."""

from .atmospheres import Atmospheres as Atmospheres
from .atmospheres import SpectralLibrary as SpectralLibrary
from .atmospheres import black_bodies as black_bodies
from .atmospheres import read_atmospheres as read_atmospheres
from .atmospheres import read_ck04 as read_ck04
from .atmospheres import read_cmfgen as read_cmfgen
from .atmospheres import read_post_agb as read_post_agb
from .atmospheres import read_wmbasic as read_wmbasic
from .build import Photometry as Photometry
from .build import Resampling as Resampling
from .build import build_grid as build_grid
from .filters import Filter as Filter
from .filters import Spectrum as Spectrum
from .filters import default_filters as default_filters
from .filters import read_filter as read_filter
from .filters import read_vega as read_vega
from .filters import zero_fluxes as zero_fluxes
from .grid import StellarGrid as StellarGrid
from .isochrones import Isochrone as Isochrone
from .isochrones import IsochroneSet as IsochroneSet
from .isochrones import Kind as Kind
from .isochrones import read_cmd as read_cmd
from .isochrones import read_fsps as read_fsps
from .isochrones import read_mist as read_mist
from .isochrones import read_slug as read_slug
