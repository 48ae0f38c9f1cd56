"""How exact the selection integral is, for any operator, and panels that make it so.

A Gauss-Legendre panel stands for p_sel by the polynomial through its nodes. What that misses is
seen by evaluating p_sel at the nodes of the panel's quarters: the mean of (p_sel − polynomial) over
a panel, times the share of the population in it, is the panel's error. Densities are not even over
a panel, and a mean may be small by chance, so the means with the first Legendre polynomials as
weights count too. (Halves would not do: where p_sel steps, both rules are often wrong alike.) There
the error is of the order of the step's height times the distance of two nodes; panels with the
largest errors are halved until all are small.

Along each axis the error is taken on some lines of the grid, not on all. What the lines share (a
step at one mass for all ages) is the error of all of them; what differs from line to line (a step
along a diagonal) averages out over the grid as noise does.
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..selection import AbstractSelection
from ._quadrature import PanelRule
from .population import Population

_EVERY = 4
_ROUNDS = 14
_MAX_NODES = 2_000_000
_PARTS, _MOMENTS = 4, 4
# Where less than this share is detected, errors are taken relative to it.
_LEAST = 1e-12

type Rules = tuple[PanelRule, PanelRule, PanelRule]


class PanelErrors(NamedTuple):
    """Means of p_sel minus its polynomial in each panel, on some lines along an axis.

    **Arguments:**

    - `lines`: which nodes of the three axes the lines go through; all of the axis itself.
    - `missed`: `(moment, …)`, weighted mean error of each panel, with the panels of the axis in
      place of its nodes.
    - `p_sel`: the operator at the nodes of the lines.
    """

    axis: int
    lines: tuple[np.ndarray, np.ndarray, np.ndarray]
    missed: Float[np.ndarray, "k _ _ _"]
    p_sel: Float[np.ndarray, "_ _ _"]

    def shares(
        self, weights: Float[np.ndarray, "m t a"], order: int
    ) -> Float[np.ndarray, " panel"]:
        """Error of each panel as a share of the integral.

        `weights`: of the population at all nodes.
        """
        on_lines = weights[np.ix_(*self.lines)]
        total = float((on_lines * self.p_sel).sum())
        starts = np.arange(0, on_lines.shape[self.axis], order)
        in_panels = np.add.reduceat(on_lines, starts, axis=self.axis)
        others = tuple(i + 1 for i in range(3) if i != self.axis)
        each = in_panels * self.missed
        alone = (each**2).sum(axis=others)
        together = np.maximum(each.sum(axis=others) ** 2 - alone, 0.0)
        used = on_lines.sum() / max(weights.sum(), 1e-300)
        return np.sqrt(together + used * alone).max(axis=0) / max(total, _LEAST)


def panel_errors(
    selection: AbstractSelection,
    rules: Rules,
    weights: Float[np.ndarray, "m t a"],
    member: int | None = None,
) -> tuple[PanelErrors, ...]:
    """The errors of an operator's panels along each axis.

    **Arguments:**

    - `weights`: of a population at all nodes; lines go where it is.
    - `member`: as of `selection_grid`.
    """
    found = []
    marginals = [weights.sum(axis=tuple(k for k in range(3) if k != i)) for i in range(3)]
    for axis, rule in enumerate(rules):
        lines = [_some(marginal) for marginal in marginals]
        lines[axis] = np.arange(len(rule.nodes))
        nodes = [r.nodes[line] for r, line in zip(rules, lines, strict=True)]
        nodes[axis] = np.concatenate([rule.nodes, _parts(rule).nodes])
        order = np.argsort(nodes[axis], kind="stable")
        nodes[axis] = nodes[axis][order]
        members = np.asarray(selection.on_tensor_grid(*nodes))
        values = members.mean(axis=0) if member is None else members[member]
        values = np.moveaxis(values, axis, 0)[np.argsort(order)]
        coarse, fine = np.split(values, [len(rule.nodes)])
        missed = fine - _polynomial(rule, coarse)
        by_panel = missed.reshape(-1, _PARTS * rule.order, *missed.shape[1:])
        means = np.einsum("kf,pfxy->kpxy", _moments(rule.order), by_panel)
        place = (lines[0], lines[1], lines[2])
        along = np.moveaxis(means, 1, axis + 1), np.moveaxis(coarse, 0, axis)
        found.append(PanelErrors(axis, place, *along))
    return tuple(found)


def integral_error(errors: tuple[PanelErrors, ...], rules: Rules, population: Population) -> float:
    """Error of the expected count of a population, as a share of it.

    Those of the panels of an axis are independent, those of the axes are added.
    """
    weights = population_weights(rules, population)
    each = [e.shares(weights, rule.order) for e, rule in zip(errors, rules, strict=True)]
    return float(sum(np.linalg.norm(shares) for shares in each))


def population_weights(rules: Rules, population: Population) -> Float[np.ndarray, "m t a"]:
    """Share of a population that each node carries."""
    mass_age = np.asarray(population.mass_age.quadrature(rules[0], rules[1]))
    a_v = np.asarray(population.extinction.quadrature(rules[2], rules[1].nodes))
    return mass_age[:, :, None] * a_v[None]


def refined(
    selection: AbstractSelection,
    rules: Rules,
    population: Population,
    tolerance: float,
    member: int | None = None,
) -> tuple[Rules, tuple[PanelErrors, ...]]:
    """Rules whose error is below `tolerance` for a population, and their panels' errors.

    Raises `ValueError` where that takes more panels than can be afforded.
    """
    worst = np.inf
    for _ in range(_ROUNDS):
        weights = population_weights(rules, population)
        errors = panel_errors(selection, rules, weights, member)
        shares = [e.shares(weights, r.order) for e, r in zip(errors, rules, strict=True)]
        worst = float(sum(np.linalg.norm(s) for s in shares))
        if worst <= tolerance:
            return rules, errors
        split = [np.linalg.norm(s) > tolerance / 3 for s in shares]
        first, second, third = (
            halved(r, s > 0.1 * s.max()) if bad else r
            for r, s, bad in zip(rules, shares, split, strict=True)
        )
        if np.prod([float(len(r.nodes)) for r in (first, second, third)]) > _MAX_NODES:
            break
        rules = (first, second, third)
    raise ValueError(
        f"p_sel of {type(selection).__name__} changes too abruptly for the integral over the "
        f"population: with {' x '.join(str(len(r.nodes)) for r in rules)} nodes it is known to "
        f"{worst:.2g} of its value, and {tolerance:g} is asked for. Let the operator's `edges` say "
        "where it steps, smooth it, or raise quadrature.max_relative_error"
    )


def halved(rule: PanelRule, which: np.ndarray) -> PanelRule:
    """A rule with some panels cut in the middle."""
    edges = [rule.edges[0]]
    for (low, high), cut in zip(itertools.pairwise(rule.edges), which, strict=True):
        edges += [(low + high) / 2, high] if cut else [high]
    return PanelRule(np.asarray(edges), rule.order)


def _some(marginal: Float[np.ndarray, " n"]) -> np.ndarray:
    """Of each few neighbours the node that carries most."""
    n = len(marginal)
    if n < 2 * _EVERY:
        return np.arange(n)
    starts = range(0, n, _EVERY)
    return np.asarray(
        [start + int(np.argmax(marginal[start : start + _EVERY])) for start in starts]
    )


def _parts(rule: PanelRule) -> PanelRule:
    """Every panel of a rule cut into equal parts."""
    steps = np.arange(_PARTS) / _PARTS
    inner = rule.edges[:-1, None] + np.diff(rule.edges)[:, None] * steps
    return PanelRule(np.append(inner.ravel(), rule.edges[-1]), rule.order)


def _unit(order: int) -> tuple[Float[np.ndarray, " f"], Float[np.ndarray, " f"]]:
    """Nodes of a panel's parts on [−1, 1], and weights of a mean over the panel."""
    x, w = np.polynomial.legendre.leggauss(order)
    middle = (2 * np.arange(_PARTS)[:, None] + 1) / _PARTS - 1
    return (middle + x / _PARTS).ravel(), np.tile(w / (2 * _PARTS), _PARTS)


def _moments(order: int) -> Float[np.ndarray, "k f"]:
    """Means over a panel with Legendre polynomials as weights, from the nodes of its parts."""
    x, w = _unit(order)
    return np.polynomial.legendre.legvander(x, _MOMENTS - 1).T * w


def _polynomial(rule: PanelRule, values: Float[np.ndarray, "n _ _"]) -> Float[np.ndarray, "n2 _ _"]:
    """The panels' polynomials through `values`, at the nodes of their parts."""
    x, _ = _unit(rule.order)
    matrix = np.vander(x, rule.order, increasing=True) @ rule._lagrange_coefficients()
    by_panel = values.reshape(-1, rule.order, *values.shape[1:])
    return np.einsum("fn,pnjk->pfjk", matrix, by_panel).reshape(-1, *values.shape[1:])
