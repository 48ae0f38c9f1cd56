"""What objects with measured light have in common: their survey is in the observation model."""

import equinox as eqx

from ...selection import AbstractSelection, CompleteSelection
from ...selection.catalogue.photometry import Photometry
from ...selection.observation import AbstractObservation
from ._base import AbstractObjects, ObjectsError


class MeasuredLight(AbstractObjects):
    """Clusters whose light was measured; the observation model says who is catalogued."""

    data: eqx.AbstractVar[Photometry]
    observation: eqx.AbstractVar[AbstractObservation]

    @property
    def exact(self) -> bool:
        return False

    @property
    def selects(self) -> bool:
        return True

    def entering(self, selection: AbstractSelection) -> AbstractSelection:
        """`selection`, which must be that of a complete catalogue: the survey's is the observation
        model's.

        Raises `ObjectsError` for an operator that the model does not know of.
        """
        if not isinstance(selection, CompleteSelection):
            raise ObjectsError(
                f"{self.source}: the selection of clusters with measured light is that of their "
                f"observation model, and {type(selection).__name__} would count beside it; give "
                "operators of true magnitudes to the observation model, and none to the fit"
            )
        return selection

    def _check_expected(self) -> None:
        """Raises `ObjectsError` where nobody knows how many of such clusters are expected."""
        try:
            self.observation.check_expected(self.data)
        except ValueError as error:
            raise ObjectsError(str(error)) from error
