"""How an observation model is learned."""

import dataclasses

from starcensus.settings import check_choices, check_seed

from ...networks import TrainSettings
from .mixture import Form


@dataclasses.dataclass(frozen=True)
class ObservationSettings:
    """What is learned of a survey's photometry, and how.

    **Arguments:**

    - `form`: factorisation of the density, see `starcensus.selection.observation.mixture`.
    - `n_components`: Gaussians of the magnitudes. `n_ci`: of the concentration index, where it has
      its own (sequential).
    - `rank`: of what is shared by the bands' deviations in each Gaussian.
    - `concentration`: the concentration index is among the data. It tells the size of a cluster,
      and with it the light that its aperture loses.
    - `r_eff`, `background`: the networks take the half-light radius, or the local sky, and the
      density is averaged over a stated distribution of them. Otherwise both are as in the design.
      What is measured of a bright cluster fixes its radius to a few hundredths of a dex: nodes of
      `selection.nuisance` that are farther apart miss it.
    - `max_error`: a magnitude with a larger quoted error is not recorded, mag.
    - `min_pattern`: bands that were recorded together by fewer injections are no pattern.
    - `widths`: of the hidden layers.
    - `epochs`, `batch_size`, `max_rate`, `weight_decay`: of AdamW; the rate falls as a cosine.
    - `validation`: share of the catalogued rows by which the best epoch is chosen.
    - `n_halves`: models that are learned beside the one of all injections, each from a random half
      of them in as many steps: how they scatter is what the injections leave open, and fits can
      count it. 5 or more tell its size; each takes as long as the one of all.
    - `seed`: of everything random.
    - `selection`: training of the networks of P(det | μ). Batches are small and steps many, or the
      edge of the survey is smoother than it is.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    ObservationSettings(n_components=12, epochs=200)
    ```
    """

    form: Form = "sequential"
    n_components: int = 8
    n_ci: int = 6
    rank: int = 2
    concentration: bool = True
    r_eff: bool = False
    background: bool = False
    max_error: float = 0.3
    min_pattern: int = 20
    widths: tuple[int, ...] = (64, 64)
    epochs: int = 300
    batch_size: int = 512
    max_rate: float = 2e-3
    weight_decay: float = 1e-4
    validation: float = 0.1
    n_halves: int = 0
    seed: int = 0
    selection: TrainSettings = dataclasses.field(
        default_factory=lambda: TrainSettings((64, 64), 3, 100, 512, max_rate=3e-3)
    )

    def __post_init__(self) -> None:
        check_choices(self)
        check_seed(self.seed)
        for name in ("n_components", "n_ci", "epochs", "batch_size", "min_pattern"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.n_halves < 0 or self.n_halves == 1:
            raise ValueError(
                f"n_halves is {self.n_halves}; expected 0, or 2 or more, whose differences say "
                "something"
            )
        if self.rank < 0 or not self.widths or min(self.widths) < 1:
            raise ValueError(
                f"rank is {self.rank} and widths {self.widths}; expected 0 or more, and at least "
                "one hidden layer"
            )
        if not (self.max_error > 0 and self.max_rate > 0 and self.weight_decay >= 0):
            raise ValueError(
                f"max_error is {self.max_error}, max_rate {self.max_rate} and weight_decay "
                f"{self.weight_decay}; expected the first two above 0, the last 0 or more"
            )
        if not 0 < self.validation < 1:
            raise ValueError(f"validation is {self.validation}; expected between 0 and 1")
