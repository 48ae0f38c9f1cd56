"""A logistic regression beside the networks: what a dozen numbers know of who is catalogued.

Hunt et al. (2026) describe the completeness of a cluster census by a logistic regression in four
features. Whether networks know more than that is a question for held-out injections, so an operator
is learned together with such a regression, on the same rows with the same weights, and every
evaluation shows both. logit p is a polynomial of second degree in the properties, each with mean 0
and standard deviation 1:

    logit p = b_0 + Σ b_j u_j + Σ_{j ≤ k} b_jk u_j u_k,

with a prior of standard deviation 10 for each coefficient but b_0, which matters only where
outcomes are separated without overlap. The fit is Newton's method (iteratively reweighted least
squares) on a convex function.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from starcensus.theta import AXES

from ..injection import InjectionTable
from ..operators.nuisance import BACKGROUND, R_EFF
from .features import Inputs, magnitude_limits, nuisance_columns
from .guards import LearningError

SAME_INPUTS, PHYSICAL = "same_inputs", "physical"
_PRIOR_SD = 10.0
_MAX_STEPS, _TOLERANCE = 200, 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class LogisticRegression:
    """P(catalogued) as a logistic function of a quadratic form of some properties.

    **Arguments:**

    - `columns`: `log_mass` (log10 M_sun), `log_age` (log10 yr), `a_v` (mag), `log_r_eff_pc`,
      `log_background` (log10 electrons/s/pixel), or the true magnitude in a band by its name.
    - `mean`, `scale`: `(k,)`, standardisation of the columns.
    - `low`, `high`: `(k,)`, limits to which a column is clipped, ±inf for none.
    - `coefficients`: `(1 + k + k(k + 1)/2,)`, in the order of `quadratic_terms`.

    Raises `ValueError` for arrays that do not fit the columns.

    ```python
    regression = LogisticRegression.fit(table, ("log_mass", "log_age", "a_v"))
    regression.p_sel(table)
    ```
    """

    columns: tuple[str, ...]
    mean: Float[np.ndarray, "k"]
    scale: Float[np.ndarray, "k"]
    low: Float[np.ndarray, "k"]
    high: Float[np.ndarray, "k"]
    coefficients: Float[np.ndarray, "term"]

    def __post_init__(self) -> None:
        k = len(self.columns)
        arrays = (self.mean, self.scale, self.low, self.high)
        n_terms = 1 + k + k * (k + 1) // 2
        if any(a.shape != (k,) for a in arrays) or self.coefficients.shape != (n_terms,):
            raise ValueError(
                f"a regression in {k} columns has arrays of {[len(a) for a in arrays]} numbers and "
                f"{len(self.coefficients)} coefficients; expected {k} and {n_terms}"
            )

    @classmethod
    def fit(
        cls,
        table: InjectionTable,
        columns: tuple[str, ...],
        weight: Float[np.ndarray, "n"] | None = None,
        limits: Float[np.ndarray, "band 2"] | None = None,
    ) -> "LogisticRegression":
        """The regression of the labels of a table.

        **Arguments:**

        - `table`: injections with both outcomes.
        - `columns`: which properties.
        - `weight`: `(n,)`, weights of the rows; by default 1.
        - `limits`: `(band, 2)`, mag, to which magnitudes are clipped, by default to those of the
          table.

        Raises `LearningError` for a property that the table has not, one that is the same for all
        injections, and a fit that does not converge.

        ```python
        LogisticRegression.fit(table, ("log_mass", "log_age", "a_v")).coefficients
        ```
        """
        low, high = _limits(table, columns, limits)
        x = np.clip(_values(table, columns), low, high)
        bad = [name for name, c in zip(columns, x.T, strict=True) if not np.isfinite(c).all()]
        if bad or not columns:
            raise LearningError(
                f"a regression takes {', '.join(bad) or 'nothing'}, which is not a number for "
                "every injection; leave it out"
            )
        mean, scale = x.mean(axis=0), x.std(axis=0)
        if (scale <= 1e-9).any():
            raise LearningError(
                f"{columns[int(np.argmin(scale))]} is the same for all injections; leave it out"
            )
        terms = quadratic_terms((x - mean) / scale)
        w = np.ones(len(table)) if weight is None else weight
        return cls(columns, mean, scale, low, high, fit_logistic(terms, table.catalogued, w))

    def p_sel(self, table: InjectionTable) -> Float[np.ndarray, "n"]:
        """Probability of each injection of a table, `(n,)`.

        Raises `LearningError` for a table without one of the properties.
        """
        x = np.clip(_values(table, self.columns), self.low, self.high)
        return expit(quadratic_terms((x - self.mean) / self.scale) @ self.coefficients)

    def facts(self) -> dict[str, Any]:
        """For an operator's provenance, JSON-ready; `from_facts` reads it.

        ```python
        regression = LogisticRegression.fit(table, ("log_mass",))
        LogisticRegression.from_facts(regression.facts()).columns
        ```
        """
        arrays = {name: getattr(self, name).tolist() for name in ("mean", "scale", "coefficients")}
        # JSON has no infinity.
        ends = zip(self.low.tolist(), self.high.tolist(), strict=True)
        limits = [[x if np.isfinite(x) else None for x in pair] for pair in ends]
        return {"columns": list(self.columns), **arrays, "limits": limits}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "LogisticRegression":
        """From an operator's provenance; raises `LearningError` where that cannot be read."""
        try:
            low, high = (
                np.array([end if pair[i] is None else pair[i] for pair in facts["limits"]], float)
                for i, end in enumerate((-np.inf, np.inf))
            )
            mean, scale, coefficients = (
                np.array(facts[name], float) for name in ("mean", "scale", "coefficients")
            )
            return cls(tuple(facts["columns"]), mean, scale, low, high, coefficients)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise LearningError(
                f"the operator's logistic regression cannot be read ({error}); learn it again"
            ) from error


