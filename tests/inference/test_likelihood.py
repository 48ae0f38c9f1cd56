"""The likelihood against SciPy: densities and integrals written again, independently."""

import dataclasses
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from starcensus.forward import (
    HalfNormal,
    MassIndependentDisruption,
    NodesExtinction,
    Population,
    PowerLaw,
    PowerLawAge,
    QuadratureSettings,
    Schechter,
    SelectionGrid,
    Separable,
    selection_grid,
)
from starcensus.inference import (
    ErrorSettings,
    ObjectSamples,
    effective_sample_sizes,
    log_likelihood,
    log_object_terms,
    object_samples,
)
from starcensus.inference import likelihood as module
from starcensus.inference.objects import padded_size
from starcensus.selection import Box, MagnitudeLimit, complete, with_acts_on
from starcensus.selection.catalogue import Catalogue

MASS, AGE, A_V = (3.0, 6.0), (6.0, 9.0), (0.0, 2.0)
BEST = np.array(
    [[3.2, 6.4, 0.1], [3.9, 7.9, 0.7], [4.6, 7.1, 0.3], [5.2, 8.6, 1.1], [3.4, 6.9, 0.02]]
)
LOWER = np.array([[0.1, 0.2, 0.1]] * 5) * np.linspace(1.0, 1.8, 5)[:, None]
UPPER = np.array([[0.15, 0.15, 0.2]] * 5) * np.linspace(1.2, 0.9, 5)[:, None]
VALUES = {
    "alpha_m": -1.8,
    "log_m_break": 4.9,
    "log_t_mid": 7.6,
    "alpha_t": -0.7,
    "sigma_av": 0.6,
    "log_n": 1.7,
}
OTHERS = (
    VALUES,
    VALUES | {"alpha_m": -2.4, "log_m_break": 5.8, "log_t_mid": 6.6},
    VALUES | {"alpha_t": -1.3, "sigma_av": 0.2, "log_n": 0.4},
)
# Absolute magnitude of 1 M_sun: a straight line in log age, so that SciPy can have it too.
LIMIT, WIDTH, RATIO, MODULUS = 24.0, 0.5, 1.1, 28.0
AT_5, AT_10 = 2.0, 8.0


def population() -> Population:
    return Population(
        Separable(Schechter(MASS), MassIndependentDisruption(AGE)), HalfNormal(A_V)
    ).with_values({k: np.asarray(v) for k, v in VALUES.items()})


