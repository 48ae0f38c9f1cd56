"""What a survey pipeline is, and what it returns."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from ...simulate.images.frame import Frame


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """Sources that a pipeline found, with what it measured and which cuts they passed.

    **Arguments:**

    - `bands`: of the columns of `mags`.
    - `x`, `y`: `(n,)`, pixels; the centre of the first pixel is (0, 0).
    - `mags`, `mag_errors`: `(n, band)`, apparent Vega magnitudes as the survey publishes them
      (aperture-corrected), and their errors; NaN where there is no positive flux.
    - `ci`: `(n,)`, concentration index in the reference band, mag; NaN where not measured.
    - `cuts`: for each cut, in the order of the pipeline, `(n,)`: True where a source passes.
    - `columns`: further measurements, `(n,)` each.
    """

    bands: tuple[str, ...]
    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    mags: Float[np.ndarray, "n band"]
    mag_errors: Float[np.ndarray, "n band"]
    ci: Float[np.ndarray, "n"]
    cuts: Mapping[str, Bool[np.ndarray, "n"]]
    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.x)
        shapes = {"mags": (n, len(self.bands)), "mag_errors": (n, len(self.bands))}
        shapes |= {"y": (n,), "ci": (n,)}
        for name, shape in shapes.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"{name} has shape {found}; expected {shape}")
        for name, values in {**self.cuts, **self.columns}.items():
            if values.shape != (n,):
                raise ValueError(f"{name} has shape {values.shape}; expected ({n},)")
        if not self.cuts:
            raise ValueError("a pipeline has at least one cut; got none")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def catalogued(self) -> Bool[np.ndarray, "n"]:
        """True for the sources that pass every cut."""
        return np.logical_and.reduce(list(self.cuts.values()))

    def counts(self) -> dict[str, int]:
        """How many are left after each cut, in order, beginning with `detected`."""
        left = np.ones(len(self), bool)
        counts = {"detected": len(self)}
        for name, passed in self.cuts.items():
            left &= passed
            counts[name] = int(left.sum())
        return counts

    def take(self, rows: np.ndarray) -> "Detections":
        """The sources of these rows (indices or a boolean mask)."""
        return Detections(
            self.bands,
            self.x[rows],
            self.y[rows],
            self.mags[rows],
            self.mag_errors[rows],
            self.ci[rows],
            {name: values[rows] for name, values in self.cuts.items()},
            {name: values[rows] for name, values in self.columns.items()},
        )


@runtime_checkable
class Pipeline(Protocol):
    """A survey: a pure function from band images to detections, and its settings as JSON.

    It must not keep anything from one frame to the next, and must be picklable to run on several
    processes.
    """

    def __call__(self, frame: Frame) -> Detections: ...

    def describe(self) -> dict[str, Any]: ...
