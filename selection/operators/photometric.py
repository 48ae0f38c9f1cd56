"""A network that looks at magnitudes: p(catalogued | the cluster's true apparent magnitudes).

It is no operator of θ, for a cluster of given mass, age and extinction has no single set of
magnitudes; `marginalise` turns it into one.
"""

import dataclasses
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Bool, Float

from starcensus.bands import reference_band

from ...networks import MLP
from ._base import OPERATORS, Outside, in_blocks
from .facts import SurveyFacts
from .nuisance import Nuisance

MagSystem = Literal["Vega", "AB"]

# Many rows are filled up to a multiple of this.
_STEP = 1 << 13

# Values that published tables put where there is no magnitude (LEGUS, Adamo et al. 2017).
SENTINELS = {
    66.666: "outside the frame",
    99.999: "not detected",
    44.444: "no correction available",
}


@OPERATORS.register("photometric_network")
class PhotometricNetwork(eqx.Module):
    """Ensemble of networks from apparent magnitudes to the probability of being catalogued.

    **Arguments:**

    - `networks`: at least one `MLP` with one input per band, then one for each property of
      `nuisance`, then, if `masked`, one per band that is 1 where its magnitude is there, else 0.
    - `bands`: names of the bands, in the order of the columns of `mags`.
    - `limits`: `(band, 2)`, the brightest and faintest magnitude at which the network is known.
    - `distance_modulus`: distance modulus of the galaxy of its training data, mag.
    - `mag_system`: `"Vega"` or `"AB"`.
    - `outside`: beyond `limits`, `"zero"`, `"refuse"` or `"clip"`, as of every operator.
    - `nuisance`: distribution of the further inputs, over which the probability is averaged.
    - `masked`: the network was trained with bands left out. NaN then is a band without
      observation; the network sees that it is not there.
    - `simulation`: the magnitudes are those of simulated clusters, so that 44.444 is a very faint
      one, and infinity one without light, beyond the faintest limit. See `simulated`.
    - `learned_for`: the survey that it was learned in, see `SurveyFacts`.

    Without `masked` a magnitude that is not there cannot be passed: NaN raises `ValueError`, as do
    sentinels unless `simulation` is said, because a network reads them as a very faint cluster.

    ```python
    from starcensus.networks import random_mlp

    networks = (random_mlp((2, 8), key=jax.random.key(0)),)
    limits = np.array([[18.0, 27.0], [18.0, 27.0]])
    photometric = PhotometricNetwork(networks, bands, limits, distance_modulus=29.98)
    photometric.p_sel(np.array([[23.1, 22.8]]))
    ```
    """

    networks: tuple[MLP, ...]
    bands: tuple[str, ...] = eqx.field(static=True)
    limits: Float[Array, "band 2"] | Float[np.ndarray, "band 2"]
    distance_modulus: float
    mag_system: MagSystem = "Vega"
    outside: Outside = "refuse"
    nuisance: Nuisance | None = None
    masked: bool = eqx.field(static=True, default=False)
    simulation: bool = eqx.field(static=True, default=False)
    learned_for: SurveyFacts | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        n = len(self.bands)
        more = 0 if self.nuisance is None else len(self.nuisance.names)
        wanted = n * (1 + self.masked) + more
        if not self.networks or any(network.n_in != wanted for network in self.networks):
            raise ValueError(
                f"networks have {[network.n_in for network in self.networks]} inputs; expected at "
                f"least one network, and {wanted} inputs: one for each of the {n} bands "
                f"{self.bands}, {more} nuisance properties, {n * self.masked} of a mask"
            )
        if self.nuisance is not None and self.nuisance.mass_radius is not None:
            raise ValueError(
                "a network of magnitudes knows no mass; give radii that do not depend on it"
            )
        if self.outside not in ("zero", "refuse", "clip"):
            raise ValueError(f'outside is {self.outside!r}; expected "zero", "refuse" or "clip"')
        if self.limits.shape != (n, 2):
            raise ValueError(f"limits have shape {self.limits.shape}; expected ({n}, 2)")

    @property
    def n_members(self) -> int:
        """Number of networks."""
        return len(self.networks)

    def simulated(self, outside: Outside | None = None) -> "PhotometricNetwork":
        """The same network for magnitudes of simulated clusters, of which some are far off.

        `outside`: what it says beyond its limits; by default 0 where it says so itself, and else
        what is nearest within stands for it.
        """
        if outside is None:
            outside = "zero" if self.outside == "zero" else "clip"
        return dataclasses.replace(self, outside=outside, simulation=True)

    def beyond(self, mags: Float[np.ndarray, "n band"]) -> Bool[np.ndarray, " n"]:
        """Which clusters are fainter, in V or what stands for it, than all of the training data,
        and get a probability all the same: that of its faintest.

        ```python
        from starcensus.networks import random_mlp

        networks = (random_mlp((2, 8), key=jax.random.key(0)),)
        limits = np.array([[18.0, 27.0], [18.0, 27.0]])
        known = PhotometricNetwork(networks, bands, limits, distance_modulus=29.98, outside="clip")
        known.beyond(np.array([[30.0, 29.5], [23.1, 22.8]]))  # True, False
        ```
        """
        if self.outside == "zero":
            return np.zeros(len(mags), bool)
        band = self.bands.index(reference_band(self.bands))
        return np.asarray(mags)[:, band] > float(self.limits[band, 1])

    def check_vega(self) -> None:
        """Raises `ValueError` for an operator of AB magnitudes, where those of simulated clusters
        are Vega's."""
        if self.mag_system != "Vega":
            raise ValueError(
                f"the operator takes {self.mag_system} magnitudes; those of simulated clusters are "
                "Vega: train one on injections"
            )

    def check_mags(self, mags: ArrayLike) -> None:
        """Raise `ValueError` naming the row and band of the first unusable magnitude."""
        values = np.asarray(mags, float)
        if values.ndim != 2 or values.shape[1] != len(self.bands):
            raise ValueError(
                f"mags have shape {values.shape}; expected (n, {len(self.bands)}), one column for "
                f"each of {', '.join(self.bands)}"
            )
        bad = ~np.isfinite(values)
        if self.simulation:
            bad &= ~np.isposinf(values)
        if self.masked:
            missing = np.isnan(values)
            _complain(
                missing & missing.all(axis=1, keepdims=True),
                values,
                self.bands,
                "as every other band; a cluster needs one magnitude at least",
            )
            bad &= ~missing
        _complain(bad, values, self.bands, "which is not a magnitude")
        for sentinel, meaning in ({} if self.simulation else SENTINELS).items():
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

    def members(
        self, mags: ArrayLike, further: Float[ArrayLike, "n k"] | None = None
    ) -> Float[Array, "member n"]:
        """Each network's probability for the rows of `mags`; differentiable.

        **Arguments:**

        - `mags`: `(n, band)`, apparent magnitudes.
        - `further`: `(n, k)`, values of the nuisance properties, in the order of `nuisance.names`;
          None averages over their distribution.

        Raises `ValueError` as `check_mags`. Under `jit` nothing can be raised: rows with NaN, or
        outside `limits` where that is refused, are NaN there.
        """
        if not isinstance(mags, Tracer):
            self.check_mags(mags)
        x = jnp.asarray(mags, jnp.result_type(float))
        low, high = jnp.asarray(self.limits, x.dtype).T[:, None]
        there = ~jnp.isnan(x)
        clipped = jnp.clip(x, low, high)
        within = (x >= low) & (x <= high) | ~there
        known = there if self.outside != "refuse" else within & there
        if self.masked:
            # What a hidden band is worth: the mean, which is 0 to the network.
            mean = jnp.asarray(self.networks[0].mean, x.dtype)[None, : len(self.bands)]
            clipped = jnp.where(there, clipped, mean)
            known = (known | ~there) & there.any(axis=1, keepdims=True)
        mask = [there.astype(x.dtype)] if self.masked else []
        if self.nuisance is None:
            values = self._probability(jnp.concatenate([clipped, *mask], axis=1))
        elif further is not None:
            more = jnp.asarray(further, x.dtype)
            values = self._probability(jnp.concatenate([clipped, more, *mask], axis=1))
        else:
            q = len(self.nuisance.weights)
            more = jnp.tile(jnp.asarray(self.nuisance.values, x.dtype), (len(x), 1))
            parts = [jnp.repeat(part, q, axis=0) for part in (clipped, *mask)]
            each = self._probability(jnp.concatenate([parts[0], more, *parts[1:]], axis=1))
            weights = self.nuisance.weights / self.nuisance.weights.sum()
            values = each.reshape(self.n_members, len(x), q) @ jnp.asarray(weights, x.dtype)
        if self.outside == "zero":
            values = jnp.where(within.all(axis=1)[None], values, 0.0)
        return jnp.where(known.all(axis=1)[None], values, jnp.nan)

    def _probability(self, features: Float[Array, "n k"]) -> Float[Array, "member n"]:
        if isinstance(features, Tracer):
            return _of_networks(self.networks, features)
        # Few numbers of rows, or each would be a program of its own.
        n = len(features)
        size = 1 << (n - 1).bit_length() if 0 < n < _STEP else -(-n // _STEP) * _STEP
        padded = jnp.pad(features, ((0, size - n), (0, 0)))
        return _of_networks(self.networks, padded)[:, :n]

    def p_sel(self, mags: ArrayLike) -> Float[Array, "n"]:
        """Ensemble mean of the probability of being catalogued, for `mags` `(n, band)`.

        Many rows are taken in blocks, as by `AbstractSelection.p_sel`.
        """
        return in_blocks(lambda rows: self.members(rows).mean(axis=0), jnp.asarray(mags, float))


@eqx.filter_jit
def _of_networks(
    networks: tuple[MLP, ...], features: Float[Array, "n k"]
) -> Float[Array, "member n"]:
    return jax.nn.sigmoid(jnp.stack([network(features) for network in networks]))


def _complain(bad: np.ndarray, values: np.ndarray, bands: tuple[str, ...], what: str) -> None:
    if bad.any():
        row, band = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{int(bad.any(axis=1).sum())} of {len(values)} rows cannot be used: row {row} has "
            f"{bands[band]} = {values[row, band]:g}, {what}; drop such rows, or use an operator of "
            "(log_mass, log_age, a_v)"
        )
