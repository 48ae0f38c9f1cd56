"""How a density of the light of clusters is learned."""

import dataclasses

from starcensus.settings import check_seed


@dataclasses.dataclass(frozen=True)
class EmulatorSettings:
    """The mixture, its network, and the training.

    **Arguments:**

    - `n_components`: Gaussians of the mixture, each with a full covariance.
    - `widths`: of the hidden layers.
    - `age_features`: bumps of log_age that the network sees beside θ, so that what happens within
      a tenth of a dex can be told.
    - `noise_mag`: (least, largest) error that rows of the training are seen with, mag; each row has
      one, spread evenly in its logarithm. The density is of light without it, and is as sharp as
      the least error can tell.
    - `epochs`, `batch_size`, `max_rate`, `weight_decay`: of AdamW; the rate falls as a cosine.
    - `validation`: share of the clusters by which the best epoch is chosen.
    - `seed`: of everything random.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    EmulatorSettings(n_components=8, widths=(32, 32), epochs=2)
    ```
    """

    n_components: int = 32
    widths: tuple[int, ...] = (128, 128, 128)
    age_features: int = 24
    noise_mag: tuple[float, float] = (0.02, 0.2)
    epochs: int = 12
    batch_size: int = 1024
    max_rate: float = 2e-3
    weight_decay: float = 1e-4
    validation: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name in ("n_components", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if not self.widths or min(self.widths) < 1 or self.age_features < 0:
            raise ValueError(
                f"widths is {self.widths} and age_features {self.age_features}; expected at least "
                "one hidden layer, and 0 or more"
            )
        if not (self.max_rate > 0 and self.weight_decay >= 0 and 0 < self.validation < 1):
            raise ValueError(
                f"max_rate is {self.max_rate}, weight_decay {self.weight_decay} and validation "
                f"{self.validation}; expected above 0, 0 or more, and between 0 and 1"
            )
        low, high = self.noise_mag
        if not 1e-3 <= low <= high <= 2.0:
            raise ValueError(
                f"noise_mag is ({low:g}, {high:g}); expected magnitudes from 0.001 to 2, the "
                "smaller one first"
            )
