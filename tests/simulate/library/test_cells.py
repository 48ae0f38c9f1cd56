"""Cells of θ: draws follow their density, rows follow from the seed, clusters keep their stars."""

import numpy as np
import pytest
from scipy.stats import chi2

from starcensus.simulate import (
    CellTheta,
    ClusterLibrary,
    Design,
    Pool,
    StarcensusEngine,
)

EDGES = np.array([2.0, 3.0, 4.5]), np.array([6.0, 7.0, 7.5, 9.0]), np.linspace(0.0, 2.0, 5)
SHARES = np.random.default_rng(0).gamma(1.0, size=(2, 3, 4))
SHARES[0, 1] = 0.0
SHARES[1, 2, 0] = 0.0


@pytest.mark.parametrize("k", [1, 3, 8])
def test_draws_fill_the_cells_as_their_shares_say(k: int):
    n = 24_000
    cells = CellTheta(EDGES, SHARES, k)
    rows = Design(n, 1, cells).rows(0, n)
    theta = np.stack([rows[x] for x in ("log_mass", "log_age", "a_v")], axis=1)
    found, _ = np.histogramdd(theta, EDGES)
    expected = n * SHARES / SHARES.sum()
    assert (found[expected == 0] == 0).all()
    # Rows of one cluster share its mass and age, so that n / k clusters are independent.
    of_clusters = ((found.sum(2) - expected.sum(2)) ** 2 / np.maximum(expected.sum(2), 1)).sum() / k
    assert of_clusters < chi2.isf(1e-5, 4)
    # Within a cell θ is uniform.
    for x, edges in zip(theta.T, EDGES, strict=True):
        at = np.searchsorted(edges, x, side="right") - 1
        inside = (x - edges[at]) / np.diff(edges)[at]
        assert abs(inside.mean() - 0.5) < 5 * np.sqrt(k / n / 12)
    np.testing.assert_allclose(cells.log_density(theta), rows["log_density"])


def test_every_cell_has_its_share_of_the_clusters():
    """To one cluster or so, where chance would leave its square root: of each cell of mass and
    age, and of quarters of its age."""
    n = 16_384
    rows = Design(n, 4, CellTheta(EDGES, SHARES)).rows(0, n)
    found = np.histogram2d(rows["log_mass"], rows["log_age"], EDGES[:2])[0]
    expected = n * SHARES.sum(axis=2) / SHARES.sum()
    assert np.abs(found - expected).max() < 3
    fine = np.concatenate(
        [np.linspace(a, b, 5)[:-1] for a, b in zip(EDGES[1][:-1], EDGES[1][1:], strict=True)]
    )
    fine = np.append(fine, EDGES[1][-1])
    of_age = np.histogram(rows["log_age"], fine)[0]
    even = np.repeat(expected.sum(axis=0) / 4, 4)
    assert ((of_age - even) ** 2 / np.maximum(even, 1)).max() < 0.1


def test_density_has_the_integral_one_and_is_nothing_outside():
    cells = CellTheta(EDGES, SHARES)
    rng = np.random.default_rng(2)
    theta = rng.uniform([2, 6, 0], [4.5, 9, 2], (200_000, 3))
    density = np.exp(cells.log_density(theta)) * 2.5 * 3 * 2
    assert density.mean() == pytest.approx(1.0, abs=5 * density.std() / np.sqrt(len(theta)))
    assert np.isneginf(cells.log_density(np.array([[1.9, 7.0, 1.0], [3.0, 7.0, 2.1]]))).all()


@pytest.mark.parametrize("k", [1, 3])
def test_rows_do_not_depend_on_the_pieces(k: int):
    design = Design(100, 5, CellTheta(EDGES, SHARES, k))
    whole = design.rows(0, 100)
    for start, stop in ((0, 1), (1, 50), (37, 100), (99, 100)):
        for name, values in design.rows(start, stop).items():
            np.testing.assert_array_equal(values, whole[name][start:stop])


