"""Whether a learned probability rises with mass and falls with dust, as it should."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from starcensus.theta import AXES

from ..injection import InjectionTable
from ..operators.network import NetworkSelection
from ..operators.photometric import PhotometricNetwork

_STEPS = 41
_SHIFT_MAG = 3.0


def monotonic_breaks(
    operator: NetworkSelection | PhotometricNetwork,
    table: InjectionTable,
    n_rows: int = 400,
    seed: int = 0,
) -> dict[str, float]:
    """Largest change of p_sel against the sense in which it should go, along lines through rows.

    Each line starts at a row of the table and changes one thing, all else as it is there: of an
    operator of θ the mass and the extinction, over its domain; of one of magnitudes all of them
    together, by 3 mag either way. The break is how far p falls below its maximum so far, or rises
    above its minimum so far: the largest of all lines. Radius and local sky are averaged over, as
    in a fit.

    A break need not be an error of the networks: a compact cluster that is bright enough for an
    exact concentration index may fail a cut that a fainter one passes by chance.

    **Arguments:**

    - `operator`: operator of θ or of magnitudes, as `learn` makes it.
    - `table`: injections where lines start.
    - `n_rows`: number of lines.
    - `seed`: seed of the choice of rows.

    Returns the largest break by the name of what was changed.

    ```python
    monotonic_breaks(learned.operator, table, n_rows=20)
    ```
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(table))[:n_rows]
    table = table.take(rows)
    if isinstance(operator, PhotometricNetwork):
        shifts = np.linspace(-_SHIFT_MAG, _SHIFT_MAG, _STEPS)
        mags = np.clip(table.true_mags, *np.asarray(operator.limits).T)
        lines = mags[:, None] + shifts[None, :, None]
        p = operator.simulated().p_sel(lines.reshape(-1, mags.shape[1]))
        return {"rise_with_magnitudes": _largest_fall(-_lines(p))}
    theta = np.stack([table.log_mass, table.log_age, table.a_v], axis=1)
    out = {}
    for axis, sign, name in (("log_mass", 1, "fall_with_log_mass"), ("a_v", -1, "rise_with_a_v")):
        lines = np.repeat(theta[:, None], _STEPS, axis=1)
        low, high = getattr(operator.domain, axis)
        lines[:, :, AXES.index(axis)] = np.linspace(low, high, _STEPS)
        mass, age, a_v = (jnp.asarray(column) for column in lines.reshape(-1, 3).T)
        out[name] = _largest_fall(sign * _lines(operator.p_sel(mass, age, a_v)))
    return out


def _lines(p: object) -> Float[np.ndarray, "line step"]:
    return np.asarray(p, float).reshape(-1, _STEPS)


def _largest_fall(p: Float[np.ndarray, "line step"]) -> float:
    return float((np.maximum.accumulate(p, axis=1) - p).max())
