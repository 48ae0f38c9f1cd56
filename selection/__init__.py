"""Selection: survey operators that give the probability of entering a catalogue."""

from ._base import AbstractSelection as AbstractSelection
from ._base import SelectionDomainError as SelectionDomainError
from ._box import Box as Box
from ._c4 import UnsafePickleError as UnsafePickleError
from ._c4 import import_c4 as import_c4
from ._complete import CompleteSelection as CompleteSelection
from ._complete import complete as complete
from ._grid import GridSelection as GridSelection
from ._grid import tabulate as tabulate
from ._magnitude import MagnitudeLimit as MagnitudeLimit
from ._marginal import Marginalised as Marginalised
from ._marginal import marginalise as marginalise
from ._network import NetworkSelection as NetworkSelection
from ._photometric import PhotometricNetwork as PhotometricNetwork
from ._product import ProductSelection as ProductSelection
from ._recorded import RecordedSelection as RecordedSelection
from ._recorded import with_acts_on as with_acts_on
from ._recorded import with_outside as with_outside
from ._store import SelectionFileError as SelectionFileError
from ._store import load_selection as load_selection
from ._store import save_selection as save_selection
from .corrections import CorrectedCounts as CorrectedCounts
from .corrections import corrected_counts as corrected_counts
from .corrections import marginal_completeness as marginal_completeness
