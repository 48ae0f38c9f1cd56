"""The expected number of catalogued clusters, from simulated ones.

    ∫ p_sel(θ) λ(θ) dθ = ∫∫ P(det | μ) p(μ | θ) λ(θ) dμ dθ ≈ Σ_j P(det | μ_j) λ(θ_j) / (n π(θ_j))

over the rows of a pool, deposited on the nodes of a quadrature rule: b_c = Σ_j P_j w_j r(θ_j)
ℓ_c(θ_j), so that the sum is b·(λ/r). Nothing is smoothed: where p_sel steps inside a panel, b knows
how much of the panel is beyond the step. In units of the rule's own weights b is a p_sel at the
nodes, which a `SelectionGrid` takes.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from starcensus.theta import Box

from ...forward import CheckedGrid, Population, SelectionGrid
from ...selection import GridSelection, SurveyFacts
from ...simulate import Pool
from .nodes import Rules, lagrange
from .rows import SLOPES


@dataclasses.dataclass(frozen=True, eq=False)
class PoolGrid(CheckedGrid):
    """A grid of p_sel from simulated clusters, and what its error is.

    **Arguments:**

    - `grid`: b/r in units of the weights of the rule; single nodes may leave 0 to 1, for they are
      coefficients of a sum and no probabilities.
    - `panels`: none, for nothing is interpolated.
    - `theta`, `weight`, `draw`: `(row, …)`, the rows with light that may be catalogued, P_j w_j,
      and which rows are one draw.
    - `facts`: of the survey, if it was learned from one.
    - `beyond`: `(row,)`, which rows have a P_j that stands for what nobody has seen
      (`AbstractObservation.beyond`); None for none.
    """

    theta: Float[np.ndarray, "row 3"]
    weight: Float[np.ndarray, " row"]
    draw: Int[np.ndarray, " row"]
    facts: SurveyFacts | None = None
    beyond: Bool[np.ndarray, " row"] | None = None

    @classmethod
    def of(
        cls,
        pool: Pool,
        p_rows: Float[np.ndarray, " row"],
        box: Box,
        rules: Rules,
        facts: SurveyFacts | None = None,
        beyond: Bool[np.ndarray, " row"] | None = None,
    ) -> "PoolGrid":
        """From the rows of a pool inside `box`, with P(det | μ) of each, and whether that is
        known."""
        kept = box.holds(pool.theta) & (p_rows > 0)
        theta = pool.theta[kept]
        weight = p_rows[kept] * np.exp(pool.log_weight[kept])
        scaled = weight * np.exp(theta @ np.asarray(SLOPES))
        shape = tuple(len(rule.nodes) for rule in rules)
        parts = [lagrange(rule, x) for rule, x in zip(rules, theta.T, strict=True)]
        total = np.zeros(int(np.prod(shape)))
        for corner in np.ndindex(*(rule.order for rule in rules)):
            bases = [basis[:, k] for (_, basis), k in zip(parts, corner, strict=True)]
            at = [first + k for (first, _), k in zip(parts, corner, strict=True)]
            share = scaled * bases[0] * bases[1] * bases[2]
            total += np.bincount(np.ravel_multi_index(at, shape), share, len(total))
        p_sel = total.reshape(shape) * np.einsum("m,t,a->mta", *_reference(rules))
        return cls(
            SelectionGrid(*rules, p_sel=p_sel),
            (),
            theta,
            weight,
            pool.cluster[kept],
            facts,
            None if beyond is None else beyond[kept],
        )

    @property
    def by_chance(self) -> bool:
        return True

    @property
    def remedy(self) -> str:
        return "draw more simulated clusters"

    def operator(self, box: Box) -> GridSelection:
        """p_sel(θ) at the nodes inside `box`, for what needs it at a θ."""
        nodes = [np.concatenate([r.edges[:1], r.nodes, r.edges[-1:]]) for r in self.grid.rules]
        p = np.clip(np.pad(self.grid.p_sel, 1, mode="edge"), 0.0, 1.0)
        return GridSelection.from_probabilities(nodes, p, box, "clip", "data", self.facts)

    def error(self, population: Population) -> float:
        """Relative standard error of the expected number, by the scatter between draws."""
        each = self._each(population)
        starts = np.concatenate([[True], self.draw[1:] != self.draw[:-1]])
        of_draw = np.add.reduceat(each, np.flatnonzero(starts)) if len(each) else each
        total = of_draw.sum()
        return float(np.sqrt((of_draw**2).sum()) / total) if total > 0 else np.inf

    def share_beyond(self, population: Population) -> float:
        """Of the expected number, what comes from rows whose P_j nobody has seen."""
        if self.beyond is None or not self.beyond.any():
            return 0.0
        each = self._each(population)
        total = each.sum()
        return float(each[self.beyond].sum() / total) if total > 0 else 0.0

    def _each(self, population: Population) -> Float[np.ndarray, " row"]:
        log_p = np.asarray(population.log_prob(*self.theta.T), float)
        with np.errstate(over="ignore"):
            return self.weight * np.exp(log_p)


def _reference(rules: Rules) -> list[np.ndarray]:
    """1 / (weight r) of the nodes of each axis."""
    return [
        1.0 / (rule.weights * np.exp(slope * rule.nodes))
        for rule, slope in zip(rules, SLOPES, strict=True)
    ]
