"""What networks say of injections, and of clusters that might be injected."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ...simulate import ClusterLibrary
from ..injection import InjectionTable
from ..operators.nuisance import BACKGROUND, R_EFF
from ..operators.photometric import PhotometricNetwork
from .features import LearnedOperator, nuisance_columns

# Evaluations of a network whose inputs are in memory together.
_AT_ONCE = 1 << 18


def predict(operator: LearnedOperator, table: InjectionTable) -> Float[np.ndarray, "n"]:
    """The ensemble's mean probability of each row, `(n,)`, with its own nuisance properties.

    **Arguments:**

    - `operator`: as `learn` makes it.
    - `table`: injections, in the operator's bands if it takes magnitudes.

    ```python
    predict(learned.operator, table)
    ```
    """
    return predict_members(operator, table).mean(axis=0)


def predict_members(
    operator: LearnedOperator, table: InjectionTable
) -> Float[np.ndarray, "member n"]:
    """Each network's probability of each row; arguments as of `predict`."""
    names = () if operator.nuisance is None else operator.nuisance.names
    further = nuisance_columns(table, names) if names else None
    theta = np.stack([table.log_mass, table.log_age, table.a_v], axis=1)
    return _members(operator, theta, table.true_mags, further)


def predict_library(
    operator: LearnedOperator,
    library: ClusterLibrary,
    progress: Callable[[int, int], None] = lambda done, n: None,
) -> Float[np.ndarray, "member n"]:
    """Each network's probability of each cluster, `(member, n)`, were it injected.

    Magnitudes are those that an injection would have. An operator that takes a radius is given the
    cluster's own. Its local sky is not known before it is placed: the probability is averaged over
    the operator's own distribution of skies, as they are for any cluster. Beyond the θ and the
    radii of its training the operator extrapolates, magnitudes are moved to its limits.

    **Arguments:**

    - `operator`: as `learn` makes it.
    - `library`: has at least the operator's bands, if it takes magnitudes.
    - `progress`: called with the number of clusters done so far and of all.

    Raises `ValueError` for a band or a radius that is missing, a NaN, or an operator of magnitudes
    that are not Vega.

    ```python
    predict_library(learned.operator, library).mean(axis=0)
    ```
    """
    names = () if operator.nuisance is None else operator.nuisance.names
    log_r = _log_radii(library) if R_EFF in names else np.zeros(len(library))
    mags = np.empty((len(library), 0))
    if isinstance(operator, PhotometricNetwork):
        operator = operator.simulated()
        mags = _apparent(operator, library)
    skies, weight = np.zeros(1), np.ones(1)
    if operator.nuisance is not None and BACKGROUND in names:
        column = np.asarray(operator.nuisance.values)[:, names.index(BACKGROUND)]
        skies, at = np.unique(column, return_inverse=True)
        weight = np.bincount(at, np.asarray(operator.nuisance.weights, float))
        weight /= weight.sum()
    q, size = len(skies), max(1, _AT_ONCE // len(skies))
    out = np.empty((operator.n_members, len(library)))
    for start in range(0, len(library), size):
        rows = np.arange(start, min(start + size, len(library)))
        each = np.repeat(rows, q)
        columns = {R_EFF: log_r[each], BACKGROUND: np.tile(skies, len(rows))}
        further = np.stack([columns[name] for name in names], axis=1) if names else None
        p = _members(operator, library.theta[each], mags[each], further)
        out[:, rows] = p.reshape(-1, len(rows), q) @ weight
        progress(int(rows[-1]) + 1, len(library))
    return out


def _members(
    operator: LearnedOperator,
    theta: Float[np.ndarray, "n 3"],
    mags: Float[np.ndarray, "n band"],
    further: Float[np.ndarray, "n k"] | None,
) -> Float[np.ndarray, "member n"]:
    more = None if further is None else jnp.asarray(further)
    if isinstance(operator, PhotometricNetwork):
        return np.asarray(operator.simulated(operator.outside).members(mags, more), float)
    mass, age, a_v = (jnp.asarray(x) for x in theta.T)
    logits = operator.logits(mass, age, a_v, more)
    return 1 / (1 + np.exp(-np.asarray(logits, float)))


def _log_radii(library: ClusterLibrary) -> Float[np.ndarray, "n"]:
    if library.r_eff_pc is None:
        raise ValueError(
            "the operator takes the half-light radius and the library has no r_eff_pc; draw it "
            "with a [radius]"
        )
    bad = ~(np.isfinite(library.r_eff_pc) & (library.r_eff_pc > 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"r_eff_pc of cluster {row} is {library.r_eff_pc[row]:g}; expected parsecs > 0"
        )
    return np.log10(library.r_eff_pc)


def _apparent(operator: PhotometricNetwork, library: ClusterLibrary) -> Float[np.ndarray, "n band"]:
    operator.check_vega()
    mags = library.apparent(operator.distance_modulus, operator.bands)
    if np.isnan(mags).any():
        row, band = (int(i) for i in np.argwhere(np.isnan(mags))[0])
        raise ValueError(
            f"magnitude of cluster {row} in {operator.bands[band]} is NaN; expected a number, or "
            "infinity for no light"
        )
    return mags
