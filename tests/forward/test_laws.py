"""Every law of mass, age and extinction through the same tests, from one table of cases."""

import dataclasses
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
    AGE_FUNCTIONS,
    EXTINCTIONS,
    MASS_AGE,
    MASS_FUNCTIONS,
    AbstractAgeFunction,
    AbstractExtinction,
    AbstractMassAge,
    AbstractMassFunction,
    Constant,
    Dirichlet,
    DoublePowerLaw,
    Fixed,
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

MASS, AGE, A_V = (2.0, 6.5), (5.5, 10.0), (0.0, 3.0)
NODES = (0.0, 0.3, 1.0, 1.4, 3.0)
SHARES = np.array([0.3, 0.3, 0.1, 0.2, 0.1])

type Law = AbstractMassFunction | AbstractAgeFunction | AbstractMassAge | AbstractExtinction


@dataclasses.dataclass(frozen=True)
class Case:
    """A law at given parameters; extinction also at a given log_age."""

    law: Law
    log_age: float | None = None

    @property
    def name(self) -> str:
        values = [f"{np.asarray(v).ravel()[0]:g}" for v in self._values()]
        age = [] if self.log_age is None else [f"age{self.log_age:g}"]
        return "-".join([type(self.law).__name__, *values, *age])

    def _values(self) -> list[object]:
        names = [p.name for p in self.law.parameters()]
        return [getattr(self.law, n) for n in names if hasattr(self.law, n)]

    @property
    def ranges(self) -> list[tuple[float, float]]:
        names = ("log_mass_range", "log_age_range", "a_v_range")
        return [getattr(self.law, n) for n in names if hasattr(self.law, n)]

    @property
    def n_draws(self) -> int:
        return 8_000 if isinstance(self.law, MassDependentDisruption) else 20_000

    def cuts(self) -> list[list[float]]:
        """Increasing positions on each axis between which the density is smooth."""
        parts: list[object] = [self.law]
        if isinstance(self.law, Separable):
            parts = [self.law.mass, self.law.age]
        inner: list[list[float]] = []
        for part in parts:
            if isinstance(part, AbstractMassFunction | AbstractAgeFunction):
                inner.append([float(b) for b in part.breaks()])
            elif isinstance(part, AbstractExtinction):
                inner.append(list(part.corners()))
            else:
                inner += [[], []]
        return [
            [low, *sorted({b for b in breaks if low < b < high}), high]
            for (low, high), breaks in zip(self.ranges, inner, strict=True)
        ]

    def log_prob(self, law: Law, x: jax.Array) -> jax.Array:
        """ln p at the columns of x, shape (axis, n)."""
        if isinstance(law, AbstractExtinction):
            assert self.log_age is not None
            return law.log_prob(x[0], jnp.full_like(x[0], self.log_age))
        if isinstance(law, AbstractMassAge):
            return law.log_prob(x[0], x[1])
        return law.log_prob(x[0])

    def sample(self, key: jax.Array, n: int) -> np.ndarray:
        """n draws, shape (axis, n)."""
        law = self.law
        if isinstance(law, AbstractExtinction):
            assert self.log_age is not None
            ages = jnp.full(n, self.log_age)
            return np.asarray(jax.jit(lambda key: law.sample(key, ages))(key))[None]
        draws = jax.jit(lambda key: law.sample(key, (n,)))(key)
        return np.stack(draws) if isinstance(draws, tuple) else np.asarray(draws)[None]

    def density(self) -> Callable[[np.ndarray], np.ndarray]:
        """p at the columns of x, compiled."""
        compiled = jax.jit(lambda x: jnp.exp(self.log_prob(self.law, x)))
        return lambda x: np.asarray(compiled(x))

    def points(self, n: int, seed: int = 0) -> np.ndarray:
        """Points of the inner 98% of the ranges, shape (axis, n)."""
        rng = np.random.default_rng(seed)
        low, high = np.transpose(self.ranges)
        u = rng.uniform(0.01, 0.99, (len(low), n))
        return low[:, None] + u * (high - low)[:, None]


