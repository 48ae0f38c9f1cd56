"""Catalogues of clusters: readers, checks and named cuts."""

from ._base import Catalogue as Catalogue
from ._base import CatalogueError as CatalogueError
from ._base import Step as Step
