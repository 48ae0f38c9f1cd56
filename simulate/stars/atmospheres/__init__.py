"""Model atmospheres: one reader for each library and the rule that chooses among them."""

from ._base import SpectralLibrary as SpectralLibrary
from .ck04 import read_ck04 as read_ck04
from .hot import black_bodies as black_bodies
from .hot import read_cmfgen as read_cmfgen
from .hot import read_post_agb as read_post_agb
from .hot import read_wmbasic as read_wmbasic
from .rule import Atmospheres as Atmospheres
from .rule import read_atmospheres as read_atmospheres
