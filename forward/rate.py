"""What a survey is expected to catalogue: ∫ p_sel(θ) λ(θ) dθ.

In (log_mass, log_age, a_v) the integral is a fixed tensor quadrature: p_sel at its nodes does not
depend on the population's parameters, so it is evaluated once (`selection_grid`) and every later
evaluation is a contraction. With more dimensions, or as a check, there is a Monte Carlo estimate
that carries its variance and effective sample size and is refused when these are too poor.
"""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from starcensus.theta import AXES

from ..selection import AbstractSelection
from ._quadrature import PanelRule, panel_rule
from .mass import LN10
from .population import Population
from .refinement import PanelErrors, Rules, integral_error, refined

# Deviations of a logit beyond it are as good as infinite.
_MOST = 60.0


@dataclasses.dataclass(frozen=True)
class QuadratureSettings:
    """Panels and orders of the quadrature in θ.

    The defaults resolve a selection whose transition is 0.2 mag wide (0.08 dex in mass) to about
    1e-6 of the integral. Panels end where an operator says that it steps (`edges`), and are halved
    where it changes too fast for them.

    **Arguments:**

    - `mass_panel_dex`, `age_panel_dex`, `a_v_panel_mag`: widest panel on each axis.
    - `mass_order`, `age_order`, `a_v_order`: Gauss-Legendre nodes in a panel.
    - `max_relative_error`: of the expected count, to which panels are halved.

    ```python
    selection_grid(operator, population, QuadratureSettings(mass_order=16))
    ```
    """

    mass_panel_dex: float = 0.5
    mass_order: int = 8
    age_panel_dex: float = 0.5
    age_order: int = 8
    a_v_panel_mag: float = 0.5
    a_v_order: int = 4
    max_relative_error: float = 1e-3


class SelectionGrid(eqx.Module):
    """p_sel at the fixed nodes of a tensor rule over a population's bounds, as `selection_grid`
    makes it.

    **Arguments:**

    - `mass_rule`, `age_rule`, `a_v_rule`: nodes and weights of each axis.
    - `p_sel`: `(log_mass, log_age, a_v)`, the operator at the nodes.
    - `deviations`: `(k, log_mass, log_age, a_v)`, what k independent standard normal numbers add to
      logit p_sel there per unit, of an operator whose uncertainty counts; see `with_uncertainty`.
    """

    mass_rule: PanelRule
    age_rule: PanelRule
    a_v_rule: PanelRule
    p_sel: Float[np.ndarray, "m t a"]
    deviations: Float[np.ndarray, "k m t a"] | None = None

    @property
    def rules(self) -> Rules:
        return self.mass_rule, self.age_rule, self.a_v_rule

    @property
    def n_directions(self) -> int:
        """How many numbers the operator deviates with; 0 where its uncertainty does not count."""
        return 0 if self.deviations is None else len(self.deviations)

    def shifted(self, z: Float[Array, "k"] | Float[np.ndarray, "k"]) -> "SelectionGrid":
        """The grid with the operator that these numbers make of it: logit p_sel + Σ_k z_k d_k.

        Raises `ValueError` for a grid without deviations.

        ```python
        grid = selection_grid(operator, population)
        ones = np.ones((1, *grid.p_sel.shape))
        moved = SelectionGrid(*grid.rules, p_sel=grid.p_sel, deviations=ones)
        moved.shifted(np.array([0.5])).detected_fraction(population)
        ```
        """
        if self.deviations is None:
            raise ValueError(
                "the grid has no deviations; `with_uncertainty` adds those of an operator"
            )
        moved = jnp.einsum("k,kmta->mta", jnp.asarray(z), jnp.asarray(self.deviations))
        p = shifted_probability(jnp.asarray(self.p_sel), moved)
        return eqx.tree_at(
            lambda g: (g.p_sel, g.deviations), self, (p, None), is_leaf=lambda x: x is None
        )

    def detected_fraction(self, population: Population) -> Float[Array, ""]:
        """∫ p_sel(θ) p(θ) dθ, the share of the population that is catalogued."""
        mass_age = population.mass_age.quadrature(self.mass_rule, self.age_rule)
        a_v = population.extinction.quadrature(self.a_v_rule, self.age_rule.nodes)
        return jnp.einsum("mt,ta,mta->", mass_age, a_v, jnp.asarray(self.p_sel))

    def detected_density(self, population: Population) -> Float[Array, "m t a"]:
        """Expected catalogued clusters carried by each node; sums to the expected count."""
        mass_age = population.mass_age.quadrature(self.mass_rule, self.age_rule)
        a_v = population.extinction.quadrature(self.a_v_rule, self.age_rule.nodes)
        number = jnp.exp(LN10 * jnp.asarray(population.log_n, float))
        return number * jnp.einsum("mt,ta,mta->mta", mass_age, a_v, jnp.asarray(self.p_sel))


