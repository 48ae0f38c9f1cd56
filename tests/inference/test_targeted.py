"""Libraries drawn to order are samples of the density that they say, whatever led to it."""

import dataclasses

import numpy as np
import pytest

from starcensus.inference.objects import TargetSettings, draw_to_order
from starcensus.selection import Box
from starcensus.selection.catalogue.photometry import Photometry
from starcensus.selection.observation import GaussianObservation, NoiseCurves
from starcensus.simulate import ClusterLibrary, Pool

BOX = Box((2.0, 5.0), (6.0, 9.0), (0.0, 1.0))
BANDS = ("ACS_F435W", "ACS_F555W", "ACS_F814W")
MODULUS = 30.0
# Few clusters, so that chance leaves some cells of the first round empty.
SETTINGS = TargetSettings(
    400, 1e9, 60, 60, max_rounds=5, n_extinctions=1, wide_share=0.1, mass_slope=-2.0,
    cells=(0.5, 0.5, 0.5),
)  # fmt: skip
N_LIBRARIES = 80


@dataclasses.dataclass(frozen=True)
class Plain:
    """Light that is a smooth function of θ."""

    bands: tuple[str, ...] = BANDS
    environment: dict[str, str] = dataclasses.field(default_factory=dict)

    def limits(self) -> dict:
        return {}

    def describe(self) -> dict:
        return {"name": "plain", "citations": []}

    def draw(self, log_mass, log_age, a_v, seeds) -> dict[str, np.ndarray]:
        v = 2.0 - 2.5 * log_mass + 1.5 * (log_age - 6.0) + a_v
        colours = np.stack([0.3 * (log_age - 6.0), np.zeros_like(v), -0.4 * (log_age - 6.0)], 1)
        return {"abs_mags": (v[:, None] + colours + a_v[:, None] * [0.3, 0.0, -0.4])}


def survey() -> GaussianObservation:
    noise = NoiseCurves(BANDS, np.full(3, 1e-24), np.zeros(3), np.full(3, 0.02))
    return GaussianObservation(BANDS, MODULUS, noise, floor=0.3)


def old_and_heavy() -> Photometry:
    """Clusters of which a wide first round has hardly any."""
    rng = np.random.default_rng(5)
    theta = np.column_stack([rng.uniform(4.5, 5, 12), rng.uniform(8, 9, 12), rng.uniform(0, 1, 12)])
    mags = Plain().draw(*theta.T, np.arange(12))["abs_mags"] + MODULUS
    return survey().draw(mags, np.random.default_rng(6))[1]


def share(pool: Pool) -> float:
    """Of a law that is flat in θ, what lies at log_mass > 4.5 and log_age > 8: 1/18."""
    there = (pool.theta[:, 0] > 4.5) & (pool.theta[:, 1] > 8.0)
    return float(np.exp(pool.log_weight[there]).sum() / 9.0)


@pytest.mark.slow
def test_sums_over_libraries_have_their_expectation(tmp_path):
    """Over the mixture of all rounds of 200 libraries it is 0.917 of that, with an error of 0.019:
    where few were, few were drawn again."""
    data, each = old_and_heavy(), []
    for seed in range(N_LIBRARIES):
        settings = dataclasses.replace(SETTINGS, seed=100 * seed)
        made = draw_to_order(data, survey(), Plain(), BOX, settings, tmp_path / str(seed))
        each.append(share(made.pool))
    error = np.std(each, ddof=1) / np.sqrt(len(each))
    assert error < 0.04 / 18
    assert np.mean(each) == pytest.approx(1 / 18, abs=3.5 * error)


def test_the_library_is_where_the_objects_are(tmp_path):
    more = dataclasses.replace(SETTINGS, n_first=2000)
    made = draw_to_order(old_and_heavy(), survey(), Plain(), BOX, more, tmp_path)
    assert len(made.pool) == 400 and made.n_rounds == 5
    log_mass, log_age, _ = made.pool.theta.T
    # A wide sample would have 0.005 by its mass slope.
    assert ((log_mass > 4.0) & (log_age > 7.5)).mean() > 0.4
    names = {path.name for path in tmp_path.glob("*.h5")}
    assert names == {*(f"explored-{i:02d}.h5" for i in range(6)), "library.h5"}
    # What is there already is not drawn again.
    before = [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("*.h5"))]
    again = draw_to_order(old_and_heavy(), survey(), Plain(), BOX, more, tmp_path)
    assert before == [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("*.h5"))]
    np.testing.assert_array_equal(again.pool.theta, made.pool.theta)
    np.testing.assert_array_equal(again.effective, made.effective)


def test_objects_that_have_enough_end_the_exploring(tmp_path):
    settings = dataclasses.replace(SETTINGS, effective=0.5, n_first=2000, max_rounds=5)
    made = draw_to_order(old_and_heavy(), survey(), Plain(), BOX, settings, tmp_path)
    assert made.n_rounds == 0 and made.effective.min() > 0.5


def test_seeds_in_a_row_share_no_cluster(tmp_path):
    """Not even where one explored in more rounds than the other."""
    seen: list[np.ndarray] = []
    for seed in range(3):
        more = dataclasses.replace(SETTINGS, seed=seed, max_rounds=2 - seed)
        draw_to_order(old_and_heavy(), survey(), Plain(), BOX, more, tmp_path / str(seed))
        for path in sorted((tmp_path / str(seed)).glob("*.h5")):
            seeds = ClusterLibrary.load(path, bands=BANDS).seed
            assert seeds is not None
            seen.append(np.unique(seeds))
    together = np.concatenate(seen)
    assert len(seen) == 9 and len(np.unique(together)) == len(together)


def test_impossible_numbers_are_refused():
    with pytest.raises(ValueError, match=r"n_clusters, n_first, n_round, .* whole numbers"):
        TargetSettings(n_clusters=0)
