"""Artificial cluster tests: which clusters of known light a pipeline catalogues."""

from .frames import Injector as Injector
from .light import ApertureLight as ApertureLight
from .match import match_one_to_one as match_one_to_one
from .own import catalogued_clusters as catalogued_clusters
from .plan import InjectionPlan as InjectionPlan
from .run import run_injections as run_injections
from .table import InjectionTable as InjectionTable
