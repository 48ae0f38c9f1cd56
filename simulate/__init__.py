"""Simulated clusters and images."""

from .design import BoxTheta as BoxTheta
from .design import Design as Design
from .design import FlatRadius as FlatRadius
from .design import MassRadius as MassRadius
from .design import TableTheta as TableTheta
from .dust import ExtinctionCurve as ExtinctionCurve
from .dust import attenuate as attenuate
from .dust import extinction_curve as extinction_curve
from .dust import tabulated_curve as tabulated_curve
from .library import ClusterLibrary as ClusterLibrary
from .nebular import NebularSettings as NebularSettings
from .nebular import nebular_band_flux as nebular_band_flux
from .nebular import nebular_spectrum as nebular_spectrum
from .profiles import EFF as EFF
from .profiles import King as King
from .profiles import Moffat as Moffat
from .profiles import Profile as Profile
from .run import LibraryRunError as LibraryRunError
from .run import RunSettings as RunSettings
from .run import run_library as run_library
from .slug import VEGAMAG as VEGAMAG
from .slug import log_uniform_density as log_uniform_density
from .slug import read_slug2 as read_slug2
from .slug import read_zeropoints as read_zeropoints
from .slug3 import read_slug3 as read_slug3
