"""Catalogues of clusters: readers, checks and named cuts."""

from ._base import Catalogue as Catalogue
from ._base import CatalogueError as CatalogueError
from ._base import Step as Step
from .checks import check as check
from .checks import has_estimate as has_estimate
from .cuts import CUTS as CUTS
from .cuts import absolute_magnitude as absolute_magnitude
from .cuts import apply_cuts as apply_cuts
from .cuts import classes as classes
from .cuts import concentration as concentration
from .cuts import legus_stage2 as legus_stage2
from .cuts import photometric_errors as photometric_errors
from .cuts import theta_range as theta_range
from .cuts import with_estimates as with_estimates
from .legus import read_legus as read_legus
from .literature import read_literature as read_literature
from .read import read_catalogue as read_catalogue
from .read import write_catalogue as write_catalogue
from .table import ColumnMap as ColumnMap
from .table import read_table as read_table
