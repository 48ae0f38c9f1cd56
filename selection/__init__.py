"""Selection: survey operators that give the probability of entering a catalogue."""

from starcensus.theta import Box as Box

from .corrections import CorrectedCounts as CorrectedCounts
from .corrections import corrected_counts as corrected_counts
from .corrections import extinction_density as extinction_density
from .corrections import marginal_completeness as marginal_completeness
from .importers.c4.networks import UnsafePickleError as UnsafePickleError
from .importers.c4.networks import import_c4 as import_c4
from .operators._base import AbstractSelection as AbstractSelection
from .operators._base import SelectionDomainError as SelectionDomainError
from .operators.complete import CompleteSelection as CompleteSelection
from .operators.complete import complete as complete
from .operators.grid import GridSelection as GridSelection
from .operators.grid import tabulate as tabulate
from .operators.magnitude import MagnitudeLimit as MagnitudeLimit
from .operators.marginal import Marginalised as Marginalised
from .operators.marginal import marginalise as marginalise
from .operators.network import NetworkSelection as NetworkSelection
from .operators.nuisance import Nuisance as Nuisance
from .operators.nuisance import background_distribution as background_distribution
from .operators.nuisance import independent as independent
from .operators.nuisance import radius_distribution as radius_distribution
from .operators.photometric import PhotometricNetwork as PhotometricNetwork
from .operators.product import ProductSelection as ProductSelection
from .operators.recorded import RecordedSelection as RecordedSelection
from .operators.recorded import with_acts_on as with_acts_on
from .operators.recorded import with_outside as with_outside
from .operators.store import SelectionFileError as SelectionFileError
from .operators.store import load_selection as load_selection
from .operators.store import save_selection as save_selection
from .operators.store import selection_provenance as selection_provenance
