"""Settings of a calibration."""

import dataclasses

from starcensus.settings import check_seed

from ...forward import QuadratureSettings
from ..objects import ErrorSettings
from ..sampling import SamplerSettings

MAX_CATALOGUES = 1_000_000


@dataclasses.dataclass(frozen=True)
class CalibrationSettings:
    """Size of a calibration.

    **Arguments:**

    - `n_catalogues`: number of mock catalogues that are fitted; see `gate_power` for what so many
      can tell.
    - `n_scored`: number of mock catalogues at whose truth the score is tested (`score_test`): the
      default sees biases of 0.2 standard deviations, and widths that are off by 10%.
    - `n_ranked`: posterior draws, thinned to be nearly independent, among which truth is ranked.
    - `batch`: catalogues that each device fits side by side, in step: every one then waits for the
      longest trajectory among them, which an accelerator makes up for and a CPU does not.
    - `seed`: seed of everything random.
    - `errors`, `quadrature`, `sampler`: as in `FitSettings`.

    With `sampler.method = "importance"` a catalogue whose weights forbid it is fitted by chains.

    Raises `ValueError` for numbers below 1 or above a million, or more ranked draws than there are.

    ```python
    CalibrationSettings(n_catalogues=400, seed=1)
    ```
    """

    n_catalogues: int = 200
    n_scored: int = 3000
    n_ranked: int = 99
    batch: int = 1
    seed: int = 0
    errors: ErrorSettings = dataclasses.field(default_factory=lambda: ErrorSettings(n_samples=32))
    quadrature: QuadratureSettings = dataclasses.field(default_factory=QuadratureSettings)
    sampler: SamplerSettings = dataclasses.field(
        # Too few or too dependent draws blur ranks and intervals, and coverages fall short.
        default_factory=lambda: SamplerSettings(
            n_chains=2, n_warmup=150, n_samples=200, max_tree_depth=6, target_accept=0.8
        )
    )

    def __post_init__(self) -> None:
        for name in ("n_catalogues", "n_scored", "n_ranked", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}; expected 1 or more")
        check_seed(self.seed)
        if self.n_catalogues > MAX_CATALOGUES:
            raise ValueError(
                f"n_catalogues = {self.n_catalogues}; expected {MAX_CATALOGUES:,} or less"
            )
        n_draws = self.sampler.n_chains * self.sampler.n_samples
        if self.n_ranked > n_draws:
            raise ValueError(f"n_ranked = {self.n_ranked}; the sampler makes {n_draws} draws")
