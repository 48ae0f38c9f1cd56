"""kind = "calibration": coverage and ranks over mock catalogues."""

from typing import Annotated, Literal

import pydantic

from starcensus.experiments.schema._base import FILES, BandsFile, Strict
from starcensus.experiments.schema._kinds import Without
from starcensus.experiments.schema.fit import Name, check_name
from starcensus.experiments.schema.population import PopulationTable
from starcensus.experiments.schema.selection import SelectionTable, Triple
from starcensus.inference.calibration import CalibrationSettings


class CaseTable(Strict):
    """Mocks made by one operator, fitted with another (the same, if the likelihood is right).

    **Arguments:**

    - `name`: of its files: small letters, digits and hyphens.
    - `population`: name of the family, from whose priors the parameters are drawn.
    - `generator`: name of the operator that makes the catalogues.
    - `selection`: name of the operator in the likelihood.
    - `sigma`: Gaussian errors (dex, dex, mag) of a generator that acts on the truth.
    - `acts_on`: where the operator stands in the likelihood, instead of what it says.
    - `passes`: whether the calibration should succeed; that of a wrong likelihood should not.
    """

    name: Name
    population: str
    generator: str
    selection: str
    sigma: Triple | None = None
    acts_on: Literal["data", "truth"] | None = None
    passes: bool = True


@FILES.register("calibration")
class CalibrationFile(BandsFile):
    """Simulation-based calibration of fits.

    **Arguments:**

    - `selections`: operators, by name. `populations`: families, by name.
    - `cases`: what is generated and fitted.
    - `calibration`: how many catalogues, and how each is fitted.
    """

    selections: dict[str, SelectionTable]
    populations: dict[str, PopulationTable]
    cases: Annotated[tuple[CaseTable, ...], pydantic.Field(min_length=1)]
    calibration: Annotated[CalibrationSettings, Without(("seed",))] = CalibrationSettings()

    @pydantic.model_validator(mode="after")
    def _names_exist(self) -> "CalibrationFile":
        for case in self.cases:
            check_name(case.generator, self.selections)
            check_name(case.selection, self.selections)
            check_name(case.population, self.populations)
        return self
