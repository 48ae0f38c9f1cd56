"""Catalogues of clusters: readers, checks and named cuts."""

from ._base import Catalogue as Catalogue
from ._base import CatalogueError as CatalogueError
from ._base import Step as Step
from .checks import GAUSSIAN as GAUSSIAN
from .checks import check as check
from .checks import has_estimate as has_estimate
from .cuts import CUTS as CUTS
from .cuts import AbsoluteMagnitude as AbsoluteMagnitude
from .cuts import Classes as Classes
from .cuts import Concentration as Concentration
from .cuts import Cut as Cut
from .cuts import LegusStage2 as LegusStage2
from .cuts import PhotometricErrors as PhotometricErrors
from .cuts import ThetaRange as ThetaRange
from .cuts import WithEstimates as WithEstimates
from .cuts import apply_cuts as apply_cuts
from .cuts import cuts_of as cuts_of
from .legus import read_legus as read_legus
from .literature import read_literature as read_literature
from .read import READERS as READERS
from .read import read_catalogue as read_catalogue
from .read import write_catalogue as write_catalogue
from .table import ColumnMap as ColumnMap
from .table import PhotometryColumns as PhotometryColumns
from .table import Quantity as Quantity
from .table import read_table as read_table
