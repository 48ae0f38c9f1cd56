"""Which of several populations do the data prefer, and how sure is that.

    ln B_ab = ln Z_a − ln Z_b,    P(a | data) = w_a Z_a / Σ_k w_k Z_k,

with stated prior odds w. Words for ln B are those of Kass & Raftery (1995, JASA 90, 773, §3.2):
2 ln B above 2 is positive, above 6 strong and above 10 very strong evidence. A grade is given by
what remains of |ln B| after twice its error.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from .errors import EvidenceError
from .evidence import Evidence
from .priors import PriorCurve
from .thinning import Thinned

# |ln B| from which evidence is positive, strong and very strong.
GRADES = ((5.0, "very strong"), (3.0, "strong"), (1.0, "positive"))
_CERTAIN = 2.0
_DRAWS = 4000
_SAID = {
    "clusters": "other clusters, or other errors of these",
    "selection": "another selection",
    "bounds": "other bounds of the population",
    "form": "another form of the likelihood",
}


@dataclasses.dataclass(frozen=True)
class Bayes:
    """A Bayes factor of two models.

    **Arguments:**

    - `a`, `b`: names of the models. `ln_b`: ln of Z_a / Z_b.
    - `error`: of it, Monte Carlo and numerical.
    - `grade`: of the evidence: `"very strong"`, `"strong"`, `"positive"`, or `"none"`.
    """

    a: str
    b: str
    ln_b: float
    error: float
    grade: str

    @property
    def words(self) -> str:
        """The finding in a sentence."""
        first, second = (self.a, self.b) if self.ln_b >= 0 else (self.b, self.a)
        size = f"ln B = {abs(self.ln_b):.1f} ± {self.error:.1f}"
        if self.grade == "none":
            return f"The data cannot tell {first} and {second} apart ({size})."
        return f"There is {self.grade} evidence for {first} against {second} ({size})."


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Several models of one catalogue.

    **Arguments:**

    - `evidences`: of each model, by name.
    - `prior_odds`: weight of each before there are data; by default all weigh the same.
    - `curves`: what widths of priors do to the evidence of each model, by its name.
    - `thinned`: predictive scores of each model, by its name; may be empty.

    Raises `EvidenceError` for fewer than two models, odds that are no positive numbers, models of
    other clusters, selections, bounds or forms than the first, and for the same model twice.

    ```python
    mass = PowerLaw(box.log_mass)
    families = {
        "falling": population,
        "none": Population(Separable(mass, Constant(box.log_age)), HalfNormal(box.a_v)),
    }
    fits = {k: fit(catalogue, operator, PopulationModel(v)) for k, v in families.items()}
    found = Comparison({name: evidence(result) for name, result in fits.items()})
    found.probabilities(), found.bayes("falling", "none").words
    ```
    """

    evidences: Mapping[str, Evidence]
    prior_odds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    curves: Mapping[str, tuple[PriorCurve, ...]] = dataclasses.field(default_factory=dict)
    thinned: Mapping[str, Thinned] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        names = list(self.evidences)
        if len(names) < 2:
            raise EvidenceError(f"models are {names}; expected two or more to compare")
        first, reference = names[0], self.evidences[names[0]]
        for name in names[1:]:
            for what, digest in self.evidences[name].data.items():
                if digest != reference.data.get(what):
                    detail = (
                        f" ({digest}; {reference.data.get(what)})"
                        if what in ("bounds", "form")
                        else ""
                    )
                    raise EvidenceError(
                        f"{name} has {_SAID.get(what, what)} than {first}{detail}: their evidences "
                        "are of different data, and their ratio means nothing; give all models the "
                        "same"
                    )
        digests: dict[str, str] = {}
        for name, each in self.evidences.items():
            if each.model in digests:
                raise EvidenceError(
                    f"{name} and {digests[each.model]} are the same model, which would count twice "
                    "in the odds; leave one of them out"
                )
            digests[each.model] = name
        check_odds(self.prior_odds, names)
        for what, given in (("curves", self.curves), ("thinned", self.thinned)):
            if unknown := sorted(set(given) - set(names)):
                raise EvidenceError(f"{what} are given of {unknown}, which are none of {names}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.evidences)

    @property
    def odds(self) -> dict[str, float]:
        """Prior probabilities of the models."""
        weights = {name: float(self.prior_odds.get(name, 1.0)) for name in self.names}
        total = sum(weights.values())
        return {name: weight / total for name, weight in weights.items()}

    @property
    def best(self) -> str:
        """The model of the largest posterior probability."""
        found = self.probabilities()
        return max(found, key=lambda name: found[name][1])

    def bayes(self, a: str, b: str) -> Bayes:
        """The Bayes factor of two models; raises `KeyError` for a name that none has."""
        first, second = self.evidences[a], self.evidences[b]
        ln_b = first.ln_z - second.ln_z
        error = math.hypot(first.error, second.error, first.numerical, second.numerical)
        return Bayes(a, b, ln_b, error, grade(ln_b, error))

    def probabilities(self, seed: int = 0) -> dict[str, tuple[float, float, float]]:
        """Posterior probability of each model: 16%, middle and 84% by the errors of ln Z.

        The middle is that of the best values of ln Z.
        """
        at = np.array([each.ln_z for each in self.evidences.values()])
        error = np.array([math.hypot(e.error, e.numerical) for e in self.evidences.values()])
        weight = np.log([self.odds[name] for name in self.names])
        rng = np.random.default_rng(seed)
        drawn = _shares(weight + at + error * rng.normal(size=(_DRAWS, len(at))))
        low, high = np.percentile(drawn, [16, 84], axis=0)
        middle = _shares((weight + at)[None])[0]
        return {
            name: (float(low[i]), float(middle[i]), float(high[i]))
            for i, name in enumerate(self.names)
        }

    def words(self) -> tuple[str, ...]:
        """What the data can and cannot tell apart: a sentence for each other model beside the best,
        and one for each prior on whose width that depends."""
        best, said = self.best, []
        for name in self.names:
            if name == best:
                continue
            found = self.bayes(best, name)
            said.append(found.words)
            said += self._of_priors(found)
            said += self._of_scores(found)
        return tuple(said)

    def _of_priors(self, found: Bayes) -> list[str]:
        said = []
        for name, sign in ((found.a, 1.0), (found.b, -1.0)):
            for curve in self.curves.get(name, ()):
                near = [
                    (factor, sign * change)
                    for factor, change in zip(curve.factors, curve.change, strict=True)
                    if 0.5 <= factor <= 2 and math.isfinite(change)
                ]
                moved = [
                    (factor, found.ln_b + change)
                    for factor, change in near
                    if grade(found.ln_b + change, found.error) != found.grade
                    or (found.ln_b + change) * found.ln_b < 0
                ]
                if moved:
                    factor, ln_b = max(moved, key=lambda each: abs(each[1] - found.ln_b))
                    said.append(
                        f"This depends on the prior of {curve.parameter} of {name}: {factor:g} "
                        f"times as wide, ln B would be {ln_b:+.1f}."
                    )
        return said

    def _of_scores(self, found: Bayes) -> list[str]:
        if found.a not in self.thinned or found.b not in self.thinned:
            return []
        difference, error = self.thinned[found.a].less(self.thinned[found.b])
        size = f"{difference:+.1f} ± {error:.1f} in ln probability"
        if abs(difference) < _CERTAIN * error:
            return [f"Neither predicts clusters that were held out better than the other ({size})."]
        better = found.a if difference > 0 else found.b
        return [f"{better} predicts clusters that were held out better ({size})."]

    def summary(self) -> dict[str, float | int | bool | str]:
        """The numbers that a comparison stands for, flat, with names such as `ln_z.MODEL`."""
        first = next(iter(self.evidences.values()))
        made: dict[str, Any] = {"n_clusters": first.n_clusters, "best": self.best}
        for name, (low, middle, high) in self.probabilities().items():
            each = self.evidences[name]
            made |= {
                f"ln_z.{name}": each.ln_z,
                f"ln_z_error.{name}": each.error,
                f"ln_z_numerical.{name}": each.numerical,
                f"ln_z_bridge.{name}": each.bridge_ln_z,
                f"prior.{name}": self.odds[name],
                f"probability.{name}": middle,
                f"probability.{name}.p16": low,
                f"probability.{name}.p84": high,
            }
            if each.nested_ln_z is not None and each.nested_error is not None:
                made[f"ln_z_nested.{name}"] = each.nested_ln_z
                made[f"ln_z_nested_error.{name}"] = each.nested_error
        best = self.best
        for name in self.names:
            if name != best:
                found = self.bayes(best, name)
                made[f"ln_b.{best}.{name}"] = found.ln_b
                made[f"ln_b_error.{best}.{name}"] = found.error
                made[f"grade.{best}.{name}"] = found.grade
        for name, each in self.thinned.items():
            made[f"score.{name}"] = each.total
            if name != best and best in self.thinned:
                difference, error = self.thinned[best].less(each)
                made[f"score_difference.{best}.{name}"] = difference
                made[f"score_difference_error.{best}.{name}"] = error
        return {k: v for k, v in made.items() if not isinstance(v, float) or math.isfinite(v)}


def grade(ln_b: float, error: float) -> str:
    """What |ln B| less twice its error is called (Kass & Raftery 1995).

    ```python
    grade(4.0, 0.2)  # "strong"
    ```
    """
    remaining = abs(ln_b) - _CERTAIN * error
    return next((word for least, word in GRADES if remaining >= least), "none")


def check_odds(prior_odds: Mapping[str, float], names: list[str]) -> None:
    """Raises `EvidenceError` for odds of an unknown model, or that are no positive numbers.

    ```python
    check_odds({"mid": 2.0}, ["mid", "none"])
    ```
    """
    if unknown := sorted(set(prior_odds) - set(names)):
        raise EvidenceError(f"prior odds are given of {unknown}, which are none of {names}")
    if bad := {k: v for k, v in prior_odds.items() if not 0 < v < math.inf}:
        raise EvidenceError(f"prior odds are {bad}; expected numbers above 0")


def _shares(log_weight: Float[np.ndarray, "k model"]) -> Float[np.ndarray, "k model"]:
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    return weight / weight.sum(axis=1, keepdims=True)
