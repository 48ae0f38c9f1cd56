"""Posterior predictive checks aimed at what each population cannot do.

A population without disruption has one age distribution at every mass, and so has one whose
disruption does not ask for the mass; a power law of mass has no end. Each check is a number of a
catalogue in which such a fault would show, compared with the same number of catalogues that the
posterior predicts. Where the splits lie is taken from the observed catalogue, the same for all
models.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from ..draws import thinned
from ..predictive import predicted_theta
from ..results import FitResult
from .evidence import posterior_values

_CATALOGUES, _MOST_MASSIVE = 200, 5

type Statistic = Callable[[Float[np.ndarray, "n 3"]], float]


@dataclasses.dataclass(frozen=True)
class AimedCheck:
    """A number of the catalogue beside what the posterior predicts.

    **Arguments:**

    - `name`: of the number. `words`: what it is, and at what it aims.
    - `observed`: of the catalogue. `low`, `middle`, `high`: 2.5, 50 and 97.5% of the predictions.
    - `p`: two-sided; twice the share of predictions beyond the observed one.
    - `n`: predicted catalogues that have such a number.
    """

    name: str
    words: str
    observed: float
    low: float
    middle: float
    high: float
    p: float
    n: int


def statistics_of(
    theta: Float[np.ndarray, "n 3"],
) -> dict[str, tuple[str, Statistic]]:
    """The numbers, with splits at the quartiles of a catalogue's recorded θ.

    ```python
    words, of = statistics_of(catalogue.theta)["age_by_mass"]
    of(catalogue.theta)
    ```
    """
    log_mass, (young, old) = np.median(theta[:, 0]), np.percentile(theta[:, 1], [25, 75])

    def age_by_mass(at: Float[np.ndarray, "n 3"]) -> float:
        heavy = at[:, 0] > log_mass
        if not 0 < heavy.sum() < len(at):
            return float("nan")
        return float(at[heavy, 1].mean() - at[~heavy, 1].mean())

    def largest(at: Float[np.ndarray, "n 3"]) -> float:
        if len(at) < _MOST_MASSIVE:
            return float("nan")
        return float(np.sort(at[:, 0])[-_MOST_MASSIVE:].mean())

    def share(which: Callable[[np.ndarray], np.ndarray]) -> Statistic:
        return lambda at: float(which(at[:, 1]).mean()) if len(at) else float("nan")

    return {
        "age_by_mass": (
            f"mean log age of clusters above 10^{log_mass:.1f} M_sun less that of those below: "
            "disruption that does not ask for the mass predicts what selection alone makes",
            age_by_mass,
        ),
        "largest_masses": (
            f"mean log mass of the {_MOST_MASSIVE} most massive: a power law has no end",
            largest,
        ),
        "old_share": (
            f"share of clusters older than 10^{old:.1f} yr: how the age distribution ends",
            share(lambda log_age: log_age > old),
        ),
        "young_share": (
            f"share of clusters younger than 10^{young:.1f} yr: how the age distribution begins",
            share(lambda log_age: log_age < young),
        ),
    }


def aimed_checks(result: FitResult, seed: int = 0) -> tuple[AimedCheck, ...]:
    """The checks of one fit.

    **Arguments:**

    - `result`: of a fit whose objects have recorded θ; posteriors are taken at their points, whose
        errors are then predicted as those of recorded values.
    - `seed`: of the predicted catalogues.

    ```python
    result = fit(catalogue, operator, model)
    [check.p for check in aimed_checks(result)]
    ```
    """
    points, model = result.objects.points(), result.model
    population = model.population.with_values(model.fixed_values())
    known = {p.name for p in population.parameters()}
    values = {k: v for k, v in posterior_values(result).items() if k in known}
    drawn = thinned(values, _CATALOGUES)
    made = predicted_theta(
        population, drawn, result.grid, result.selection, points.errors, seed + 17
    )
    checks = []
    for name, (words, of) in statistics_of(points.theta).items():
        observed = of(points.theta)
        predicted = np.array([of(theta) for theta in made])
        predicted = predicted[np.isfinite(predicted)]
        if not np.isfinite(observed) or len(predicted) < len(made) / 2:
            continue
        above, below = (predicted >= observed).sum(), (predicted <= observed).sum()
        p = min(1.0, 2 * (min(above, below) + 1) / (len(predicted) + 1))
        low, middle, high = np.percentile(predicted, [2.5, 50, 97.5])
        checks.append(
            AimedCheck(
                name, words, observed, float(low), float(middle), float(high), p, len(predicted)
            )
        )
    return tuple(checks)
