"""The fixed quadrature against scipy's adaptive one, wherever a kink or a narrow peak lies."""

import itertools
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from starcensus.forward import (
    AbstractAgeFunction,
    AbstractMassFunction,
    Constant,
    DoublePowerLaw,
    HalfNormal,
    LogNormal,
    MassDependentDisruption,
    MassIndependentDisruption,
    NodesExtinction,
    PiecewiseLinearAge,
    PowerLaw,
    PowerLawAge,
    Schechter,
    Separable,
)
from starcensus.forward._quadrature import PanelRule, panel_rule

MASS, AGE, A_V = (2.5, 6.5), (6.0, 10.0), (0.0, 3.0)
MASS_RULE, AGE_RULE, A_V_RULE = (
    panel_rule(*MASS, 0.25, 6),
    panel_rule(*AGE, 0.25, 6),
    panel_rule(*A_V, 0.5, 6),
)


def logistic(x: float, centre: float, width: float) -> float:
    return 1 / (1 + math.exp((centre - x) / width))


def power_mean(
    slopes: tuple[float, float], at: float, limits: tuple[float, float], f: Callable[[float], float]
) -> float:
    """Mean of f under the continuous broken density with these slopes of ln p / ln 10."""
    low, high = limits
    pieces = [(a, b) for a, b in ((low, min(max(at, low), high)), (max(min(at, high), low), high))]

    def total(g: Callable[[float], float]) -> float:
        value = 0.0
        for (a, b), slope in zip(pieces, slopes, strict=True):
            if b > a:
                h = lambda x, s=slope: g(x) * 10 ** (s * (x - at))  # noqa: E731
                value += scipy.integrate.quad(h, a, b, epsabs=0, epsrel=1e-12, limit=200)[0]
        return value

    return total(f) / total(lambda x: 1.0)


@pytest.mark.parametrize(
    ("law", "slopes"),
    [
        (PowerLaw(MASS, -2.0), (-1.0, -1.0)),
        (PowerLaw(MASS, -1.0), (0.0, 0.0)),
        (PowerLaw(MASS, -3.0), (-2.0, -2.0)),
        (Constant(AGE), (1.0, 1.0)),
        (PowerLawAge(AGE, -1.0), (0.0, 0.0)),
        (PowerLawAge(AGE, -0.4), (0.6, 0.6)),
    ],
)
def test_power_laws(law: AbstractMassFunction | AbstractAgeFunction, slopes: tuple[float, float]):
    mass = isinstance(law, AbstractMassFunction)
    rule, limits, centre = (MASS_RULE, MASS, 4.1) if mass else (AGE_RULE, AGE, 7.6)
    truth = power_mean(slopes, 5.0, limits, lambda x: logistic(x, centre, 0.1))
    f = 1 / (1 + np.exp((centre - rule.nodes) / 0.1))
    assert float(law.quadrature(rule) @ f) == pytest.approx(truth, rel=1e-7)
    assert float(law.quadrature(rule).sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("rule", "limits", "slopes", "make"),
    [
        (
            AGE_RULE,
            AGE,
            (1.0, -0.3),
            lambda b: MassIndependentDisruption(AGE, b, -1.3),
        ),
        (MASS_RULE, MASS, (-0.6, -2.0), lambda b: DoublePowerLaw(MASS, -1.6, b, -3.0)),
    ],
    ids=["log_t_mid", "log_m_break"],
)
def test_the_error_stays_small_wherever_the_break_lies(
    rule: PanelRule,
    limits: tuple[float, float],
    slopes: tuple[float, float],
    make: Callable[[jax.Array], AbstractMassFunction | AbstractAgeFunction],
):
    # The errors of wider and narrower transitions go as width^-6.
    centre, width = sum(limits) / 2, 0.25
    f = jnp.asarray(1 / (1 + np.exp((centre - rule.nodes) / width)))

    def mean(b: jax.Array) -> jax.Array:
        return make(b).quadrature(rule) @ f

    breaks = np.linspace(limits[0] - 0.1, limits[1] + 0.1, 337)
    values = jax.jit(jax.vmap(mean))(jnp.asarray(breaks))
    truth = [
        power_mean(slopes, float(b), limits, lambda x: logistic(x, centre, width)) for b in breaks
    ]
    np.testing.assert_allclose(values, truth, rtol=1e-7)

    gradient = jax.jit(jax.vmap(jax.grad(mean)))
    edges = jnp.asarray(rule.edges[1:-1])
    np.testing.assert_allclose(gradient(edges - 1e-9), gradient(edges + 1e-9), atol=1e-7)
    fine = jnp.linspace(limits[0] + 1e-3, limits[1] - 1e-3, 4001)
    slope = np.asarray(gradient(fine))
    steps = np.abs(np.diff(slope))
    assert steps.max() < 8 * (fine[1] - fine[0]) * np.ptp(slope)
    numeric = (mean(jnp.asarray(centre + 0.013)) - mean(jnp.asarray(centre + 0.011))) / 0.002
    assert gradient(jnp.asarray([centre + 0.012]))[0] == pytest.approx(float(numeric), rel=1e-5)


