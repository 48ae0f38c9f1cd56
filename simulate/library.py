"""Libraries of simulated clusters: what was drawn, and the light that came out."""

import dataclasses

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class ClusterLibrary:
    """Simulated clusters of known θ, with stochastic light.

    **Arguments:**

    - `log_mass`: `(n,)`, log10 M_sun, the mass that was asked for (SLUG's target mass).
    - `log_age`: `(n,)`, log10 yr. `a_v`: `(n,)`, mag.
    - `bands`: names of the columns of `mags`.
    - `mags`: `(n, band)`, absolute Vega magnitudes.
    - `log_density`: `(n,)`, natural logarithm of the density π(θ) from which θ was drawn, per dex,
      dex and mag; NaN where unknown.

    Raises `ValueError` for shapes that differ or θ that is not finite.
    """

    log_mass: Float[np.ndarray, "n"]
    log_age: Float[np.ndarray, "n"]
    a_v: Float[np.ndarray, "n"]
    bands: tuple[str, ...]
    mags: Float[np.ndarray, "n band"]
    log_density: Float[np.ndarray, "n"]

    def __post_init__(self) -> None:
        n = len(self.log_mass)
        for name in ("log_mass", "log_age", "a_v", "log_density"):
            values = getattr(self, name)
            if values.shape != (n,):
                raise ValueError(f"{name} has shape {values.shape}; expected ({n},)")
            if name != "log_density" and not np.isfinite(values).all():
                row = int(np.argmin(np.isfinite(values)))
                raise ValueError(f"{name} of cluster {row} is {values[row]}; expected a number")
        if self.mags.shape != (n, len(self.bands)):
            raise ValueError(
                f"mags have shape {self.mags.shape}; expected ({n}, {len(self.bands)}), one column "
                f"for each of {', '.join(self.bands)}"
            )

    def __len__(self) -> int:
        return len(self.log_mass)

    @property
    def theta(self) -> Float[np.ndarray, "n 3"]:
        """(log_mass, log_age, a_v) of each cluster."""
        return np.stack([self.log_mass, self.log_age, self.a_v], axis=1)

    def take(self, rows: np.ndarray) -> "ClusterLibrary":
        """The clusters of the given rows (indices or a boolean mask)."""
        return ClusterLibrary(
            log_mass=self.log_mass[rows],
            log_age=self.log_age[rows],
            a_v=self.a_v[rows],
            bands=self.bands,
            mags=self.mags[rows],
            log_density=self.log_density[rows],
        )

    @classmethod
    def concatenate(cls, *libraries: "ClusterLibrary") -> "ClusterLibrary":
        """All clusters of several libraries; raises `ValueError` if their bands differ.

        `log_density` becomes NaN: the density of a union is not that of its parts.
        """
        bands = {library.bands for library in libraries}
        if len(bands) != 1:
            raise ValueError(f"libraries with different bands cannot be joined: {sorted(bands)}")
        joined = {
            name: np.concatenate([getattr(library, name) for library in libraries])
            for name in ("log_mass", "log_age", "a_v", "mags")
        }
        unknown = np.full(len(joined["log_mass"]), np.nan)
        return cls(bands=bands.pop(), log_density=unknown, **joined)