CASES = [
    *(Case(PowerLaw(MASS, a)) for a in (-3.5, -2.0, -1.0)),
    *(Case(Schechter(MASS, a, b)) for a, b in ((-2.0, 5.5), (-1.0, 4.0), (-3.0, 7.4), (-0.4, 3.4))),
    Case(DoublePowerLaw(MASS, -2.0, 5.0, -3.0)),
    Case(DoublePowerLaw(MASS, -1.0, 4.1, -2.5)),
    Case(DoublePowerLaw(MASS, -1.7, 7.0, -2.5)),
    Case(Constant(AGE)),
    *(Case(PowerLawAge(AGE, a)) for a in (-2.0, -1.0, -0.5)),
    *(
        Case(MassIndependentDisruption(AGE, b, a))
        for b, a in ((7.5, -1.0), (6.1, -2.2), (9.9, 0.3))
    ),
    Case(PiecewiseLinearAge((5.5, 6.4, 7.0, 8.2, 10.0), SHARES)),
    Case(PiecewiseLinearAge((6.0, 9.0))),
    Case(Separable(Schechter(MASS, -2.0, 5.0), MassIndependentDisruption(AGE, 7.6, -0.9))),
    Case(MassDependentDisruption(MASS, AGE)),
    Case(MassDependentDisruption(MASS, AGE, -1.6, 4.5, 1.1, 6.5)),
    Case(MassDependentDisruption(MASS, AGE, -2.2, 5.0, 0.12, 8.5)),
    Case(NodesExtinction(NODES), 7.0),
    Case(NodesExtinction(NODES, SHARES), 8.0),
    *(Case(NodesExtinction(NODES, SHARES, -0.7, age_dependent=True), t) for t in (6.0, 9.0)),
    *(Case(HalfNormal(A_V, s), 7.0) for s in (0.05, 0.5, 2.9)),
    Case(HalfNormal((0.2, 3.0), 0.1), 7.0),
    Case(HalfNormal(A_V, 0.6, -0.2, age_dependent=True), 9.0),
    *(Case(LogNormal(A_V, m, s), 7.0) for m, s in ((-0.5, 0.3), (0.4, 0.9), (-1.2, 0.08))),
    Case(LogNormal((0.1, 3.0), -0.9, 0.3), 7.0),
    Case(LogNormal(A_V, -0.3, 0.4, -0.3, age_dependent=True), 9.0),
]
REGISTRIES = (MASS_FUNCTIONS, AGE_FUNCTIONS, MASS_AGE, EXTINCTIONS)
ONE_OF_EACH = {(type(c.law), getattr(c.law, "age_dependent", None)): c for c in CASES}.values()
every_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
one_of_each_law = pytest.mark.parametrize("case", ONE_OF_EACH, ids=lambda c: c.name)
every_case_in_time = pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            c, id=c.name, marks=() if any(c is e for e in ONE_OF_EACH) else pytest.mark.slow
        )
        for c in CASES
    ],
)

# The chance that any goodness-of-fit comparison in this module fails although all laws are right.
FAMILY_WISE_ALARM = 1e-3
P_MIN = FAMILY_WISE_ALARM / len(CASES)


def goodness_of_fit(case: Case, draws: np.ndarray) -> float:
    """P-value of the draws under the case's log_prob: KS on one axis, chi-squared on two."""
    density = case.density()
    if len(draws) == 1:
        cdf = _cdf(density, case.cuts()[0])
        return float(scipy.stats.kstest(draws[0], cdf).pvalue)
    edges = [np.linspace(low, high, 17) for low, high in case.ranges]
    observed, _, _ = np.histogram2d(*draws, bins=edges)
    expected = draws.shape[1] * _bin_masses(density, edges)
    many = expected > 10
    observed = np.append(observed[many], observed[~many].sum())
    expected = np.append(expected[many], expected[~many].sum())
    return float(scipy.stats.chisquare(observed, expected, sum_check=False).pvalue)