def shifted_probability(p: Float[Array, "*n"], moved: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The probability whose logit is that of `p` plus `moved`: 0 and 1 stay what they are.

    ```python
    shifted_probability(jnp.asarray([0.5]), jnp.asarray([1.0]))  # sigmoid(1)
    ```
    """
    odds = jnp.exp(jnp.clip(moved, -_MOST, _MOST))
    return p * odds / (1 - p + p * odds)


def selection_grid(
    selection: AbstractSelection,
    population: Population,
    settings: QuadratureSettings | None = None,
    member: int | None = None,
) -> SelectionGrid:
    """Evaluate an operator once at the quadrature nodes of a population's bounds.

    **Arguments:**

    - `selection`: the operator.
    - `population`: its bounds and the corners of its extinction law count; its parameters, where
      panels are halved.
    - `settings`: panels and orders, and how exact the expected count of `population` must be.
    - `member`: one member of the operator's ensemble; by default the ensemble's mean.

    Raises `SelectionDomainError` when the bounds leave the domain of an operator that refuses to
    extrapolate, `ValueError` for an operator that gives no probabilities, or changes so abruptly
    that the integral stays uncertain.

    ```python
    grid = selection_grid(operator, population)
    grid.p_sel.shape
    ```
    """
    return checked_grid(selection, population, settings, member).grid


@dataclasses.dataclass(frozen=True)
class CheckedGrid:
    """A grid, and what its panels miss of the operator.

    **Arguments:**

    - `grid`: p_sel at the nodes.
    - `panels`: errors of the panels along each axis.
    """

    grid: SelectionGrid
    panels: tuple[PanelErrors, ...]

    @property
    def by_chance(self) -> bool:
        """Whether the error is that of simulated clusters, which another seed would change."""
        return False

    @property
    def remedy(self) -> str:
        """What a user can do about an error that is too large."""
        return (
            "start nearer to the answer, lower quadrature.max_relative_error, or let the "
            "operator's `edges` say where it steps"
        )

    def error(self, population: Population) -> float:
        """Relative error of the expected count of a population inside the grid's bounds."""
        return integral_error(self.panels, self.grid.rules, population)


def checked_grid(
    selection: AbstractSelection,
    population: Population,
    settings: QuadratureSettings | None = None,
    member: int | None = None,
) -> CheckedGrid:
    """As `selection_grid`, with the errors of its panels.

    ```python
    checked = checked_grid(operator, population)
    checked.error(population)  # of the expected count, as a share of it
    ```
    """
    settings = settings or QuadratureSettings()
    box = population.box
    selection.check_covers(box)
    mass_edges, age_edges, a_v_edges = selection.edges()
    rules = (
        panel_rule(*box.log_mass, settings.mass_panel_dex, settings.mass_order, mass_edges),
        panel_rule(*box.log_age, settings.age_panel_dex, settings.age_order, age_edges),
        panel_rule(
            *box.a_v,
            settings.a_v_panel_mag,
            settings.a_v_order,
            (*population.extinction.corners(), *a_v_edges),
        ),
    )
    p_sel = _probabilities(selection, rules, member)
    rules_used, panels = refined(selection, rules, population, settings.max_relative_error, member)
    if rules_used is not rules:
        p_sel = _probabilities(selection, rules_used, member)
    return CheckedGrid(SelectionGrid(*rules_used, p_sel=p_sel), panels)


def _probabilities(
    selection: AbstractSelection, rules: Rules, member: int | None
) -> Float[np.ndarray, "m t a"]:
    members = selection.on_tensor_grid(*(rule.nodes for rule in rules))
    p_sel = np.asarray(members.mean(axis=0) if member is None else members[member])
    if not np.isfinite(p_sel).all() or p_sel.min() < -1e-9 or p_sel.max() > 1 + 1e-9:
        raise ValueError(
            f"{type(selection).__name__} gave p_sel between {np.nanmin(p_sel):g} and "
            f"{np.nanmax(p_sel):g} with {int((~np.isfinite(p_sel)).sum())} non-finite values; "
            "expected probabilities"
        )
    return p_sel


def expected_count(population: Population, grid: SelectionGrid) -> Float[Array, ""]:
    """Expected number of catalogued clusters, ∫ p_sel(θ) λ(θ) dθ.

    **Arguments:**

    - `population`: inside the bounds of which `grid` was made.
    - `grid`: the operator at the nodes, of `selection_grid`.

    ```python
    expected_count(population, selection_grid(operator, population))
    ```
    """
    number = jnp.exp(LN10 * jnp.asarray(population.log_n, float))
    return number * grid.detected_fraction(population)


@dataclasses.dataclass(frozen=True)
class MonteCarloEstimate:
    """A Monte Carlo number with what is needed to judge it.

    **Arguments:**

    - `value`: the estimate.
    - `variance`: its variance.
    - `effective_sample_size`: (Σ p_sel)² / Σ p_sel² of the draws.
    """

    value: float
    variance: float
    effective_sample_size: float


def expected_count_monte_carlo(
    key: PRNGKeyArray,
    population: Population,
    selection: AbstractSelection,
    n_draws: int = 100_000,
    max_relative_error: float = 0.05,
) -> MonteCarloEstimate:
    """Expected number of catalogued clusters from draws of the population.

    **Arguments:**

    - `key`: JAX random key.
    - `population`, `selection`: what is drawn, and what is catalogued of it.
    - `n_draws`: number of draws of θ.
    - `max_relative_error`: largest relative standard error that is accepted.

    The effective sample size is (Σ p_sel)² / Σ p_sel². Raises `ValueError` when the relative
    standard error exceeds `max_relative_error`, `SelectionDomainError` as `selection_grid`.

    ```python
    estimate = expected_count_monte_carlo(jax.random.key(0), population, operator, n_draws=10_000)
    estimate.value, estimate.variance**0.5
    ```
    """
    selection.check_covers(population.box)
    theta = population.sample(key, n_draws)
    p = np.asarray(selection.p_sel(theta[:, 0], theta[:, 1], theta[:, 2]))
    number = 10.0 ** float(population.log_n)
    mean, variance = p.mean(), p.var(ddof=1) / n_draws
    relative = np.inf if mean == 0 else np.sqrt(variance) / mean
    if not relative <= max_relative_error:
        raise ValueError(
            f"{n_draws} draws give a relative standard error of {relative:.2g}, more than the "
            f"{max_relative_error:g} asked for: raise n_draws, or use the fixed quadrature"
        )
    ess = float(p.sum() ** 2 / np.sum(p**2))
    return MonteCarloEstimate(float(number * mean), float(number**2 * variance), ess)


def marginal_densities(
    population: Population, grid: SelectionGrid
) -> dict[str, tuple[Float[np.ndarray, "n"], Float[Array, "n"]]]:
    """dN/dx of the whole population along each axis, at the grid's nodes.

    **Arguments:**

    - `population`: catalogued or not; the grid's probabilities do not count.
    - `grid`: its nodes, of `selection_grid`.

    Returns {axis: (nodes, clusters per dex or mag)}.

    ```python
    grid = selection_grid(operator, population)
    nodes, density = marginal_densities(population, grid)["log_mass"]
    ```
    """
    mass_age = population.mass_age.quadrature(grid.mass_rule, grid.age_rule)
    a_v = population.extinction.quadrature(grid.a_v_rule, grid.age_rule.nodes)
    number = jnp.exp(LN10 * jnp.asarray(population.log_n, float))
    densities = (
        (grid.mass_rule, mass_age.sum(axis=1)),
        (grid.age_rule, mass_age.sum(axis=0)),
        (grid.a_v_rule, mass_age.sum(axis=0) @ a_v),
    )
    return {
        axis: (rule.nodes, number * weights / jnp.asarray(rule.weights))
        for axis, (rule, weights) in zip(AXES, densities, strict=True)
    }
