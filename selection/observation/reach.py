"""Where the truth of what was measured may lie, and the errors that a survey quotes."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from ._base import REACH, Reach

# The truth of all but these shares of the training rows lies within the reach, and its core.
_OUTSIDE, _OUTSIDE_CORE = 2e-4, 0.02
_BINS, _LEAST_ROWS = 12, 40
_LEAST_SD = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class ReachTable:
    """The shift that all bands share by concentration index, and each band's own by magnitude.

    **Arguments:**

    - `ci`: `(node,)`, mag; `shift`, `common`: `(node,)`, median and sd of the common shift.
    - `mags`: `(band, bin)`, recorded magnitudes; `own`, `sd`: `(band, bin)`, median and sd of what
      a band has besides, half of the central 68%, widened alike until the reach holds the tails.
    - `core`: of `Reach`.
    """

    ci: Float[np.ndarray, " node"]
    shift: Float[np.ndarray, " node"]
    common: Float[np.ndarray, " node"]
    mags: Float[np.ndarray, "band bin"]
    own: Float[np.ndarray, "band bin"]
    sd: Float[np.ndarray, "band bin"]
    core: float = REACH

    def of(self, mags: Float[np.ndarray, "n band"], ci: Float[np.ndarray, " n"] | None) -> Reach:
        """The reach of recorded magnitudes, NaN where there are none."""
        c = np.zeros(len(mags)) if ci is None else ci
        shift = np.interp(c, self.ci, self.shift)
        centre, sd = np.full(mags.shape, np.nan), np.full(mags.shape, np.inf)
        for b in range(mags.shape[1]):
            there = np.isfinite(mags[:, b])
            at = mags[there, b]
            centre[there, b] = at - shift[there] - np.interp(at, self.mags[b], self.own[b])
            sd[there, b] = np.interp(at, self.mags[b], self.sd[b])
        return Reach(centre, sd, np.interp(c, self.ci, self.common), self.core)

    @classmethod
    def measure(
        cls,
        true: Float[np.ndarray, "n band"],
        mags: Float[np.ndarray, "n band"],
        ci: Float[np.ndarray, " n"] | None,
    ) -> "ReachTable":
        """From catalogued injections, so that the truth of all but 2 in 10,000 is inside 5 sd."""
        there = np.isfinite(mags)
        excess = np.where(there, mags - np.where(there, true, 0.0), np.nan)
        n_bands = mags.shape[1]
        c = np.zeros(len(mags)) if ci is None else ci
        shared = np.nanmedian(excess, axis=1)
        nodes, shift, common = _binned(c, shared)
        rest = excess - np.interp(c, nodes, shift)[:, None]
        beside = rest - np.nanmedian(rest, axis=1)[:, None]
        each = [_binned(mags[t, b], beside[t, b]) for b, t in enumerate(there.T)]
        # As many bins for each band as for the one that has most, the last repeated.
        most = max(len(at) for at, _, _ in each)
        padded = [[np.pad(v, (0, most - len(v)), mode="edge") for v in of] for of in each]
        at, own, sd = (np.stack([padded[b][i] for b in range(n_bands)]) for i in (0, 1, 2))
        table = cls(nodes, shift, common, at, own, sd)
        far = distance(table.of(mags, ci), true)
        most, core = (
            1.1 * float(np.quantile(far, 1 - share)) for share in (_OUTSIDE, _OUTSIDE_CORE)
        )
        wide = max(1.0, most / REACH)
        return dataclasses.replace(
            table, common=table.common * wide, sd=table.sd * wide, core=min(core / wide, REACH)
        )


def distance(reach: Reach, true: Float[np.ndarray, "n band"]) -> Float[np.ndarray, " n"]:
    """How many standard deviations of a reach the truth is from its centre, `(n,)`.

    ```python
    reach = Reach(np.array([[23.0]]), np.array([[0.3]]), np.array([0.4]))
    distance(reach, np.array([[24.0]]))  # 2
    ```
    """
    there: Bool[np.ndarray, "n band"] = np.isfinite(reach.centre)
    away = np.where(there, true - np.where(there, reach.centre, 0.0), 0.0)
    weight = np.where(there, reach.sd, np.inf) ** -2.0
    square = (away**2 * weight).sum(axis=1)
    along = (away * weight).sum(axis=1)
    square -= reach.common**2 * along**2 / (1 + reach.common**2 * weight.sum(axis=1))
    return np.sqrt(np.maximum(square, 0.0))


def _binned(at: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middles of bins of equal numbers, with median and half of the central 68% of each."""
    n = int(np.clip(len(at) // _LEAST_ROWS, 1, _BINS))
    parts = np.array_split(np.argsort(at, kind="stable"), n)
    middle = np.array([np.median(at[rows]) for rows in parts])
    median = np.array([np.median(values[rows]) for rows in parts])
    # Of the bulk: a few blends would make the standard deviation theirs.
    half = [float(np.subtract(*np.quantile(values[rows], (0.84, 0.16)))) / 2 for rows in parts]
    sd = np.maximum(half, _LEAST_SD)
    middle, first = np.unique(middle, return_index=True)
    return middle, median[first], sd[first]


@dataclasses.dataclass(frozen=True, eq=False)
class QuotedErrors:
    """The error that a survey quotes of a magnitude: the median of the training rows.

    **Arguments:**

    - `mags`: `(band, bin)`, recorded magnitudes; `ln_error`: `(band, bin)`, of their errors, mag.
    """

    mags: Float[np.ndarray, "band bin"]
    ln_error: Float[np.ndarray, "band bin"]

    def of(self, mags: Float[np.ndarray, "n band"], most: float) -> Float[np.ndarray, "n band"]:
        """Errors of recorded magnitudes, up to `most`; NaN where there are none."""
        columns = [
            np.interp(m, at, ln) for m, at, ln in zip(mags.T, self.mags, self.ln_error, strict=True)
        ]
        return np.minimum(np.exp(np.stack(columns, axis=1)), most)

    @classmethod
    def measure(
        cls, mags: Float[np.ndarray, "n band"], errors: Float[np.ndarray, "n band"]
    ) -> "QuotedErrors":
        """From catalogued injections, NaN where not recorded."""
        shares = (np.arange(_BINS) + 0.5) / _BINS
        at, ln = [], []
        for m, e in zip(mags.T, errors.T, strict=True):
            there = np.isfinite(m)
            middle, median, _ = _binned(m[there], np.log(e[there]))
            nodes = np.quantile(m[there], shares)
            at.append(nodes)
            ln.append(np.interp(nodes, middle, median))
        return cls(np.stack(at), np.stack(ln))
