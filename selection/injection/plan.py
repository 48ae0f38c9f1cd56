"""Which clusters go into which frame, and where."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ...simulate.white import draw_positions

WHOLE_PC = tuple(float(r) for r in range(1, 11))
_TRIES = 2000


@dataclasses.dataclass(frozen=True)
class InjectionPlan:
    """An artificial cluster test; C-4's numbers by default (section 3.2).

    **Arguments:**

    - `n_sets`: batches of different clusters. `repeats`: how often each batch is injected, at new
      positions and with new noise; frame number = repeat * n_sets + set.
    - `per_frame`: clusters in a batch. `start_row`: the first row of the library that is used; rows
      follow in order and none is used twice, so a test set can begin where a training set ended.
    - `radii_pc`: one half-light radius for each batch, in turn; None takes each cluster's own, from
      the library.
    - `seed`: of positions and noise. A frame follows from it and its number alone.
    - `sigma_pc`, `margin_pix`: of `placement_density`.
    - `min_separation`: least distance of two injections in half-light radii, of the larger one.
    - `match_pix`: radius within which a source belongs to an injection.
    """

    n_sets: int = 490
    repeats: int = 1
    per_frame: int = 500
    start_row: int = 0
    radii_pc: tuple[float, ...] | None = WHOLE_PC
    seed: int = 0
    sigma_pc: float = 120.0
    margin_pix: int = 12
    min_separation: float = 3.0
    match_pix: float = 3.0

    def __post_init__(self) -> None:
        for name, least in (("n_sets", 1), ("repeats", 1), ("per_frame", 1), ("start_row", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} or more")
        if self.radii_pc is not None and not (self.radii_pc and min(self.radii_pc) > 0):
            raise ValueError(f"radii_pc is {self.radii_pc}; expected parsecs > 0, or None")
        if not (self.sigma_pc > 0 and self.match_pix > 0 and self.min_separation >= 0):
            raise ValueError(
                "sigma_pc and match_pix are positive and min_separation >= 0; got "
                f"{self.sigma_pc}, {self.match_pix} and {self.min_separation}"
            )
        if self.seed < 0 or self.margin_pix < 0:
            raise ValueError(f"seed and margin_pix are >= 0; got {self.seed}, {self.margin_pix}")

    @property
    def n_frames(self) -> int:
        return self.n_sets * self.repeats

    @property
    def n_rows(self) -> int:
        """Rows of the library that are used."""
        return self.n_sets * self.per_frame

    def rows(self, frame: int) -> Int[np.ndarray, "n"]:
        """Rows of the library in a frame."""
        first = self.start_row + frame % self.n_sets * self.per_frame
        return np.arange(first, first + self.per_frame)

    def repeat(self, frame: int) -> int:
        return frame // self.n_sets

    def radius_pc(self, frame: int) -> float | None:
        """The one half-light radius of a frame, or None."""
        return self.radii_pc[frame % self.n_sets % len(self.radii_pc)] if self.radii_pc else None

    def rng(self, frame: int, stream: int) -> np.random.Generator:
        """The random numbers of a frame: stream 0 is for positions, 1 + band for photons."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(frame, stream)))

    def describe(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def place(
    density: Float[np.ndarray, "row col"],
    radii_pix: Float[np.ndarray, "n"],
    min_separation: float,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Positions (x, y) drawn from the density, no two closer than they may be.

    A position within `min_separation` times the larger half-light radius of one that was drawn
    before is drawn again. Raises `ValueError` when there is no room.
    """
    n = len(radii_pix)
    x, y = np.empty(n), np.empty(n)
    spare_x, spare_y, used = x[:0], y[:0], 0
    for i in range(n):
        least = min_separation * np.maximum(radii_pix[:i], radii_pix[i])
        for _ in range(_TRIES):
            if used == len(spare_x):
                # Drawn many at a time, for each call sums over the whole frame.
                spare_x, spare_y = draw_positions(density, n, rng)
                used = 0
            x[i], y[i] = spare_x[used], spare_y[used]
            used += 1
            if not (np.hypot(x[:i] - x[i], y[:i] - y[i]) < least).any():
                break
        else:
            raise ValueError(
                f"no place was found for cluster {i} of {n} in {_TRIES} tries, {min_separation:g} "
                "half-light radii from the others; inject fewer per frame"
            )
    return x, y
