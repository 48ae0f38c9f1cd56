"""Isochrones, one reader for each kind of file."""

from ._base import Isochrone as Isochrone
from ._base import IsochroneSet as IsochroneSet
from ._base import Kind as Kind
from .cmd import read_cmd as read_cmd
from .fsps import read_fsps as read_fsps
from .mist import read_mist as read_mist
from .slug import read_slug as read_slug
