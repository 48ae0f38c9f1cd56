"""How a posterior is learned."""

import dataclasses

from starcensus.settings import check_seed


@dataclasses.dataclass(frozen=True)
class PosteriorSettings:
    """What networks are told of a catalogued cluster, and how they are trained.

    **Arguments:**

    - `columns`: further columns of the pipeline that the networks take, by their names in
      `InjectionTable.measured`; empty for all that the table has.
    - `magnitudes`: whether they take the magnitudes in each band, and which bands have one.
    - `concentration`: whether they take the concentration index.
    - `n_components`: Gaussians of each network's mixture. `n_members`: networks, averaged.
    - `widths`: of the hidden layers.
    - `epochs`, `batch_size`, `max_rate`, `weight_decay`: of AdamW; the rate falls as a cosine.
    - `validation`: share of the catalogued rows by which each network's best epoch is chosen.
    - `seed`: of everything random.

    Raises `ValueError` for numbers out of their ranges, and for nothing to be told.

    ```python
    PosteriorSettings(n_members=1, epochs=50)
    ```
    """

    columns: tuple[str, ...] = ()
    magnitudes: bool = True
    concentration: bool = True
    n_components: int = 8
    n_members: int = 4
    widths: tuple[int, ...] = (128, 128)
    epochs: int = 150
    batch_size: int = 256
    max_rate: float = 1e-3
    weight_decay: float = 1e-2
    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name in ("n_components", "n_members", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"widths is {self.widths}; expected at least one hidden layer")
        if not (self.max_rate > 0 and self.weight_decay >= 0 and 0 < self.validation < 1):
            raise ValueError(
                f"max_rate is {self.max_rate}, weight_decay {self.weight_decay} and validation "
                f"{self.validation}; expected above 0, 0 or more, and between 0 and 1"
            )
        if len(set(self.columns)) != len(self.columns):
            raise ValueError(f"columns is {self.columns}; expected each name once")
