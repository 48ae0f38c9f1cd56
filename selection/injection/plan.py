"""Which clusters go into which frame, and where.

An artificial cluster test asks what would become of one more cluster in the galaxy, and puts many
into a frame only to save time. If bright and faint ones share a frame the bright ones hide the
others: of clusters of 1e2 to 1e8 M_sun, 500 to a frame of 2048² pixels, half of those with V = 17
are lost to their fellows. So a frame holds clusters of like brightness, `min_separation_pix` apart,
and the fewer the brighter they are.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from starcensus.settings import check_choices, check_seed

from ...simulate.images.white import SCALE_FACTORS, draw_positions

WHOLE_PC = tuple(float(r) for r in range(1, 11))
_TRIES = 2000


@dataclasses.dataclass(frozen=True)
class InjectionPlan:
    """An artificial cluster test.

    **Arguments:**

    - `n_clusters`: how many rows of the library are injected, from `start_row` on, each once in
      every repeat; a test set can begin where a training set ended. None takes all that follow.
    - `repeats`: how often, each time at new positions and with new noise.
    - `per_frame`: most clusters in a frame.
    - `start_row`: first row of the library that is injected.
    - `group`: `"brightness"` sorts the rows by V magnitude before they are cut into frames, and a
      frame gets no more light than `max_light`; `"rows"` takes `per_frame` rows as they come.
    - `max_light`: injected light in V over that of the frame above its darkest percent.
    - `min_per_frame`: at least so many clusters are injected whatever their light.
    - `radii_pc`: half-light radii, pc; frames of each in turn have clusters of one radius. None
      takes each cluster's own, from the library.
    - `seed`: seed of positions and noise. A frame follows from the plan, the library and its
      number.
    - `sigma_pc`, `margin_pix`: smoothing (pc) of the light that positions follow, and pixels by
      which they keep from borders and from pixels that are bad in V. 0 for clusters wherever V has
      data, some of which lose a part of their aperture and are not catalogued for that.
    - `scale_factors`: sets of weights of white light, by filter, as `LegusSettings` has for
      detection.
    - `min_separation`, `min_separation_pix`: least distance of two injections in half-light radii,
      of the larger one, and in pixels; both hold.
    - `match_pix`: radius within which a source belongs to an injection, pixels.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    InjectionPlan(n_clusters=500, start_row=20_000, repeats=20, radii_pc=(3.0,), seed=4)
    ```
    """

    n_clusters: int | None = None
    repeats: int = 1
    per_frame: int = 250
    start_row: int = 0
    group: Literal["brightness", "rows"] = "brightness"
    max_light: float = 0.2
    min_per_frame: int = 25
    radii_pc: tuple[float, ...] | None = None
    seed: int = 0
    sigma_pc: float = 120.0
    margin_pix: int = 0
    min_separation: float = 3.0
    min_separation_pix: float = 10.0
    match_pix: float = 3.0
    scale_factors: tuple[Mapping[str, float], ...] = SCALE_FACTORS

    def __post_init__(self) -> None:
        least: dict[str, int] = {} if self.n_clusters is None else {"n_clusters": 1}
        least |= dict(repeats=1, per_frame=1, start_row=0, min_per_frame=1)
        for name, value in {**least, "margin_pix": 0}.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {value} or more")
        check_seed(self.seed)
        if self.radii_pc is not None and not (self.radii_pc and min(self.radii_pc) > 0):
            raise ValueError(f"radii_pc is {self.radii_pc}; expected parsecs > 0, or None")
        for name in ("sigma_pc", "match_pix", "max_light"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected > 0")
        if min(self.min_separation, self.min_separation_pix) < 0:
            raise ValueError(
                "min_separation and min_separation_pix are 0 or more; got "
                f"{self.min_separation} and {self.min_separation_pix}"
            )
        check_choices(self)
        if not (self.scale_factors and all(self.scale_factors)):
            raise ValueError(
                f"scale_factors is {self.scale_factors}; expected one or more sets, such as "
                "{'F555W': 65.7, 'F814W': 29.3}"
            )
        for factors in self.scale_factors:
            for name, factor in factors.items():
                if not 0 < factor < math.inf:
                    raise ValueError(
                        f"scale_factors of {name} has {factor}; expected more than 0, and finite"
                    )

    def sets(
        self, light: Float[np.ndarray, "n"], frame_light: float
    ) -> list[tuple[Int[np.ndarray, "row"], float | None]]:
        """Rows of the library that share a frame, and their one radius (pc) or None.

        **Arguments:**

        - `light`: `(n,)`, light of each cluster of the library in V.
        - `frame_light`: light of the frame in V, in the same unit.
        """
        stop = len(light) if self.n_clusters is None else self.start_row + self.n_clusters
        rows = np.arange(self.start_row, stop)
        radii = self.radii_pc or (None,)
        out = []
        # Cut into as many parts as radii before sorting: radius and light stay independent.
        for part, radius in zip(np.array_split(rows, len(radii)), radii, strict=True):
            if self.group == "brightness":
                part = part[np.argsort(-light[part], kind="stable")]
            start = 0
            while start < len(part):
                stop = min(start + self.per_frame, len(part))
                if self.group == "brightness":
                    total = np.cumsum(light[part[start:stop]])
                    bright = int(np.searchsorted(total, self.max_light * frame_light, "right"))
                    stop = min(stop, start + max(bright, self.min_per_frame))
                out.append((part[start:stop], radius))
                start = stop
        return out

    def rng(self, frame: int, stream: int) -> np.random.Generator:
        """The random numbers of a frame: stream 0 is for positions, 1 + band for photons."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(frame, stream)))

    def describe(self) -> dict[str, Any]:
        """All fields; JSON."""
        described = dataclasses.asdict(self)
        return described | {"scale_factors": [dict(each) for each in self.scale_factors]}


def place(
    density: Float[np.ndarray, "row col"],
    radii_pix: Float[np.ndarray, "n"],
    min_separation: float,
    min_separation_pix: float,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Positions (x, y), pixels, drawn from a density, no two closer than they may be.

    A position that is too close to one that was drawn before is drawn again.

    **Arguments:**

    - `density`: `(row, col)`, probability of each pixel.
    - `radii_pix`: `(n,)`, half-light radii, pixels.
    - `min_separation`: least distance of two, in half-light radii of the larger.
    - `min_separation_pix`: least distance of two, pixels.
    - `rng`: a generator of NumPy.

    Raises `ValueError` when there is no room.

    ```python
    everywhere = np.full((96, 96), 1 / 96**2)
    x, y = place(everywhere, np.full(5, 1.6), 3.0, 10.0, np.random.default_rng(0))
    ```
    """
    n = len(radii_pix)
    x, y = np.empty(n), np.empty(n)
    spare_x, spare_y, used = x[:0], y[:0], 0
    for i in range(n):
        least = min_separation * np.maximum(radii_pix[:i], radii_pix[i])
        least = np.maximum(least, min_separation_pix)
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
                f"half-light radii and {min_separation_pix:g} pixels from the others; inject fewer "
                "per frame"
            )
    return x, y
