"""Initial mass functions against quadrature and order statistics."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from starcensus.simulate.clusters.imf import IMFS, AbstractImf, Chabrier, Kroupa, PowerLaw, Salpeter

CASES: dict[str, AbstractImf] = {
    "kroupa": Kroupa(),
    "kroupa from 0.01": Kroupa(low=0.01, high=100.0),
    "kroupa above a break": Kroupa(low=0.7, high=150.0),
    "chabrier": Chabrier(),
    "chabrier below 1": Chabrier(low=0.1, high=0.9),
    "salpeter": Salpeter(),
    "flat in log": Salpeter(low=0.5, high=50.0, alpha=1.0),
    "one order hits the logarithm": Salpeter(low=0.5, high=50.0, alpha=2.0),
}


def integrate(imf: AbstractImf, function, low: float, high: float) -> float:
    """∫ function(m) ξ(m) dm by adaptive quadrature in ln m between the breaks."""
    edges = np.unique(np.clip([low, *imf.breaks, high], low, high))
    pieces = [
        quad(
            lambda x: function(np.exp(x)) * imf.pdf(np.array(np.exp(x))) * np.exp(x),
            np.log(a) + 1e-13,
            np.log(b) - 1e-13,
            epsabs=0,
            epsrel=1e-11,
        )[0]
        for a, b in itertools.pairwise(edges)
    ]
    return float(sum(pieces))


@pytest.mark.parametrize("imf", CASES.values(), ids=CASES.keys())
def test_moments_are_those_of_quadrature(imf: AbstractImf):
    assert integrate(imf, lambda m: 1.0, imf.low, imf.high) == pytest.approx(1.0, rel=1e-9)
    for order in (0.0, 1.0, 2.0, 3.0, -0.5):
        found = integrate(imf, lambda m, k=order: m**k, imf.low, imf.high)
        assert imf.moment(order) == pytest.approx(found, rel=1e-9)
    low, high = 0.4 * imf.low + 0.6 * min(imf.high, 1.0), 0.9 * imf.high
    part = imf.partial_moment(2.0, np.array(low), np.array(high))
    assert part == pytest.approx(integrate(imf, lambda m: m**2, low, high), rel=1e-9)


@pytest.mark.parametrize("imf", CASES.values(), ids=CASES.keys())
def test_the_inverse_inverts(imf: AbstractImf):
    q = np.concatenate([np.linspace(0, 1, 1001), 1 - np.geomspace(1e-2, 1e-8, 30)])
    np.testing.assert_allclose(imf.cdf(imf.ppf(q)), q, atol=1e-13)
    m = np.geomspace(imf.low, imf.high, 500)
    np.testing.assert_allclose(imf.ppf(imf.cdf(m)), m, rtol=1e-8)
    assert imf.cdf(np.array([imf.low / 2, imf.high * 2])).tolist() == pytest.approx([0.0, 1.0])
    assert imf.pdf(np.array([imf.low / 2, imf.high * 2])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("imf", CASES.values(), ids=CASES.keys())
def test_densities_join_where_the_law_changes(imf: AbstractImf):
    for m in imf.breaks:
        below, above = imf.pdf(np.array([m * (1 - 1e-9), m * (1 + 1e-9)]))
        assert below == pytest.approx(above, rel=1e-6)


def test_narrow_ranges_keep_their_digits():
    imf = Kroupa()
    low = np.geomspace(0.1, 100, 40)
    high = low * (1 + 1e-7)
    mean = imf.partial_moment(1.0, low, high) / imf.partial_moment(0.0, low, high)
    assert ((mean > low) & (mean < high)).all()
    np.testing.assert_allclose(
        imf.partial_moment(0.0, low, high), imf.pdf(low) * (high - low), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("imf", "expected"), [(Kroupa(0.08, 120.0), 0.5795), (Salpeter(0.1, 100.0), 0.3514)]
)
def test_known_mean_masses(imf: AbstractImf, expected: float):
    # Salpeter: 1.35/0.35 (0.1^-0.35 - 100^-0.35)/(0.1^-1.35 - 100^-1.35). Kroupa: by hand from the
    # three powers with k = 2 (0.5^1.3/0.5^2.3) and the same closed form.
    assert imf.mean_mass == pytest.approx(expected, abs=2e-4)


def test_the_most_massive_of_n_stars():
    imf, n = Kroupa(), 500
    rng = np.random.default_rng(5)
    top = imf.ppf(rng.random((4000, n))).max(axis=1)
    # False-alarm rate 1e-3.
    p = stats.kstest(top, lambda m: imf.most_massive_cdf(np.asarray(m), n)).pvalue
    assert p > 1e-3
    mean = (
        imf.low
        + quad(
            lambda m: 1 - float(imf.most_massive_cdf(np.array(m), n)), imf.low, imf.high, limit=200
        )[0]
    )
    assert abs(top.mean() - mean) < 3.5 * top.std() / np.sqrt(len(top))


@pytest.mark.parametrize("limits", [(0.0, 100.0), (2.0, 1.0), (0.1, np.inf)])
def test_limits_are_checked(limits: tuple[float, float]):
    with pytest.raises(ValueError, match="0 < low < high < inf"):
        Kroupa(*limits)
    with pytest.raises(ValueError, match=r"probabilities lie in \[0, 1\]"):
        Kroupa().ppf(np.array([1.1]))


def test_an_own_imf_is_named_in_files(monkeypatch):
    monkeypatch.setattr(IMFS, "_known", dict(IMFS))

    @IMFS.register("top_heavy")
    @dataclasses.dataclass(frozen=True)
    class TopHeavy(AbstractImf):
        low: float = 0.08
        high: float = 120.0
        alpha: float = 1.9

        def segments(self):
            return (0.5, PowerLaw(1.3)), (np.inf, PowerLaw(self.alpha))

    imf = IMFS.find("top_heavy")(high=100.0)
    assert integrate(imf, lambda m: 1.0, 0.08, 100.0) == pytest.approx(1, rel=1e-9)
    assert imf.mean_mass > Kroupa(high=100.0).mean_mass
    assert list(IMFS) == ["kroupa", "chabrier", "salpeter", "top_heavy"]
