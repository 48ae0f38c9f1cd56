"""The catalogue: measured clusters, with what was cut on the way and how many that left."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from starcensus.files import FileError


class CatalogueError(FileError):
    """A catalogue cannot be used as it stands; the message says which file, row and column."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One cut or skip on the way from the file to the catalogue.

    **Arguments:**

    - `name`: the cut.
    - `n_before`, `n_after`: rows before and after it.
    - `reason`: a sentence for the report.
    """

    name: str
    n_before: int
    n_after: int
    reason: str


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """Clusters with estimates of θ, one row each; arrays are never modified in place.

    **Arguments:**

    - `source`: the file (or generator) it came from, for messages and provenance.
    - `ids`: unique identifier of each cluster.
    - `theta`: `(n, 3)`, best values: log10 mass (M_sun), log10 age (yr), a_v (mag). Rows without an
      estimate are NaN in all three.
    - `theta_low`, `theta_high`: `(n, 3)`, central 68% limits. NaN: no error published.
    - `bands`: names of the columns of the photometry.
    - `mags`, `mag_errors`: `(n, band)`, Vega mag; a band that was not observed or not detected is
      NaN.
    - `columns`: further per-cluster columns by name (`class_mode`, `concentration_index`,
      `n_filters`, `x`, `y`, `ra`, `dec`, …), each of length n.
    - `steps`: what was done to the rows so far.
    - `meta`: distance modulus and other facts about the whole catalogue. `recorded = "gaussian"`
      says that θ is the truth plus Gaussian noise of the given errors; a_v may then be negative.

    ```python
    theta = np.array([[4.2, 7.0, 0.3], [3.8, 8.1, 0.1]])
    mine = Catalogue("mine", np.array(["a", "b"]), theta, theta - 0.1, theta + 0.1)
    check(mine).theta[:, 0]
    ```
    """

    source: str
    ids: np.ndarray
    theta: Float[np.ndarray, "n 3"]
    theta_low: Float[np.ndarray, "n 3"]
    theta_high: Float[np.ndarray, "n 3"]
    bands: tuple[str, ...] = ()
    mags: Float[np.ndarray, "n band"] | None = None
    mag_errors: Float[np.ndarray, "n band"] | None = None
    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    meta: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def keep(self, mask: Bool[np.ndarray, "n"], name: str, reason: str) -> "Catalogue":
        """The rows where `mask` holds, with the step recorded under `name`.

        **Arguments:**

        - `mask`: `(n,)`, which rows are left.
        - `name`, `reason`: name of the step, and a sentence for the report.

        ```python
        catalogue.keep(catalogue.theta[:, 0] > 4.0, "massive", "more than 10,000 M_sun").steps[-1]
        ```
        """
        step = Step(name, len(self), int(mask.sum()), reason)

        def rows(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array[mask]

        return dataclasses.replace(
            self,
            ids=self.ids[mask],
            theta=self.theta[mask],
            theta_low=self.theta_low[mask],
            theta_high=self.theta_high[mask],
            mags=rows(self.mags),
            mag_errors=rows(self.mag_errors),
            columns={key: column[mask] for key, column in self.columns.items()},
            steps=(*self.steps, step),
        )