def _cdf(
    density: Callable[[np.ndarray], np.ndarray], cuts: list[float]
) -> Callable[[np.ndarray], np.ndarray]:
    fine = [np.linspace(a, b, 2001)[:-1] for a, b in itertools.pairwise(cuts)]
    edges = np.append(np.concatenate(fine), cuts[-1])
    x, w = np.polynomial.legendre.leggauss(5)
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    nodes = middle[:, None] + half[:, None] * x
    masses = (density(nodes.reshape(1, -1)).reshape(nodes.shape) * w * half[:, None]).sum(axis=1)
    steps = np.append(0.0, np.cumsum(masses))
    return lambda at: np.interp(at, edges, steps)


def _bin_masses(density: Callable[[np.ndarray], np.ndarray], edges: list[np.ndarray]) -> np.ndarray:
    x, w = np.polynomial.legendre.leggauss(16)
    nodes, weights = [], []
    for e in edges:
        half = np.diff(e)[:, None] / 2
        nodes.append(((e[1:] + e[:-1])[:, None] / 2 + half * x).ravel())
        weights.append((half * w).ravel())
    mesh = np.stack([m.ravel() for m in np.meshgrid(*nodes, indexing="ij")])
    mass = density(mesh) * np.outer(*weights).ravel()
    return mass.reshape(len(edges[0]) - 1, 16, len(edges[1]) - 1, 16).sum(axis=(1, 3))


@every_case
def test_normalised_inside_the_bounds_and_zero_outside(case: Case):
    density = case.density()
    cuts = case.cuts()
    if len(cuts) == 1:
        total = sum(
            scipy.integrate.quad(
                lambda x: float(density(np.array([[x]]))[0]), a, b, epsabs=1e-11, limit=300
            )[0]
            for a, b in itertools.pairwise(cuts[0])
        )
    else:
        total = sum(
            scipy.integrate.cubature(
                lambda x: density(x.T), [a0, b0], [a1, b1], rtol=1e-10
            ).estimate
            for a0, a1 in itertools.pairwise(cuts[0])
            for b0, b1 in itertools.pairwise(cuts[1])
        )
    assert total == pytest.approx(1.0, abs=1e-9)
    points = [case.points(1)]
    for axis, (low, high) in enumerate(case.ranges):
        for x in (low - 1e-6, low - 50.0, high + 1e-6, high + 50.0):
            points.append(points[0].copy())
            points[-1][axis] = x
    density_there = np.concatenate([density(p) for p in points])
    assert density_there[0] >= 0 and (density_there[1:] == 0).all()


@every_case_in_time
def test_samples_follow_the_density(case: Case):
    draws = case.sample(jax.random.key(20), case.n_draws)
    for x, (low, high) in zip(draws, case.ranges, strict=True):
        assert (x >= low).all() and (x <= high).all()
    assert goodness_of_fit(case, draws) > P_MIN


@pytest.mark.parametrize(
    ("truth", "wrong"),
    [
        (Case(PowerLaw(MASS, -2.0)), Case(PowerLaw(MASS, -2.06))),
        (Case(Schechter(MASS, -1.5, 4.0)), Case(Schechter(MASS, -1.5, 4.15))),
        (Case(PowerLawAge(AGE, -1.0)), Case(PowerLawAge(AGE, -0.96))),
        pytest.param(
            Case(MassDependentDisruption(MASS, AGE)),
            Case(MassDependentDisruption(MASS, AGE, log_t_mdd=7.8)),
            marks=pytest.mark.slow,
        ),
        (Case(HalfNormal(A_V, 0.5), 7.0), Case(HalfNormal(A_V, 0.53), 7.0)),
        (
            Case(LogNormal(A_V, -0.3, 0.4, -0.3, age_dependent=True), 9.0),
            Case(LogNormal(A_V, -0.3, 0.4, -0.33, age_dependent=True), 9.0),
        ),
    ],
    ids=lambda c: c.name,
)
def test_goodness_of_fit_notices_a_wrong_parameter(truth: Case, wrong: Case):
    assert goodness_of_fit(wrong, truth.sample(jax.random.key(21), truth.n_draws)) < P_MIN


