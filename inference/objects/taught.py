"""Clusters that a network was not taught, and that a survey might catalogue all the same.

A network that learned from mocks brighter than a limit knows nothing of images of fainter ones. A
fit of what it says is right if such clusters are not catalogued. How many are is known from below:
where a share s of the clusters of θ passes the mocks' limit and the survey catalogues p_sel, the
share p_sel − s at least is catalogued without having been taught.
"""

import itertools

import equinox as eqx
import numpy as np
from jaxtyping import Float

from starcensus.theta import AXES, Box

from ...selection import AbstractSelection
from ._base import ObjectsError

# Largest share of the catalogue that may be of clusters that were not taught.
_MOST = 0.02
# Populations by which bins count: slopes of the mass function, and of the number per log age.
_SLOPES = (-1.5, -2.0, -2.5)
_AGE_SLOPES = (0.0, 1.0)


class Taught(eqx.Module):
    """Share of the clusters of each bin that a network's mocks stood for.

    **Arguments:**

    - `edges`: of the bins in log_mass, log_age and a_v.
    - `share`: `(mass bin, age bin, a_v bin)`, 0 to 1.

    ```python
    edges = np.linspace(3.0, 6.0, 4), np.linspace(6.0, 9.0, 4), np.linspace(0.0, 2.0, 3)
    Taught(edges, np.ones((3, 3, 2))).beyond(population.box, operator)  # 0
    ```
    """

    edges: tuple[np.ndarray, np.ndarray, np.ndarray]
    share: Float[np.ndarray, "m t a"]

    def beyond(self, box: Box, selection: AbstractSelection) -> float:
        """Least share of a catalogue that is of clusters that were not taught, in `box`.

        It is the largest of those of six populations: masses as M to the −1.5, −2 and −2.5, ages
        even in log age and in age, A_V even.
        """
        inner = []
        for axis, edges in zip(AXES, self.edges, strict=True):
            clipped = np.clip(edges, *getattr(box, axis))
            inner.append(((clipped[1:] + clipped[:-1]) / 2, np.diff(clipped)))
        (m, dm), (t, dt), (a, da) = inner
        p_sel = np.asarray(selection.p_sel(m[:, None, None], t[:, None], a))
        lost = np.maximum(p_sel - self.share, 0.0)
        worst = 0.0
        for slope, age_slope in itertools.product(_SLOPES, _AGE_SLOPES):
            by_mass = 10 ** ((slope + 1) * (m - m[0])) * dm
            weight = np.einsum("m,t,a->mta", by_mass, 10 ** (age_slope * (t - t[-1])) * dt, da)
            catalogued = float((weight * p_sel).sum())
            if catalogued > 0:
                worst = max(worst, float((weight * lost).sum()) / catalogued)
        return worst

    def check(self, source: str, box: Box, selection: AbstractSelection) -> None:
        """Raises `ObjectsError` where that is more than 2%."""
        worst = self.beyond(box, selection)
        if not worst > _MOST:
            return
        raise ObjectsError(
            f"{source}: {worst:.0%} or more of the clusters that the operator lets through inside "
            f"{box.as_dict()} are fainter than those that the network was taught, so that it knows "
            f"nothing of them; expected {_MOST:.0%} at most: narrow the bounds, let the survey "
            "catalogue bright clusters alone, or train a network with fainter mocks "
            "(stamps.faintest_mags)"
        )
