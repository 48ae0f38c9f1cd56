"""What objects with measured light have in common: their survey is in the observation model."""

from ...selection import AbstractSelection, CompleteSelection
from ._base import AbstractObjects, ObjectsError


class MeasuredLight(AbstractObjects):
    """Clusters whose light was measured; the observation model says who is catalogued."""

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
