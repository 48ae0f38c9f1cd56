"""Simulated clusters and images."""

from .library import ClusterLibrary as ClusterLibrary
from .profiles import EFF as EFF
from .profiles import King as King
from .profiles import Moffat as Moffat
from .profiles import Profile as Profile
from .slug import VEGAMAG as VEGAMAG
from .slug import log_uniform_density as log_uniform_density
from .slug import read_slug2 as read_slug2
from .slug import read_zeropoints as read_zeropoints
