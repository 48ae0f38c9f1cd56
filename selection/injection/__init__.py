"""Artificial cluster tests: which clusters of known light a pipeline catalogues."""

from .injector import Clock as Clock
from .injector import Injector as Injector
from .known import KnownClusters as KnownClusters
from .known import catalogued_clusters as catalogued_clusters
from .light import ApertureLight as ApertureLight
from .light import owns as owns
from .light import source_light as source_light
from .matching import Matches as Matches
from .matching import match_one_to_one as match_one_to_one
from .matching import match_sources as match_sources
from .places import at_planned_places as at_planned_places
from .places import place_weights as place_weights
from .plan import InjectionPlan as InjectionPlan
from .plan import place as place
from .run import Build as Build
from .run import run_injections as run_injections
from .table import InjectionTable as InjectionTable