def catalogue(n: int = 5) -> Catalogue:
    rows = np.arange(n) % 5
    shift = 0.05 * (np.arange(n) // 5)[:, None]
    return Catalogue(
        "five clusters",
        np.arange(n).astype(str),
        BEST[rows] + shift,
        BEST[rows] + shift - LOWER[rows],
        BEST[rows] + shift + UPPER[rows],
    )


def survey(acts_on: str = "data") -> MagnitudeLimit:
    operator = MagnitudeLimit(
        [5.0, 10.0],
        [AT_5, AT_10],
        limit_mag=LIMIT,
        width_mag=WIDTH,
        distance_modulus=MODULUS,
        extinction_ratio=RATIO,
        domain=Box((0.0, 9.0), (5.0, 10.0), (0.0, 10.0)),
    )
    return with_acts_on(operator, "truth" if acts_on == "truth" else "data")


def p_sel(log_mass: np.ndarray, log_age: np.ndarray, a_v: np.ndarray) -> np.ndarray:
    absolute = AT_5 + (AT_10 - AT_5) * (log_age - 5.0) / 5.0
    magnitude = absolute - 2.5 * log_mass + MODULUS + RATIO * a_v
    return scipy.special.expit((LIMIT - magnitude) / WIDTH)


def points(objects: ObjectSamples) -> np.ndarray:
    """θ of every sample, shape (n, s, 3)."""
    return np.moveaxis(np.asarray(objects.theta), 0, -1)


def fine_grid(operator: MagnitudeLimit) -> SelectionGrid:
    settings = QuadratureSettings(0.25, 12, 0.25, 12, 0.25, 8)
    return selection_grid(operator, population(), settings)


def densities(values: dict[str, float]) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Normalised p(log_mass), p(log_age), p(a_v) from textbook formulas."""

    def mass(x: np.ndarray) -> np.ndarray:
        m = 10.0**x
        return m ** (values["alpha_m"] + 1) * np.exp(-m / 10.0 ** values["log_m_break"])

    def age(x: np.ndarray) -> np.ndarray:
        t, t_mid = 10.0**x, 10.0 ** values["log_t_mid"]
        return t * np.where(t < t_mid, 1.0, (t / t_mid) ** values["alpha_t"])

    half = scipy.stats.truncnorm(0.0, A_V[1] / values["sigma_av"], scale=values["sigma_av"])
    norms = [
        integral(mass, *MASS, ()),
        integral(age, *AGE, (values["log_t_mid"],)),
    ]
    return [lambda x: mass(x) / norms[0], lambda x: age(x) / norms[1], half.pdf]


def integral(f: Callable, low: float, high: float, points: tuple[float, ...]) -> float:
    inner = [p for p in points if low < p < high]
    return scipy.integrate.quad(
        f, low, high, points=inner or None, epsabs=0, epsrel=1e-12, limit=400
    )[0]


def detected_fraction(values: dict[str, float]) -> float:
    """∫ p_sel p dθ by adaptive cubature, in boxes on either side of the kink in age."""
    mass, age, a_v = densities(values)
    total = 0.0
    for low, high in ((AGE[0], values["log_t_mid"]), (values["log_t_mid"], AGE[1])):
        found = scipy.integrate.cubature(
            lambda x: mass(x[:, 0]) * age(x[:, 1]) * a_v(x[:, 2]) * p_sel(*x.T),
            [MASS[0], low, A_V[0]],
            [MASS[1], high, A_V[1]],
            rtol=1e-10,
        )
        assert found.status == "converged"
        total += float(found.estimate)
    return total


def split_normal(x: np.ndarray, best: float, lower: float, upper: float) -> np.ndarray:
    z = (x - best) / np.where(x < best, lower, upper)
    return np.sqrt(2 / np.pi) / (lower + upper) * np.exp(-(z**2) / 2)


def exact_term(values: dict[str, float], row: int) -> float:
    """∫ p(d|θ) p(θ) dθ, the errors normalised inside the bounds; the three axes factorise."""
    product = 1.0
    kinks = ((), (values["log_t_mid"],), ())
    axes = zip(densities(values), (MASS, AGE, A_V), kinks, range(3), strict=True)
    for density, (low, high), kink, axis in axes:
        error = (BEST[row, axis], LOWER[row, axis], UPPER[row, axis])
        points = (error[0], *kink)
        top = integral(lambda x, f=density, e=error: f(x) * split_normal(x, *e), low, high, points)
        product *= top / integral(lambda x, e=error: split_normal(x, *e), low, high, points)
    return product


def test_equals_brute_force():
    """Same samples, independent densities, selection integral by adaptive cubature: 1e-8."""
    start = population()
    objects, grid = object_samples(catalogue(), start.box), fine_grid(survey())

    @jax.jit
    def both(v: dict[str, jax.Array]) -> list[jax.Array]:
        fitted = start.with_values(v)
        forms = ("poisson", "conditional")
        return [log_likelihood(fitted, objects, grid, form) for form in forms]

    for values in OTHERS:
        mass, age, a_v = densities(values)
        theta = points(objects)[:5]
        each = mass(theta[..., 0]) * age(theta[..., 1]) * a_v(theta[..., 2])
        terms = np.log((each * np.exp(objects.log_weight[:5])).sum(axis=1)).sum()
        fraction, number = detected_fraction(values), 10.0 ** values["log_n"]
        expected = [terms + 5 * np.log(number) - number * fraction, terms - 5 * np.log(fraction)]
        got = both({k: jnp.asarray(v) for k, v in values.items()})
        assert [float(x) for x in got] == pytest.approx(expected, rel=1e-8)


def test_selection_integral_at_default_settings():
    for values in OTHERS:
        fitted = population().with_values({k: np.asarray(v) for k, v in values.items()})
        got = float(selection_grid(survey(), fitted).detected_fraction(fitted))
        assert got == pytest.approx(detected_fraction(values), rel=1e-5)


@pytest.mark.parametrize("values", OTHERS)
@pytest.mark.parametrize("n_samples", [32, 4096])
def test_object_terms_converge_to_the_integral(values, n_samples):
    """Within four standard errors of plain Monte Carlo; 4096 good samples are within 0.3%."""
    fitted = population().with_values({k: np.asarray(v) for k, v in values.items()})
    expected = np.log([exact_term(values, row) for row in range(5)])
    objects = object_samples(catalogue(), fitted.box, ErrorSettings(n_samples=n_samples))
    error = np.abs(np.asarray(log_object_terms(fitted, objects))[:5] - expected)
    ess = np.asarray(effective_sample_sizes(fitted, objects))[:5]
    assert (error < 4 / np.sqrt(ess)).all()
    assert (error[ess > 1000] < 3e-3).all()


def test_conditional_form_is_poisson_with_n_integrated_out():
    """∫ L(N, φ) dN/N = L_conditional(φ) Γ(n)."""
    grid = selection_grid(survey(), population())
    objects = object_samples(catalogue(), population().box)
    start = population()

    @jax.jit
    def poisson(v: dict[str, jax.Array]) -> jax.Array:
        return log_likelihood(start.with_values(v), objects, grid)

    for values in OTHERS:
        arrays = {k: jnp.asarray(v) for k, v in values.items()}
        fitted = population().with_values(arrays)
        conditional = float(log_likelihood(fitted, objects, grid, "conditional"))
        peak = np.log(5 / float(grid.detected_fraction(fitted)))
        ln_n = np.linspace(peak - 12, peak + 4, 2001)
        each = jax.vmap(lambda x, a=arrays: poisson({**a, "log_n": x}))(
            jnp.asarray(ln_n / np.log(10.0))
        )
        ln_integral = scipy.special.logsumexp(np.asarray(each)) + np.log(ln_n[1] - ln_n[0])
        assert ln_integral == pytest.approx(conditional + scipy.special.gammaln(5), abs=1e-9)


def test_padding_changes_nothing():
    grid = selection_grid(survey(), population())
    objects = object_samples(catalogue(), population().box, pad=False)
    start = population()
    both = jax.jit(
        lambda o: [log_likelihood(start, o, grid, f) for f in ("poisson", "conditional")]
    )
    reference = [float(x) for x in both(objects)]
    for size in (24, 256):
        padded = objects.padded(size)
        assert padded.n_objects == 5
        assert padded.theta.shape == (3, size, 32)
        assert [float(x) for x in both(padded)] == pytest.approx(reference, rel=1e-13)


def test_padded_sizes():
    sizes = [padded_size(n) for n in range(1, 20_000)]
    assert sorted(set(sizes))[:8] == [16, 24, 32, 48, 64, 96, 128, 192]
    for n, size in enumerate(sizes, start=1):
        assert n <= size
        assert size == 16 or size - n <= size / 3


def test_padding_to_less_is_refused():
    objects = object_samples(catalogue(), population().box)
    with pytest.raises(ValueError, match="cannot pad 5 objects to 4 rows"):
        objects.padded(4)


def block_population() -> Population:
    shares = np.array([0.5, 0.3, 0.2])
    extinction = NodesExtinction((0.0, 0.7, 2.0), shares)
    return Population(Separable(PowerLaw(MASS, -1.8), PowerLawAge(AGE, -0.4)), extinction, 1.7)


def test_blocks_change_nothing(monkeypatch):
    """Value, gradient and second derivatives in blocks of 16 rows, the last ones all padding."""
    fitted = block_population()
    objects = object_samples(catalogue(70), fitted.box).padded(192)

    def f(v: dict[str, jax.Array]) -> jax.Array:
        return module.sum_of_object_terms(fitted.with_values(v), objects)

    def everything(v: dict[str, jax.Array]) -> tuple:
        along = {k: jnp.cos(x) for k, x in v.items()}
        return f(v), *jax.jvp(jax.grad(f), (v,), (along,))

    # All rows at once, or both sums might leave out the same rows.
    monkeypatch.setattr(module, "_BLOCK_VALUES", {"cpu": 1 << 20, "other": 1 << 20})
    whole = jax.tree.leaves(jax.jit(everything)(fitted.values()))
    monkeypatch.setattr(module, "_BLOCK_VALUES", {"cpu": 512, "other": 512})
    blocks = jax.tree.leaves(jax.jit(lambda v: everything(v))(fitted.values()))
    for a, b in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-11)


def test_wholly_padded_blocks_are_not_evaluated(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_VALUES", {"cpu": 512, "other": 512})
    fitted = block_population()
    objects = object_samples(catalogue(16), fitted.box, pad=False).padded(64)
    poisoned = dataclasses.replace(
        objects, theta=np.where(objects.mask[:, None], objects.theta, np.nan)
    )

    @jax.jit
    @jax.grad
    def gradient(alpha: jax.Array) -> jax.Array:
        return module.sum_of_object_terms(fitted.with_values({"alpha_m": alpha}), poisoned)

    assert np.isfinite(float(gradient(jnp.asarray(-2.0))))


def test_effective_sample_sizes():
    objects = object_samples(catalogue(), population().box)
    ess = np.asarray(effective_sample_sizes(population(), objects))
    assert np.isnan(ess[5:]).all()
    mass, age, a_v = densities(VALUES)
    theta = points(objects)[:5]
    w = mass(theta[..., 0]) * age(theta[..., 1]) * a_v(theta[..., 2])
    w *= np.exp(objects.log_weight[:5])
    np.testing.assert_allclose(ess[:5], w.sum(1) ** 2 / (w**2).sum(1), rtol=1e-9)


def test_selection_on_the_truth_multiplies_the_object_terms():
    box = population().box
    plain = object_samples(catalogue(), box)
    data = object_samples(catalogue(), box, selection=survey("data"))
    truth = object_samples(catalogue(), box, selection=survey("truth"))
    np.testing.assert_array_equal(data.log_weight, plain.log_weight)
    np.testing.assert_allclose(
        truth.log_weight - plain.log_weight, np.log(p_sel(*np.asarray(truth.theta)))
    )
    mass, age, a_v = densities(VALUES)
    theta = points(truth)[:5]
    w = mass(theta[..., 0]) * age(theta[..., 1]) * a_v(theta[..., 2])
    w *= np.exp(plain.log_weight[:5])
    expected = np.log((w * p_sel(*np.moveaxis(theta, -1, 0))).sum(axis=1))
    got = np.asarray(log_object_terms(population(), truth))[:5]
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_impossible_cluster_has_no_likelihood():
    inner = complete(Box((5.0, 6.0), AGE, A_V), acts_on="truth")
    objects = object_samples(catalogue(), population().box, ErrorSettings(mode="none"), inner)
    grid = selection_grid(inner, population())
    assert float(log_likelihood(population(), objects, grid)) == -np.inf


@pytest.mark.parametrize(
    ("form", "extinction"), [("poisson", "nodes"), ("conditional", "half_normal")]
)
def test_gradient_equals_finite_differences(form, extinction):
    fitted = population()
    if extinction == "nodes":
        shares = np.array([0.5, 0.3, 0.2])
        fitted = Population(fitted.mass_age, NodesExtinction((0.0, 0.7, 2.0), shares), 1.7)
    objects = object_samples(catalogue(), fitted.box)
    grid = selection_grid(survey(), fitted)

    @jax.jit
    def f(v: dict[str, jax.Array]) -> jax.Array:
        return log_likelihood(fitted.with_values(v), objects, grid, form)

    values = fitted.values()
    gradient = jax.jit(jax.grad(f))(values)
    step = 1e-5
    for name, value in values.items():
        for i in range(max(value.size, 1)):
            move = np.zeros(value.shape)
            move[(i,) if value.ndim else ()] = step
            up, down = ({**values, name: value + s * move} for s in (1, -1))
            expected = float(f(up) - f(down)) / (2 * step)
            got = float(np.ravel(gradient[name])[i])
            assert got == pytest.approx(expected, rel=1e-6, abs=1e-6), (name, i)


def test_session_in_single_precision_fits_in_double(simple_fit):
    """A fit in a process that never asked for x64: its likelihood values are those of x64."""
    script = textwrap.dedent(
        """
        import json, sys
        import jax, numpy as np
        from starcensus.forward import *
        from starcensus.inference import *
        from starcensus.selection import *
        from starcensus.selection.catalogue import Catalogue
        assert not jax.config.jax_enable_x64
        given = json.load(sys.stdin)
        arrays = {k: np.asarray(v) for k, v in given.items()}
        population = Population(
            Separable(PowerLaw((3.5, 6.5), -2.0), Constant((6.0, 8.5))),
            HalfNormal((0.0, 2.0), 0.5),
            2.8,
        )
        catalogue = Catalogue("given", np.arange(len(arrays["theta"])).astype(str), **arrays)
        rule = MagnitudeLimit.default("F555W", limit_mag=23.0, width_mag=0.2)
        survey = RecordedSelection(with_outside(rule, "zero"), (0.1, 0.1, 0.1))
        settings = FitSettings(
            sampler=SamplerSettings(n_chains=2, n_warmup=50, n_samples=50), n_predictions=2
        )
        priors = {"sigma_av": Fixed(), "log_n": Fixed()}
        result = fit(catalogue, survey, PopulationModel(population, priors), settings)
        assert not jax.config.jax_enable_x64
        print(json.dumps({
            "alpha_m": result.tree["posterior"]["alpha_m"].values[0, :3].tolist(),
            "terms": result.tree["log_likelihood"]["objects"].values[0, :3].tolist(),
        }))
        """
    )
    mock = simple_fit.mock.catalogue
    given = {k: getattr(mock, k).tolist() for k in ("theta", "theta_low", "theta_high")}
    run = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(given), capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    for alpha, terms in zip(found["alpha_m"], found["terms"], strict=True):
        fitted = simple_fit.model.population.with_values({"alpha_m": np.asarray(alpha)})
        expected = log_object_terms(fitted, simple_fit.objects) - jnp.log(
            simple_fit.grid.detected_fraction(fitted)
        )
        np.testing.assert_allclose(terms, np.asarray(expected)[: len(terms)], rtol=1e-11)


def test_samples_are_annotated_for_traced_arrays():
    objects = object_samples(catalogue(), population().box)
    total = jax.jit(lambda o: module.sum_of_object_terms(population(), ObjectSamples(*o)))
    value = total((objects.theta, objects.log_weight, objects.mask))
    assert float(value) == pytest.approx(
        float(module.sum_of_object_terms(population(), objects)), rel=1e-12
    )