@every_case_in_time
def test_gradients_against_finite_differences(case: Case):
    x = jnp.asarray(case.points(7, seed=1))
    values = case.law.values()

    @jax.jit
    def f(values: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        logs = case.log_prob(case.law.with_values(values), x)
        return jnp.where(logs > -200, logs, 0.0).sum()

    gradient, gradient_x = jax.jit(jax.grad(f, argnums=(0, 1)))(values, x)
    h = 1e-5

    def slope(change: Callable[[float], tuple[dict[str, jax.Array], jax.Array]]) -> float:
        # Fourth order, so that steep laws do not ask for a smaller step.
        near, far = (float(f(*change(s * h)) - f(*change(-s * h))) for s in (1, 2))
        return (8 * near - far) / (12 * h)

    for name, value in values.items():
        for index in np.ndindex(value.shape):
            numeric = slope(lambda d, n=name, v=value, i=index: ({**values, n: v.at[i].add(d)}, x))
            assert gradient[name][index] == pytest.approx(numeric, rel=2e-6, abs=2e-6), name
    for index in np.ndindex(x.shape):
        numeric = slope(lambda d, i=index: (values, x.at[i].add(d)))
        assert gradient_x[index] == pytest.approx(numeric, rel=2e-6, abs=2e-6)


@pytest.mark.parametrize(
    "case",
    [
        Case(MassIndependentDisruption(AGE, 5.0, -1.0)),
        Case(MassIndependentDisruption(AGE, 11.0, -1.0)),
        Case(DoublePowerLaw(MASS, -2.0, 6.5, -3.0)),
        Case(DoublePowerLaw(MASS, -2.0, 7.5, -3.0)),
        Case(PowerLaw(MASS, -1.0)),
        Case(PowerLawAge(AGE, -1.0)),
    ],
    ids=lambda c: c.name,
)
def test_gradients_are_finite_where_a_piece_is_empty_or_flat(case: Case):
    x = jnp.asarray(case.points(5))
    gradient = jax.grad(lambda v: case.log_prob(case.law.with_values(v), x).sum())(
        case.law.values()
    )
    assert all(np.isfinite(g).all() for g in gradient.values())


@one_of_each_law
def test_compiled_equals_eager_and_vmap_equals_a_loop(case: Case):
    x = jnp.asarray(case.points(9, seed=2))

    def f(values: dict[str, jax.Array]) -> jax.Array:
        return case.log_prob(case.law.with_values(values), x)

    values = case.law.values()
    compiled = jax.jit(f)
    np.testing.assert_allclose(compiled(values), f(values), rtol=1e-12, atol=1e-11)
    if values:
        stacked = {k: jnp.stack([v, v * 1.01, v * 0.97]) for k, v in values.items()}
        loop = [compiled({k: v[i] for k, v in stacked.items()}) for i in range(3)]
        at_once = jax.jit(jax.vmap(f))(stacked)
        np.testing.assert_allclose(at_once, jnp.stack(loop), rtol=1e-12, atol=1e-11)


@pytest.mark.slow
@one_of_each_law
def test_single_precision_at_every_point(case: Case):
    x = case.points(50)
    exact = jax.jit(lambda x: case.log_prob(case.law, x))(jnp.asarray(x))
    with jax.enable_x64(False):
        x32 = jnp.asarray(x)

        @jax.jit
        @jax.grad
        def gradients(values: dict[str, jax.Array]) -> jax.Array:
            return case.log_prob(case.law.with_values(values), x32).sum()

        logs = jax.jit(lambda x: case.log_prob(case.law, x))(x32)
        draws = case.sample(jax.random.key(22), 200)
        gradient = gradients({k: jnp.asarray(np.asarray(v)) for k, v in case.law.values().items()})
    assert logs.dtype == jnp.float32 and draws.dtype == np.float32
    assert np.isfinite(draws).all()
    np.testing.assert_allclose(logs, exact, rtol=2e-5, atol=2e-4)
    assert all(np.isfinite(np.asarray(g)).all() for g in gradient.values())


def test_single_precision():
    with jax.enable_x64(False):
        for case in (CASES[0], Case(Schechter(MASS)), Case(HalfNormal(A_V, 0.3), 7.0)):
            logs = jax.jit(lambda x, c=case: c.log_prob(c.law, x))(jnp.asarray(case.points(50)))
            draws = case.sample(jax.random.key(22), 200)
            assert logs.dtype == jnp.float32 and draws.dtype == np.float32
            assert np.isfinite(np.asarray(logs)).all() and np.isfinite(draws).all()


def test_with_values_returns_a_changed_copy():
    for law in (case.law for case in CASES):
        before = {k: np.array(v) for k, v in law.values().items()}
        changed = law.with_values({k: v + 0.125 for k, v in law.values().items()})
        assert type(changed) is type(law)
        for k, v in before.items():
            np.testing.assert_array_equal(changed.values()[k], v + 0.125)
            np.testing.assert_array_equal(law.values()[k], v)
        others = law.with_values({"log_n": 1.0, "not_a_parameter": 2.0})
        assert eqx.tree_equal(others, law)


def test_parameters_are_documented_and_their_priors_hold_the_value():
    for law in (case.law for case in CASES):
        values = law.values()
        assert list(values) == [p.name for p in law.parameters()]
        for p in law.parameters():
            assert p.unit.strip() and len(p.reason) > 10 and p.label.startswith("$")
            value = np.asarray(values[p.name])
            assert value.shape == ((p.size,) if p.size else ())
            assert not isinstance(p.prior, Fixed)
            if isinstance(p.prior, Dirichlet):
                assert p.size and math.isclose(value.sum(), 1.0) and (value >= 0).all()
            else:
                assert p.prior.low <= value <= p.prior.high


def test_parameters_are_fields_and_defaults_lie_inside_their_priors():
    laws: list[Law] = [
        PowerLaw(MASS),
        Schechter(MASS),
        DoublePowerLaw(MASS),
        Constant(AGE),
        PowerLawAge(AGE),
        MassIndependentDisruption(AGE),
        PiecewiseLinearAge((6.0, 7.0, 8.0)),
        MassDependentDisruption(MASS, AGE),
        NodesExtinction(NODES, age_dependent=True),
        HalfNormal(A_V, age_dependent=True),
        LogNormal(A_V, age_dependent=True),
    ]
    for law in laws:
        fields = {f.name for f in dataclasses.fields(law)}
        for p in law.parameters():
            assert p.name in fields
            if not isinstance(p.prior, Dirichlet | Fixed):
                assert p.prior.low <= getattr(law, p.name) <= p.prior.high


def test_malformed_nodes_are_refused():
    with pytest.raises(ValueError, match="at least two and increase"):
        PiecewiseLinearAge((6.0,))
    with pytest.raises(ValueError, match=r"increase, got \(6\.0, 6\.0\)"):
        PiecewiseLinearAge((6.0, 6.0))
    with pytest.raises(ValueError, match="non-negative and increase"):
        NodesExtinction((-0.1, 1.0))


def test_every_registered_law_is_in_the_table_of_cases():
    registered = {law for registry in REGISTRIES for law in registry.values()}
    # A test may have registered a law of its own.
    ours = {law for law in registered if law.__module__.startswith("starcensus.")}
    assert ours == {type(case.law) for case in CASES} - {Separable}
