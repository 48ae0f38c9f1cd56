"""What the fitted population predicts: densities on axes, and binned counts of the catalogue.

Expected catalogued clusters are spread over the quadrature nodes as λ p_sel w. A predicted
catalogue is a Poisson number of them, moved by errors drawn from the catalogue's own. That is exact
when selection acts on the truth. When it acts on the recorded data, the errors of catalogued
objects are not independent of their being catalogued: a `RecordedSelection` and the
`RecordedLimits` of a sample say how, and errors are then resampled with the probability of their
rule at the recorded values; for other operators of the data the errors are drawn as if
independent, which is an approximation.
"""

import dataclasses
from collections.abc import Mapping

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int

from starcensus.theta import AXES

from ..forward import Population, SelectionGrid, marginal_densities
from ..selection import AbstractSelection, ProductSelection, RecordedLimits, RecordedSelection
from .identity import Rules, grid_of, rules_of
from .model import OPERATOR
from .sampling import double_precision

_BLOCK, _CANDIDATES, _ROUNDS = 65_536, 48, 16
# Larger catalogues, which wide priors on log_n imply, are drawn at this size and scaled up.
_MAX_DRAWN = 10_000


@dataclasses.dataclass(frozen=True)
class BinSettings:
    """Bin widths of the predicted counts.

    **Arguments:**

    - `log_mass`, `log_age`: dex.
    - `a_v`: mag.

    ```python
    FitSettings(bins=BinSettings(log_mass=0.5))
    ```
    """

    log_mass: float = 0.25
    log_age: float = 0.25
    a_v: float = 0.25


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Predictions of some draws of the parameters.

    **Arguments:**

    - `edges`: bin edges by axis, dex, dex, mag.
    - `counts`: `(draw, bin)` by axis, counts of recorded values.
    - `nodes`, `weights`: quadrature nodes and weights by axis.
    - `density`: `(draw, node)` by axis, dN/dx of the population.
    - `detected`: the same for catalogued clusters (true values).
    - `n_catalogued`: `(draw,)`, size of each predicted catalogue.
    """

    edges: dict[str, Float[np.ndarray, " edge"]]
    counts: dict[str, Int[np.ndarray, "draw bin"]]
    nodes: dict[str, Float[np.ndarray, " node"]]
    weights: dict[str, Float[np.ndarray, " node"]]
    density: dict[str, Float[np.ndarray, "draw node"]]
    detected: dict[str, Float[np.ndarray, "draw node"]]
    n_catalogued: Int[np.ndarray, " draw"]


def bin_edges(population: Population, settings: BinSettings) -> dict[str, np.ndarray]:
    """Equal bins that cover the population's bounds."""
    edges = {}
    for axis in AXES:
        low, high = getattr(population.box, axis)
        n = max(1, round((high - low) / getattr(settings, axis)))
        edges[axis] = np.linspace(low, high, n + 1)
    return edges