def fit_regressions(
    table: InjectionTable,
    inputs: Inputs,
    weight: Float[np.ndarray, "n"] | None = None,
    limits: Float[np.ndarray, "band 2"] | None = None,
) -> dict[str, LogisticRegression]:
    """The regressions that stand beside an operator, by name.

    `"same_inputs"` takes what the networks take, so that it differs by its form alone;
    `"physical"`, where that is something else, mass, age and extinction with the radius and the
    local sky, as far as these are known and differ.

    **Arguments:**

    - `table`: the rows that the networks were trained on.
    - `inputs`: what these take. `weight`: `(n,)`, of the rows in their loss. `limits`: of
      magnitudes.

    ```python
    fit_regressions(table, Inputs(r_eff=True))["same_inputs"].columns
    ```
    """
    same = (AXES if inputs.kind == "physical" else table.bands) + inputs.nuisances
    same = tuple(name for name in same if _varies(table, name, limits))
    physical = tuple(n for n in (*AXES, R_EFF, BACKGROUND) if _varies(table, n, limits))
    wanted = {SAME_INPUTS: same} | ({PHYSICAL: physical} if set(physical) != set(same) else {})
    return {
        name: LogisticRegression.fit(table, columns, weight, limits)
        for name, columns in wanted.items()
        if columns
    }


def quadratic_terms(u: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n term"]:
    """1, u_j, and u_j u_k for j ≤ k, of each row.

    ```python
    quadratic_terms(np.array([[2.0, 3.0]]))  # [[1, 2, 3, 4, 6, 9]]
    ```
    """
    pairs = itertools.combinations_with_replacement(range(u.shape[1]), 2)
    return np.column_stack([np.ones(len(u)), u, *(u[:, j] * u[:, k] for j, k in pairs)])


def fit_logistic(
    x: Float[np.ndarray, "n k"],
    label: Bool[np.ndarray, "n"],
    weight: Float[np.ndarray, "n"],
    prior_sd: float = _PRIOR_SD,
) -> Float[np.ndarray, "k"]:
    """Coefficients b of logit p = x·b, the first of which has no prior, by Newton's method.

    **Arguments:**

    - `x`: `(n, k)`, the first column 1. `label`: `(n,)`, both outcomes. `weight`: `(n,)`.
    - `prior_sd`: standard deviation of the other coefficients' normal prior.

    Raises `LearningError` where it does not converge.

    ```python
    x = np.column_stack([np.ones(4), [0.0, 0.0, 1.0, 1.0]])
    label = np.array([True, False, True, False])
    fit_logistic(x, label, np.ones(4))  # [0, 0]
    ```
    """
    precision = np.full(x.shape[1], prior_sd**-2)
    precision[0] = 0.0

    def objective(b: np.ndarray) -> float:
        eta = x @ b
        nll = np.logaddexp(0.0, eta) - np.where(label, eta, 0.0)
        return float(weight @ nll + 0.5 * precision @ b**2)

    share = float(np.clip(np.average(label, weights=weight), 1e-6, 1 - 1e-6))
    b = np.zeros(x.shape[1])
    b[0] = np.log(share / (1 - share))
    value = objective(b)
    for _ in range(_MAX_STEPS):
        p = expit(x @ b)
        gradient = x.T @ (weight * (label - p)) - precision * b
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + np.diag(precision)
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        gain = float(gradient @ step)
        if gain < _TOLERANCE * max(1.0, abs(value)):
            return b + step
        length = 1.0
        while (found := objective(b + length * step)) > value and length > 1e-6:
            length /= 2
        b, value = b + length * step, min(found, value)
    raise LearningError(
        f"the logistic regression did not converge in {_MAX_STEPS} steps; expected both outcomes "
        "with finite properties and weights"
    )


def _values(table: InjectionTable, columns: tuple[str, ...]) -> Float[np.ndarray, "n k"]:
    known = {name: i for i, name in enumerate(table.bands)}
    out = []
    for name in columns:
        if name in AXES:
            out.append(getattr(table, name))
        elif name in (R_EFF, BACKGROUND):
            with np.errstate(divide="ignore", invalid="ignore"):
                out.append(nuisance_columns(table, (name,))[:, 0])
        elif name in known:
            out.append(table.true_mags[:, known[name]])
        else:
            raise LearningError(
                f"the logistic regression takes {name}, and the table has magnitudes in "
                f"{', '.join(table.bands)}"
            )
    return np.stack(out, axis=1) if out else np.empty((len(table), 0))


def _limits(
    table: InjectionTable,
    columns: tuple[str, ...],
    limits: Float[np.ndarray, "band 2"] | None,
) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "k"]]:
    low, high = np.full(len(columns), -np.inf), np.full(len(columns), np.inf)
    if any(name in table.bands for name in columns):
        ends = magnitude_limits(table) if limits is None else limits
        for i, name in enumerate(columns):
            if name in table.bands:
                low[i], high[i] = ends[table.bands.index(name)]
    return low, high


def _varies(table: InjectionTable, name: str, limits: Float[np.ndarray, "band 2"] | None) -> bool:
    low, high = _limits(table, (name,), limits)
    x = np.clip(_values(table, (name,)), low, high)
    return bool(np.isfinite(x).all() and x.std() > 1e-9)
