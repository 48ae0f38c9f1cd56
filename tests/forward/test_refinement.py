"""Steps of operators wherever they lie against closed forms, and the error that is stated."""

import jax.numpy as jnp
import numpy as np
import pytest

from starcensus.forward import (
    HalfNormal,
    Population,
    PowerLaw,
    PowerLawAge,
    QuadratureSettings,
    Separable,
    checked_grid,
    expected_count,
    selection_grid,
)
from starcensus.selection import AbstractSelection, ActsOn, Box, Outside, complete

BOX = Box((3.0, 6.0), (6.0, 9.5), (0.0, 2.0))


def population(alpha: float = -2.0) -> Population:
    mass_age = Separable(PowerLaw(BOX.log_mass, alpha), PowerLawAge(BOX.log_age, -1.0))
    return Population(mass_age, HalfNormal(BOX.a_v), 3.0)


def above(log_mass: float, alpha: float = -2.0) -> float:
    """Share of a power law above a mass, in closed form."""
    low, high = (10 ** (x * (alpha + 1)) for x in BOX.log_mass)
    return (10 ** (log_mass * (alpha + 1)) - high) / (low - high)


class Hard(AbstractSelection):
    """Steps that it does not declare."""

    mass: float
    age: float
    domain: Box = BOX
    outside: Outside = "refuse"
    acts_on: ActsOn = "data"

    @property
    def n_members(self) -> int:
        return 1

    def _members_inside(self, log_mass, log_age, a_v):
        return jnp.where((log_mass > self.mass) & (log_age < self.age), 1.0, 0.0)[None]


class Diagonal(Hard):
    def _members_inside(self, log_mass, log_age, a_v):
        return jnp.where(log_mass > self.mass + 0.7 * (log_age - 6), 1.0, 0.0)[None]


@pytest.mark.parametrize("mass", [3.31, 3.61, 3.699, 3.73])
def test_a_step_inside_a_panel(mass: float):
    """Without halving, counts are off by up to 19%, and slopes by 3σ at a thousand clusters."""
    operator = Hard(mass, 8.3)
    checked = checked_grid(operator, population())
    share = (8.3 - 6.0) / 3.5
    for alpha in (-2.0, -1.6, -2.4):
        fitted = population(alpha)
        truth = 1000 * above(mass, alpha) * share
        found = float(expected_count(fitted, checked.grid))
        assert found == pytest.approx(truth, rel=4e-3)
        assert abs(found / truth - 1) < 4 * checked.error(fitted) + 1e-6
    assert checked.error(population()) <= 1e-3


def test_a_declared_step_costs_one_panel():
    class Declared(Hard):
        def edges(self):
            return (self.mass,), (self.age,), ()

    grid = selection_grid(Declared(3.699, 8.3), population())
    assert float(expected_count(population(), grid)) == pytest.approx(
        1000 * above(3.699) * 2.3 / 3.5, rel=1e-9
    )
    undeclared = selection_grid(Hard(3.699, 8.3), population())
    assert grid.p_sel.size < undeclared.p_sel.size / 2
    inside = complete(Box((3.699, 6.0), BOX.log_age, BOX.a_v))
    assert float(selection_grid(inside, population()).detected_fraction(population())) == (
        pytest.approx(above(3.699), rel=1e-9)
    )


def test_what_cannot_be_integrated_is_refused():
    settings = QuadratureSettings(max_relative_error=1e-6)
    with pytest.raises(ValueError, match=r"changes too abruptly.*1e-06 is asked for"):
        selection_grid(Diagonal(3.2, 0.0), population(), settings)


def test_the_error_without_refinement_is_stated():
    """A tolerance of 100% leaves the panels as they are: the error that is stated is the real."""
    loose = QuadratureSettings(max_relative_error=1.0)
    for mass in (3.2, 3.4, 3.61, 3.699):
        checked = checked_grid(Hard(mass, 9.0), population(), loose)
        truth = 1000 * above(mass) * 3.0 / 3.5
        off = abs(float(expected_count(population(), checked.grid)) / truth - 1)
        assert off > 1e-3 and 0.3 * off < checked.error(population()) < 30 * off


def test_smooth_operators_keep_the_default_panels():
    class Smooth(Hard):
        def _members_inside(self, log_mass, log_age, a_v):
            z = (log_mass - self.mass - 0.3 * (log_age - 7)) / 0.08
            return (1 / (1 + jnp.exp(-z)))[None]

    checked = checked_grid(Smooth(3.9, 0.0), population())
    assert checked.grid.p_sel.shape == (48, 56, 16)
    assert checked.error(population()) < 1e-3
    np.testing.assert_array_equal(np.diff(checked.grid.mass_rule.edges), 0.5)
