"""A network that looks at magnitudes: p(catalogued | the cluster's true apparent magnitudes).

It is no operator of θ, for a cluster of given mass, age and extinction has no single set of
magnitudes; `marginalise` turns it into one.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

from ..networks import MLP
from ._network import pack_networks, unpack_networks

MagSystem = Literal["Vega", "AB"]
OutsideMags = Literal["refuse", "clip"]

# Values that published tables put where there is no magnitude (LEGUS, Adamo et al. 2017).
SENTINELS = {
    66.666: "outside the frame",
    99.999: "not detected",
    44.444: "no correction available",
}


class PhotometricNetwork(eqx.Module):
    """Ensemble of networks from apparent magnitudes to the probability of being catalogued.

    **Arguments:**

    - `networks`: at least one `MLP` with one input per band.
    - `bands`: names of the bands, in the order of the columns of `mags`.
    - `limits`: `(band, 2)`, the brightest and faintest magnitude at which the network is known.
    - `distance_modulus`: of the galaxy of its training data, mag.
    - `mag_system`: `"Vega"` or `"AB"`.
    - `outside`: beyond `limits`, `"refuse"` raises and `"clip"` moves the magnitude to the limit,
      which is right for a network that has saturated there.

    A magnitude that is not there cannot be passed: NaN and sentinels raise `ValueError`, because a
    network reads them as a very faint cluster.
    """

    networks: tuple[MLP, ...]
    bands: tuple[str, ...] = eqx.field(static=True)
    limits: Float[Array, "band 2"] | Float[np.ndarray, "band 2"]
    distance_modulus: float
    mag_system: MagSystem = "Vega"
    outside: OutsideMags = "refuse"

    def __check_init__(self) -> None:
        n = len(self.bands)
        if not self.networks or any(network.n_in != n for network in self.networks):
            raise ValueError(
                f"networks have {[network.n_in for network in self.networks]} inputs; expected at "
                f"least one network, and one input for each of the {n} bands {self.bands}"
            )
        if self.outside not in ("refuse", "clip"):
            raise ValueError(f'outside is {self.outside!r}; expected "refuse" or "clip"')
        if self.limits.shape != (n, 2):
            raise ValueError(f"limits have shape {self.limits.shape}; expected ({n}, 2)")

    @property
    def n_members(self) -> int:
        return len(self.networks)

    def check_mags(self, mags: ArrayLike) -> None:
        """Raise `ValueError` naming the row and band of the first unusable magnitude."""
        values = np.asarray(mags, float)
        if values.ndim != 2 or values.shape[1] != len(self.bands):
            raise ValueError(
                f"mags have shape {values.shape}; expected (n, {len(self.bands)}), one column for "
                f"each of {', '.join(self.bands)}"
            )
        _complain(~np.isfinite(values), values, self.bands, "which is not a magnitude")
        for sentinel, meaning in SENTINELS.items():
            _complain(
                np.abs(values - sentinel) < 5e-3,
                values,
                self.bands,
                f"the sentinel {sentinel} ({meaning}), not a magnitude",
            )
        if self.outside == "refuse":
            low, high = np.asarray(self.limits).T
            _complain(
                (values < low) | (values > high),
                values,
                self.bands,
                'outside the magnitudes of the training data; see `limits`, or use outside="clip"',
            )

    def members(self, mags: ArrayLike) -> Float[Array, "member n"]:
        """Each network's probability for the rows of `mags`, `(n, band)`; differentiable.

        Under `jit` nothing can be raised: rows with NaN, or outside `limits` where that is
        refused, are NaN there.
        """
        if not isinstance(mags, Tracer):
            self.check_mags(mags)
        x = jnp.asarray(mags, jnp.result_type(float))
        low, high = (jnp.asarray(side, x.dtype)[None] for side in np.asarray(self.limits).T)
        clipped = jnp.clip(x, low, high)
        values = jax.nn.sigmoid(jnp.stack([network(clipped) for network in self.networks]))
        known = jnp.isfinite(x) if self.outside == "clip" else (x >= low) & (x <= high)
        return jnp.where(known.all(axis=1)[None], values, jnp.nan)

    def p_sel(self, mags: ArrayLike) -> Float[Array, "n"]:
        """Ensemble mean of the probability of being catalogued, for `mags` `(n, band)`."""
        return self.members(mags).mean(axis=0)

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        """Plain arrays and JSON-ready metadata, from which `from_arrays` rebuilds the network."""
        arrays = pack_networks(self.networks) | {"limits": np.asarray(self.limits)}
        return arrays, {
            "n_networks": len(self.networks),
            "bands": list(self.bands),
            "distance_modulus": self.distance_modulus,
            "mag_system": self.mag_system,
            "outside": self.outside,
        }

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, np.ndarray], metadata: dict[str, object]
    ) -> "PhotometricNetwork":
        """The inverse of `to_arrays`."""
        return cls(
            networks=unpack_networks(arrays, int(metadata["n_networks"])),  # pyright: ignore
            bands=tuple(metadata["bands"]),  # pyright: ignore
            limits=arrays["limits"],
            distance_modulus=float(metadata["distance_modulus"]),  # pyright: ignore
            mag_system=metadata["mag_system"],  # pyright: ignore
            outside=metadata["outside"],  # pyright: ignore
        )


def _complain(bad: np.ndarray, values: np.ndarray, bands: tuple[str, ...], what: str) -> None:
    if bad.any():
        row, band = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{int(bad.any(axis=1).sum())} of {len(values)} rows cannot be used: row {row} has "
            f"{bands[band]} = {values[row, band]:g}, {what}; drop such rows, or use an operator of "
            "(log_mass, log_age, a_v)"
        )