def binned(theta: Float[np.ndarray, "n 3"], edges: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Counts of each column of θ in its bins; what lies beyond goes to the outermost bins."""
    return {
        axis: np.histogram(np.clip(column, edges[axis][0], edges[axis][-1]), edges[axis])[0]
        for axis, column in zip(AXES, theta.T, strict=True)
    }


def predict(
    population: Population,
    values: dict[str, Float[np.ndarray, "draw ..."]],
    grid: SelectionGrid,
    selection: AbstractSelection,
    errors: Float[np.ndarray, "n 3"],
    seed: int,
    settings: BinSettings | None = None,
) -> Predictions:
    """Predict a catalogue for each draw of the parameters.

    **Arguments:**

    - `population`: the family.
    - `values`: draws `(draw, …)` by parameter name; those of an operator that deviates under
      `OPERATOR`.
    - `grid`: the operator at the quadrature's nodes, of `selection_grid`.
    - `selection`: the operator.
    - `errors`: `(n, 3)`, errors of the catalogued objects (`Points.errors`), dex, dex, mag;
      predicted objects are given the same.
    - `seed`: seed of the catalogues.
    - `settings`: bins of the counts.

    ```python
    grid = selection_grid(operator, population)
    errors = PublishedValues(catalogue).points().errors
    made = predict(population, prior_draws(model, 20, seed=0), grid, operator, errors, seed=1)
    made.counts["log_mass"].shape
    ```
    """
    edges = bin_edges(population, settings or BinSettings())
    with double_precision():
        rules = rules_of(grid)
        node_sets = (grid.mass_rule.nodes, grid.age_rule.nodes, grid.a_v_rule.nodes)
        weight_sets = (grid.mass_rule.weights, grid.age_rule.weights, grid.a_v_rule.weights)
        mesh, cell = _cells(grid)
        rng = np.random.default_rng(seed)
        counts = {axis: [] for axis in AXES}
        density = {axis: [] for axis in AXES}
        detected = {axis: [] for axis in AXES}
        sizes, full_sizes, drawn = [], [], []
        n_draws = len(next(iter(values.values())))
        for i in range(n_draws):
            draw, p_sel = _drawn(values, grid, i)
            marginals, weights = _spread(population, draw, rules, p_sel)
            weights = np.maximum(np.asarray(weights), 0.0)
            for j, axis in enumerate(AXES):
                density[axis].append(np.asarray(marginals[axis]))
                others = tuple(k for k in range(3) if k != j)
                detected[axis].append(weights.sum(axis=others) / weight_sets[j])
            theta, n_full = _catalogued(weights, mesh, cell, rng)
            sizes.append(len(theta))
            full_sizes.append(n_full)
            drawn.append(theta)
        recorded = _record(np.concatenate(drawn), errors, selection, rng)
        for theta, n, n_full in zip(
            np.split(recorded, np.cumsum(sizes)[:-1]), sizes, full_sizes, strict=True
        ):
            for axis, count in binned(theta, edges).items():
                counts[axis].append(np.rint(count * (n_full / max(n, 1))).astype(int))
    return Predictions(
        edges,
        {k: np.asarray(v) for k, v in counts.items()},
        dict(zip(AXES, node_sets, strict=True)),
        dict(zip(AXES, weight_sets, strict=True)),
        {k: np.asarray(v) for k, v in density.items()},
        {k: np.asarray(v) for k, v in detected.items()},
        np.asarray(full_sizes),
    )


def predicted_theta(
    population: Population,
    values: dict[str, Float[np.ndarray, "draw ..."]],
    grid: SelectionGrid,
    selection: AbstractSelection,
    errors: Float[np.ndarray, "n 3"],
    seed: int,
) -> list[Float[np.ndarray, "k 3"]]:
    """Recorded θ of a predicted catalogue for each draw of the parameters, of 10,000 clusters at
    most; arguments as of `predict`.

    ```python
    grid = selection_grid(operator, population)
    errors = PublishedValues(catalogue).points().errors
    drawn = prior_draws(model, 20, seed=0)
    len(predicted_theta(population, drawn, grid, operator, errors, seed=1))
    ```
    """
    mesh, cell = _cells(grid)
    rng, rules, drawn = np.random.default_rng(seed), rules_of(grid), []
    with double_precision():
        for i in range(len(next(iter(values.values())))):
            draw, p_sel = _drawn(values, grid, i)
            weights = np.asarray(_spread(population, draw, rules, p_sel)[1])
            drawn.append(_catalogued(np.maximum(weights, 0.0), mesh, cell, rng)[0])
        recorded = _record(np.concatenate(drawn), errors, selection, rng)
    return np.split(recorded, np.cumsum([len(theta) for theta in drawn])[:-1])


def _drawn(
    values: Mapping[str, Float[np.ndarray, "draw ..."]], grid: SelectionGrid, i: int
) -> tuple[dict[str, np.ndarray], Float[np.ndarray, "m t a"]]:
    """The parameters of a draw, and the operator that it goes with."""
    draw = {k: np.asarray(v[i]) for k, v in values.items()}
    z = draw.pop(OPERATOR, None)
    return draw, grid.p_sel if z is None else np.asarray(grid.shifted(z).p_sel)


def _cells(grid: SelectionGrid) -> tuple[Float[np.ndarray, "cell 3"], Float[np.ndarray, "cell 3"]]:
    """Places of the grid's nodes, and the widths for which they stand."""
    nodes, weights = zip(*((rule.nodes, rule.weights) for rule in grid.rules), strict=True)
    mesh = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, 3)
    return mesh, np.stack(np.meshgrid(*weights, indexing="ij"), axis=-1).reshape(-1, 3)


