"""What of a posterior the data decided, and what the prior did.

A fit of five clusters converges as well as one of five thousand. Its summary therefore says how
much narrower each parameter's posterior is than its prior,

    contraction = 1 − (width of the posterior / width of the prior)²

with the widths of central 68% intervals: 0 where the data say nothing, near 1 where they decide
(Betancourt, "Calibrating model-based inferences and decisions", arXiv:1803.08393, for variances).
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from starcensus.theta import AXES, AXIS_UNITS

from .objects import AbstractObjects

# The posterior is then at least 0.89 times as wide as the prior.
_NOTHING = 0.2
_LITTLE = 0.5
_FEW = 20
_LONGER = 1.1
# Of the prior on each side, and of the posterior that may lie there.
_EDGE, _AT_EDGE = 0.005, 0.3


class Remarks(NamedTuple):
    """What the data did not decide.

    **Arguments:**

    - `sentences`: for the report; none if there is nothing to say.
    - `contraction`: by flat parameter name.
    """

    sentences: tuple[str, ...]
    contraction: dict[str, float]

    def with_operator(self, count_sd: float, n: int) -> "Remarks":
        """With a sentence if an operator, its uncertainty left out, is too uncertain for a fit.

        **Arguments:**

        - `count_sd`: relative error of the expected number by the operator. `n`: clusters.
        """
        # Errors of the number would be longer by a tenth.
        if count_sd**2 * n <= _LONGER**2 - 1:
            return self
        longer = (1 + count_sd**2 * n) ** 0.5
        said = (
            f"the operator was learned from few injections for {n} clusters: it leaves the "
            f"expected number uncertain by {100 * count_sd:.1f}%, with which the error of the "
            f"number would be {longer:.1f} times as long, and those of slopes by up to as much; "
            "set uncertainty = true in its selection, or inject more"
        )
        return self._replace(sentences=(*self.sentences, said))


def remarks(
    objects: AbstractObjects,
    posterior: Mapping[str, Float[np.ndarray, "..."]],
    prior: Mapping[str, Float[np.ndarray, "..."]],
    shares: Collection[str] = (),
) -> Remarks:
    """What a reader of a fit must know of its data.

    **Arguments:**

    - `objects`: the clusters that were fitted.
    - `posterior`, `prior`: draws of each parameter, by flat name. A parameter without a prior (the
      number of a conditional fit) has no contraction.
    - `shares`: names of shares of a whole, whose ends 0 and 1 nobody could move.

    ```python
    made = remarks(PublishedValues(catalogue), {"x": np.zeros(9)}, {"x": np.arange(9.0)})
    made.contraction["x"]  # 1.0
    ```
    """
    contraction = {
        name: 1 - (_width(draws) / _width(prior[name])) ** 2
        for name, draws in posterior.items()
        if name in prior and _width(prior[name]) > 0
    }
    sentences = (
        *_few(objects),
        *_one_value(objects),
        *_by_prior(contraction),
        *_at_edge(
            {name: (posterior[name], prior[name]) for name in contraction if name not in shares}
        ),
    )
    return Remarks(sentences, contraction)


def _width(draws: Float[np.ndarray, "..."]) -> float:
    low, high = np.percentile(draws, [16, 84])
    return float(high - low)


def _few(objects: AbstractObjects) -> tuple[str, ...]:
    n = len(objects)
    if n >= _FEW:
        return ()
    return (
        f"There {'is one cluster' if n == 1 else f'are {n} clusters'}: most of what stands here is "
        "the prior's and the family's choice.",
    )


def _one_value(objects: AbstractObjects) -> tuple[str, ...]:
    """Axes on which all clusters are the same, as far as their errors tell."""
    points = objects.points()
    found = []
    for i, axis in enumerate(AXES):
        spread, error = np.ptp(points.theta[:, i]), np.median(points.errors[:, i])
        if len(objects) > 1 and spread <= 0.5 * error + 1e-9:
            found.append(
                f"All clusters have one {axis}, {np.median(points.theta[:, i]):.3g} "
                f"{AXIS_UNITS[axis]}, within their errors: how clusters are distributed in {axis} "
                "is the choice of the family and its priors, whatever the intervals say."
            )
    return tuple(found)


def _by_prior(contraction: Mapping[str, float]) -> tuple[str, ...]:
    nothing = [name for name, value in contraction.items() if value < _NOTHING]
    little = [name for name, value in contraction.items() if _NOTHING <= value < _LITTLE]
    found = []
    if nothing:
        found.append(
            f"The data say next to nothing of {', '.join(nothing)}: what is quoted is the prior "
            f"(contraction below {_NOTHING:g})."
        )
    if little:
        found.append(
            f"They say little of {', '.join(little)} (contraction below {_LITTLE:g})."
            if nothing
            else f"The data say little of {', '.join(little)} (contraction below {_LITTLE:g})."
        )
    return tuple(found)


def _at_edge(draws: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> tuple[str, ...]:
    """Parameters that the data would push beyond what their priors allow."""
    found = []
    for name, (posterior, prior) in draws.items():
        low, high = np.quantile(prior, [_EDGE, 1 - _EDGE])
        for side, share in (("low", (posterior < low).mean()), ("high", (posterior > high).mean())):
            if share > _AT_EDGE:
                found.append(
                    f"The posterior of {name} lies at the {side} end of its prior ({share:.0%} of "
                    f"it in the outermost {_EDGE:.1%}): the data point beyond. Widen the prior if "
                    "it may be wider; else doubt the family, the bounds or the errors."
                )
    return tuple(found)