def test_a_cluster_behind_more_dust_is_the_same_cluster():
    engine = StarcensusEngine(("ACS_F435W", "ACS_F555W"))
    rows = Design(40, 5, CellTheta(EDGES, SHARES, 4)).rows(0, 40)
    columns = [rows[name] for name in ("log_mass", "log_age", "a_v", "seed")]
    together = engine.draw(*columns)
    assert len(np.unique(rows["seed"])) == 10
    for i in range(0, 40, 4):
        assert len(np.unique(together["birth_mass"][i : i + 4])) == 1
        order = np.argsort(rows["a_v"][i : i + 4])
        lit = np.isfinite(together["abs_mags"][i])
        assert (np.diff(together["abs_mags"][i : i + 4][order][:, lit], axis=0) >= 0).all()
    # Rows are what they would be alone, to the bit.
    mixed = np.random.default_rng(0).permutation(40)
    alone = engine.draw(*(column[mixed] for column in columns))
    for name, values in together.items():
        np.testing.assert_array_equal(values[mixed], alone[name])


@pytest.mark.parametrize(
    ("edges", "shares", "k", "words"),
    [
        (EDGES, SHARES[:1], 1, "the edges have"),
        ((EDGES[0][::-1], *EDGES[1:]), SHARES, 1, "do not increase"),
        (EDGES, -SHARES, 1, "negative"),
        (EDGES, 0 * SHARES, 1, "all 0"),
        (EDGES, SHARES, 0, "n_extinctions is 0"),
    ],
)
def test_cells_that_cannot_be_are_refused(edges, shares, k, words):
    with pytest.raises(ValueError, match=words):
        CellTheta(edges, shares, k)


def made(design: Design) -> ClusterLibrary:
    rows = design.rows(0, design.n)
    return ClusterLibrary(bands=("V",), abs_mags=-2.5 * rows["log_mass"][:, None], **rows)


def test_a_pool_of_rounds_integrates_whatever_the_rounds_were_drawn_from():
    """The integral of a function of θ, by three rounds of which one leaves most of it out."""
    flat = CellTheta(EDGES, np.ones_like(SHARES), 2)
    some = CellTheta(EDGES, SHARES, 2)
    corner = np.zeros_like(SHARES)
    corner[1, 0, 0] = 1.0
    designs = [
        Design(20_000, 1, flat),
        Design(30_000, 2, some),
        Design(10_000, 3, CellTheta(EDGES, corner, 2)),
    ]
    pool = Pool.of_rounds([(made(d), d.theta) for d in designs])

    def integral(sample: Pool) -> tuple[float, float]:
        weight = np.exp(sample.log_weight) * np.exp(-sample.theta[:, 0]) * sample.theta[:, 2]
        of_cluster = np.bincount(sample.cluster, weight)
        return weight.sum(), np.sqrt((of_cluster**2).sum())

    truth = (np.exp(-2.0) - np.exp(-4.5)) * 3.0 * 2.0
    value, error = integral(pool)
    assert value == pytest.approx(truth, abs=4 * error) and error < 0.02 * truth
    assert len(np.unique(pool.cluster)) == 30_000


def test_a_pool_needs_a_density():
    library = made(Design(10, 1, CellTheta(EDGES, SHARES)))
    unknown = ClusterLibrary.concatenate(library, library)
    with pytest.raises(ValueError, match="does not say from which density"):
        Pool.of(unknown)
    assert np.isfinite(Pool.of(library).log_weight).all()


def test_rounds_of_other_boxes_are_refused():
    other = CellTheta((EDGES[0] + 0.1, *EDGES[1:]), SHARES)
    rounds = [(made(Design(10, 1, c)), c) for c in (CellTheta(EDGES, SHARES), other)]
    with pytest.raises(ValueError, match="different boxes"):
        Pool.of_rounds(rounds)