def _catalogued(
    weights: Float[np.ndarray, "m t a"],
    mesh: Float[np.ndarray, "cell 3"],
    cell: Float[np.ndarray, "cell 3"],
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "n 3"], int]:
    """True θ of a catalogue with these expected numbers, and how many there should be of them."""
    n_full = int(rng.poisson(min(weights.sum(), 1e12)))
    n = min(n_full, _MAX_DRAWN)
    cumulative = np.cumsum(weights.ravel())
    pick = np.searchsorted(cumulative, rng.uniform(size=n) * cumulative[-1])
    pick = np.minimum(pick, len(mesh) - 1)
    # Nodes stand for cells of about their weight; uniform jitter hides the lattice.
    return mesh[pick] + cell[pick] * rng.uniform(-0.5, 0.5, size=(n, 3)), n_full


@eqx.filter_jit
def _spread(
    population: Population,
    draw: Mapping[str, Float[Array, "..."] | Float[np.ndarray, "..."]],
    rules: Rules,
    p_sel: Float[Array, "m t a"] | Float[np.ndarray, "m t a"],
) -> tuple[dict[str, Float[Array, " node"]], Float[Array, "m t a"]]:
    """Densities on the axes, and expected catalogued clusters at the nodes."""
    grid, fitted = grid_of(rules, p_sel), population.with_values(draw)
    marginals = {k: v[1] for k, v in marginal_densities(fitted, grid).items()}
    return marginals, grid.detected_density(fitted)


@eqx.filter_jit
def _rule(
    base: AbstractSelection,
    candidates: Float[Array, "n 3"] | Float[np.ndarray, "n 3"],
) -> Float[Array, "n"]:
    return base.p_sel(candidates[..., 0], candidates[..., 1], candidates[..., 2])


def _stages(selection: AbstractSelection) -> list[AbstractSelection]:
    if isinstance(selection, ProductSelection):
        return [*_stages(selection.first), *_stages(selection.second)]
    return [selection]


def _record(
    theta: Float[np.ndarray, "n 3"],
    errors: Float[np.ndarray, "m 3"],
    selection: AbstractSelection,
    rng: np.random.Generator,
) -> Float[np.ndarray, "n 3"]:
    """θ as a survey would record it, given that it catalogued the object."""
    stages = _stages(selection)
    rules = [stage for stage in stages if isinstance(stage, RecordedSelection)]
    limits = [stage for stage in stages if isinstance(stage, RecordedLimits)]

    def moved(rows: Int[np.ndarray, "k"]) -> Float[np.ndarray, "k 3"]:
        own = (
            np.asarray(rules[0].sigma)
            if rules
            else errors[rng.integers(len(errors), size=len(rows))]
        )
        return theta[rows] + own * rng.normal(size=(len(rows), 3))

    left = np.arange(len(theta))
    recorded = moved(left)
    if not rules and not limits:
        return recorded
    for _ in range(_ROUNDS):
        left = left[rng.uniform(size=len(left)) >= _kept(recorded[left], rules, limits)]
        if not len(left):
            return recorded
        recorded[left] = moved(left)
    # Of what is seldom catalogued, one of many, by its probability.
    for rows in np.array_split(left, -(-len(left) * _CANDIDATES // _BLOCK)):
        candidates = moved(np.repeat(rows, _CANDIDATES))
        p = _kept(candidates, rules, limits).reshape(len(rows), _CANDIDATES)
        cumulative = np.cumsum(p + 1e-300, axis=1)
        u = rng.uniform(size=(len(rows), 1)) * cumulative[:, -1:]
        pick = np.minimum((cumulative < u).sum(axis=1), _CANDIDATES - 1)
        recorded[rows] = candidates.reshape(len(rows), _CANDIDATES, 3)[np.arange(len(rows)), pick]
    return recorded


def _kept(
    recorded: Float[np.ndarray, "n 3"],
    rules: list[RecordedSelection],
    limits: list[RecordedLimits],
) -> Float[np.ndarray, "n"]:
    """The probability that what is recorded so is kept."""
    p = np.ones(len(recorded))
    for start in range(0, len(recorded) if rules else 0, _BLOCK):
        block = recorded[start : start + _BLOCK]
        # Blocks of one size share a compilation.
        padded = np.resize(block, (_BLOCK, 3))
        for rule in rules:
            p[start : start + _BLOCK] *= np.asarray(_rule(rule.base, padded))[: len(block)]
    for limit in limits:
        low, high = np.asarray(limit.low), np.asarray(limit.high)
        p = p * ((recorded >= low) & (recorded <= high)).all(axis=1)
    return p
