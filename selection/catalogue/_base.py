"""The catalogue: measured clusters, with what was cut on the way and how many that left."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, UInt8

from starcensus.files import FileError
from starcensus.theta import AXES


class CatalogueError(FileError):
    """A catalogue cannot be used as it stands; the message says which file, row and column."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One cut or skip on the way from the file to the catalogue.

    **Arguments:**

    - `name`: the cut.
    - `n_before`, `n_after`: rows before and after it.
    - `reason`: a sentence for the report.
    - `limits`: name and value of each limit that it set, as an operator's facts name them.
    - `on_measured`: whether it cut by a measured magnitude or shape in a way that no name of
      `limits` says.
    """

    name: str
    n_before: int
    n_after: int
    reason: str
    limits: tuple[tuple[str, float], ...] = ()
    on_measured: bool = False


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
    - `mags`, `mag_errors`: `(n, band)`, Vega mag; NaN in a band that is not measured, or that is
      measured at no flux or less.
    - `band_states`: `(n, band)`, a `BandState` each: measured, not observed, not detected, or
      unknown. None: nothing is known of the bands without a magnitude.
    - `fluxes`, `flux_errors`: `(n, band)`, relative to Vega, 10^(−0.4 m), of a table that gives
      fluxes, negative ones too; NaN in a band that is not measured. None: `mags` are all there is.
    - `columns`: further per-cluster columns by name (`class_mode`, `concentration_index`,
      `n_filters`, `x`, `y`, `ra`, `dec`, …), each of length n.
    - `steps`: what was done to the rows so far.
    - `meta`: distance modulus and other facts about the whole catalogue. `limits` are those of the
      sample by axis, which the cut `theta_range` sets: nothing recorded beyond them is in it, and
      a fit takes that into account. `recorded = "gaussian"`
      says that θ is the truth plus Gaussian noise of the given errors; a_v may then be negative.
      `acts_on` says what its selection looked at, `survey` are `SurveyFacts` as JSON, `field` is
      the name of the galaxy.

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
    band_states: UInt8[np.ndarray, "n band"] | None = None
    fluxes: Float[np.ndarray, "n band"] | None = None
    flux_errors: Float[np.ndarray, "n band"] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Limits of the sample in recorded θ, by axis; axes without any are not there."""
        given = self.meta.get("limits", {})
        assert isinstance(given, Mapping)
        return {str(axis): (float(pair[0]), float(pair[1])) for axis, pair in given.items()}

    def limited(self, ranges: Mapping[str, tuple[float, float]]) -> "Catalogue":
        """The same rows, said to be a sample within these limits and those that it had.

        Raises `CatalogueError` for rows that lie outside.

        ```python
        catalogue.limited({"log_mass": (2.0, 7.0)}).limits
        ```
        """
        limits = self.limits
        for axis, (low, high) in ranges.items():
            before = limits.get(axis, (-np.inf, np.inf))
            limits[axis] = (max(low, before[0]), min(high, before[1]))
        self.check_limits(limits)
        return dataclasses.replace(self, meta={**self.meta, "limits": limits})

    def check_limits(self, limits: Mapping[str, tuple[float, float]] | None = None) -> None:
        """Raises `CatalogueError` for rows beyond limits, by default those that it states itself.

        `limits`: of recorded θ, by axis.
        """
        for axis, (low, high) in (self.limits if limits is None else limits).items():
            values = self.theta[:, AXES.index(axis)]
            beyond = np.flatnonzero((values < low) | (values > high))
            if beyond.size:
                raise CatalogueError(
                    f"{self.source}: {beyond.size} rows lie beyond the limits of the sample, "
                    f"{low:g} to {high:g} in {axis}; the first is {self.ids[beyond[0]]} with "
                    f"{values[beyond[0]]:g}. Cut the catalogue with theta_range instead"
                )

    def keep(
        self,
        mask: Bool[np.ndarray, "n"],
        name: str,
        reason: str,
        limits: tuple[tuple[str, float], ...] = (),
        on_measured: bool = False,
    ) -> "Catalogue":
        """The rows where `mask` holds, with the step recorded under `name`.

        **Arguments:**

        - `mask`: `(n,)`, which rows are left.
        - `name`, `reason`: name of the step, and a sentence for the report.
        - `limits`, `on_measured`: limits that it sets, and whether it cuts by what was measured
          in another way, see `Step`.

        ```python
        catalogue.keep(catalogue.theta[:, 0] > 4.0, "massive", "more than 10,000 M_sun").steps[-1]
        ```
        """
        step = Step(name, len(self), int(mask.sum()), reason, limits, on_measured)

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
            band_states=rows(self.band_states),
            fluxes=rows(self.fluxes),
            flux_errors=rows(self.flux_errors),
            columns={key: column[mask] for key, column in self.columns.items()},
            steps=(*self.steps, step),
        )
