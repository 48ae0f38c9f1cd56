"""kind = "mock": a mock catalogue of a known population."""

from starcensus.experiments.schema._base import FILES, BandsFile
from starcensus.experiments.schema.population import KnownPopulation
from starcensus.experiments.schema.selection import SelectionTable, Triple


@FILES.register("mock")
class MockFile(BandsFile):
    """A catalogue drawn from a known population through an operator.

    **Arguments:**

    - `selection`: the operator. `population`: the population, with its `truth`.
    - `sigma`: Gaussian errors (dex, dex, mag) of the recorded values, for an operator that acts on
      the truth.
    """

    selection: SelectionTable
    population: KnownPopulation
    sigma: Triple | None = None
