"""kind = "systematic": an operator, and a fit, under two PSFs."""

import pydantic

from starcensus.experiments.schema._base import FILES, File, Strict
from starcensus.experiments.schema.fit import Name
from starcensus.experiments.schema.images import PsfTable


class ReplacedTable(Strict):
    """The fit that is repeated with each operator.

    **Arguments:**

    - `path`: of the fit's file.
    - `selection`: name of the operator of the file that each learned one takes the place of.
    """

    path: str
    selection: str


@FILES.register("systematic")
class SystematicFile(File):
    """What the PSF changes: injections, an operator and a fit under each of two PSFs.

    Clusters, places and random numbers are the same under both, so that only the PSF differs:
    injected clusters are as wide as it says, and what the survey derives from its PSF (aperture
    corrections, unless the survey's file states them) follows it.

    **Arguments:**

    - `survey`: file of the survey, with a [library].
    - `learning`: file of the networks' training; its `tables` are replaced.
    - `fit`: the fit to repeat, whose operator takes mass, age and extinction; by default none.
    - `psfs`: two tables by name, each BAND = "path" as [psf] of a survey; bands that are left out,
      and all of an empty table, have the embedded models. Changes are from the first to the second.
    """

    survey: str
    learning: str
    fit: ReplacedTable | None = None
    psfs: dict[Name, dict[str, PsfTable]]

    @pydantic.model_validator(mode="after")
    def _two(self) -> "SystematicFile":
        if len(self.psfs) != 2:
            raise ValueError(
                f"psfs has {len(self.psfs)} tables ({', '.join(self.psfs) or 'none'}); expected two"
            )
        first, second = self.psfs.values()
        if first == second:
            raise ValueError(f"psfs: {' and '.join(self.psfs)} are the same; expected two PSFs")
        return self