@pytest.mark.parametrize("shift", (0.0, 0.03, 0.11, 0.24))
def test_free_age_nodes_may_lie_anywhere(shift: float):
    nodes = (6.0, 6.5 + shift, 7.3 + shift, 8.6 + shift, 10.0)
    shares = np.array([0.1, 0.4, 0.1, 0.25, 0.15])
    gaps = np.diff(nodes)
    heights = shares / ((np.append(0, gaps) + np.append(gaps, 0)) / 2)
    truth = sum(
        scipy.integrate.quad(
            lambda x: np.interp(x, nodes, heights) * logistic(x, 7.8, 0.25), a, b, epsrel=1e-12
        )[0]
        for a, b in itertools.pairwise(nodes)
    )
    weights = PiecewiseLinearAge(nodes, shares).quadrature(AGE_RULE)
    f = 1 / (1 + np.exp((7.8 - AGE_RULE.nodes) / 0.25))
    assert float(weights @ f) == pytest.approx(truth, rel=1e-7)


@pytest.mark.parametrize(("alpha", "top"), [(-2.0, 5.0), (-1.0, 3.9), (-3.2, 7.4), (0.0, 3.7)])
def test_schechter(alpha: float, top: float):
    def kernel(x: float) -> float:
        return 10 ** ((alpha + 1) * (x - 4)) * math.exp(-(10 ** (x - top)))

    norm, above = (
        scipy.integrate.quad(f, *MASS, epsabs=0, epsrel=1e-12, limit=400)[0]
        for f in (kernel, lambda x: kernel(x) * logistic(x, 4.1, 0.1))
    )
    f = 1 / (1 + np.exp((4.1 - MASS_RULE.nodes) / 0.1))
    weights = Schechter(MASS, alpha, top).quadrature(MASS_RULE)
    assert float(weights @ f) == pytest.approx(above / norm, rel=1e-7)


@pytest.mark.parametrize(
    ("gamma", "log_t", "tolerance"),
    [(0.65, 7.5, 1e-9), (1.2, 5.0, 1e-9), (0.3, 6.0, 1e-9), (0.1, 7.5, 1e-8), (0.15, 6.0, 1e-8)],
)
def test_mass_dependent_disruption(gamma: float, log_t: float, tolerance: float):
    law = MassDependentDisruption(MASS, AGE, -2.0, 5.0, gamma, log_t)
    fine_mass, fine_age = panel_rule(*MASS, 0.04, 10), panel_rule(*AGE, 0.04, 10)

    def detected(mass_rule: PanelRule, age_rule: PanelRule) -> float:
        x, y = mass_rule.nodes[:, None], age_rule.nodes[None, :]
        f = 1 / (1 + np.exp((3.9 + 0.3 * (y - 7) - x) / 0.15))
        return float((law.quadrature(mass_rule, age_rule) * f).sum())

    assert detected(MASS_RULE, AGE_RULE) == pytest.approx(
        detected(fine_mass, fine_age), rel=tolerance
    )


def test_separable_is_the_outer_product():
    mass, age = Schechter(MASS), MassIndependentDisruption(AGE, 7.77)
    weights = Separable(mass, age).quadrature(MASS_RULE, AGE_RULE)
    outer = np.outer(mass.quadrature(MASS_RULE), age.quadrature(AGE_RULE))
    np.testing.assert_allclose(weights, outer, rtol=1e-14)


AGES = np.array([6.0, 7.0, 9.3])


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.2, 0.7, 2.9])
@pytest.mark.parametrize("slope", [None, -0.15])
def test_half_normal_however_narrow(sigma: float, slope: float | None):
    law = HalfNormal(A_V, sigma, slope or 0.0, age_dependent=slope is not None)
    weights = law.quadrature(A_V_RULE, AGES)
    scales = sigma * 10 ** ((slope or 0.0) * (AGES - 7))
    for w, scale in zip(weights, scales, strict=True):
        truth = _mean(
            lambda x, s=scale: 2 * scipy.stats.norm.pdf(x / s) / s,
            np.array([0, *scale * np.arange(1, 13), 3.0]),
        )
        assert float(w @ _visible(A_V_RULE.nodes)) == pytest.approx(truth, abs=1e-7)
        assert float(w.sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("median", "sigma"), [(-2.0, 0.05), (-1.0, 0.3), (-0.5, 1.0), (0.4, 0.1)])
@pytest.mark.parametrize("slope", [None, 0.1])
def test_log_normal_however_narrow(median: float, sigma: float, slope: float | None):
    law = LogNormal(A_V, median, sigma, slope or 0.0, age_dependent=slope is not None)
    weights = law.quadrature(A_V_RULE, AGES)
    medians = median + (slope or 0.0) * (AGES - 7)
    for w, m in zip(weights, medians, strict=True):
        truth = _mean(
            lambda x, m=m: scipy.stats.norm.pdf((np.log10(x) - m) / sigma) / x,
            10 ** (m + sigma * np.arange(-9.0, 10.0)),
        )
        assert float(w @ _visible(A_V_RULE.nodes)) == pytest.approx(truth, abs=1e-7)
        assert float(w.sum()) == pytest.approx(1, abs=1e-12)


def _visible(a_v: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp((a_v - 1.2) / 0.5))


def _mean(density: Callable[[np.ndarray], np.ndarray], cuts: np.ndarray) -> float:
    """Mean of `_visible` under an unnormalised density between the cuts, up to a_v = 3."""
    edges = np.unique(np.clip(cuts, 0, 3))
    x, w = np.polynomial.legendre.leggauss(60)
    nodes = (edges[1:] + edges[:-1])[:, None] / 2 + np.diff(edges)[:, None] / 2 * x
    mass = density(nodes) * w * np.diff(edges)[:, None]
    return float((mass * _visible(nodes)).sum() / mass.sum())


def test_extinction_nodes_are_integrated_exactly():
    nodes = (0.0, 0.3, 1.0, 1.4, 3.0)
    law = NodesExtinction(nodes, np.array([0.3, 0.3, 0.1, 0.2, 0.1]), -0.6, age_dependent=True)
    rule = panel_rule(*A_V, 0.5, 6, law.corners())
    fine = panel_rule(*A_V, 0.02, 8, law.corners())
    coarse = law.quadrature(rule, AGES) @ _visible(rule.nodes)
    np.testing.assert_allclose(coarse, law.quadrature(fine, AGES) @ _visible(fine.nodes), rtol=1e-9)


@pytest.mark.parametrize("law", [HalfNormal(A_V, 0.1), LogNormal(A_V, -1.0, 0.3)])
def test_gradients_of_extinction_weights(law: HalfNormal | LogNormal):
    def mean(values: dict[str, jax.Array]) -> jax.Array:
        return law.with_values(values).quadrature(A_V_RULE, AGES)[0] @ _visible(A_V_RULE.nodes)

    values = law.values()
    gradient = jax.grad(mean)(values)
    for name in values:
        up, down = (mean({**values, name: values[name] + d}) for d in (1e-5, -1e-5))
        assert gradient[name] == pytest.approx(float(up - down) / 2e-5, rel=1e-6)


def test_single_precision_weights_sum_to_one():
    with jax.enable_x64(False):
        for law in (HalfNormal(A_V, 0.03), LogNormal(A_V, -1.5, 0.2), NodesExtinction((0.0, 3.0))):
            weights = eqx.filter_jit(lambda p: p.quadrature(A_V_RULE, jnp.asarray(AGES)))(law)
            assert weights.dtype == jnp.float32
            np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
        for part in (DoublePowerLaw(MASS), Schechter(MASS)):
            np.testing.assert_allclose(part.quadrature(MASS_RULE).sum(), 1, atol=1e-5)


def test_rules_pass_through_given_points_and_refuse_nonsense():
    rule = panel_rule(0.0, 1.0, 0.3, 4, through=(0.11, 2.0))
    assert 0.11 in rule.edges and np.diff(rule.edges).max() <= 0.3 and rule.edges[-1] == 1.0
    assert rule.weights.sum() == pytest.approx(1.0, abs=1e-14)
    with pytest.raises(ValueError, match="panel edges must increase"):
        PanelRule(edges=np.array([0.0, 0.0]), order=3)
    with pytest.raises(ValueError, match="order = 1"):
        PanelRule(edges=np.array([0.0, 1.0]), order=1)
