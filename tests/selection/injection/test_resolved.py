"""Clusters injected star by star: the light of their profiles, and where their stars are."""

import dataclasses

import numpy as np
import pytest
from tests.selection.injection.toy_survey import ToySurvey

from starcensus.selection.injection import InjectionPlan, Injector
from starcensus.simulate import (
    ClusterLibrary,
    DrawSettings,
    Frame,
    StellarGrid,
    StellarPopulation,
    Templates,
    default_psfs,
    draw_clusters,
)
from starcensus.simulate.images.frame import BandImage
from starcensus.simulate.images.galaxy import NGC628C
from starcensus.simulate.images.resolved import StarByStar

SIDE, N = 160, 4


class WideSurvey(ToySurvey):
    reach_pix = 32.0


EXPOSURES = NGC628C[3:]
BANDS = tuple(exposure.band for exposure in EXPOSURES)


@pytest.fixture(scope="module")
def injectors() -> tuple[Injector, Injector]:
    """Smooth, and star by star."""
    stars = StellarPopulation(StellarGrid.default().select(BANDS))
    theta = np.full(N, 4.8), np.full(N, 7.2), np.full(N, 0.2)
    seeds = np.arange(N, dtype=np.uint64)
    mags = draw_clusters(stars, *theta, seeds=seeds).abs_mags
    radii = np.full(N, 3.0)
    library = ClusterLibrary(*theta, BANDS, mags, np.zeros(N), seed=seeds, r_eff_pc=radii)
    sky = np.random.default_rng(1).normal(1.0, 0.1, (SIDE, SIDE))
    # Photons without number: what is there is what was meant.
    images = tuple(
        BandImage(e.band, (e.sky * sky).astype(np.float32), 1e9, e.zero_point) for e in EXPOSURES
    )
    frame = Frame(images, 29.98)
    templates = Templates(default_psfs(BANDS), frame.pc_per_pixel)
    plan = InjectionPlan(n_clusters=N, per_frame=N, min_per_frame=N, radii_pc=None)
    smooth = Injector(frame, library, templates, ToySurvey(1.0), plan)
    return smooth, dataclasses.replace(smooth, stars=StarByStar(stars, templates))


def test_stars_have_the_light_of_their_clusters(injectors):
    smooth, resolved = injectors
    x, y, radii = smooth.positions(0)
    for name, own in zip("xyr", resolved.positions(0), strict=True):
        np.testing.assert_array_equal(own, {"x": x, "y": y, "r": radii}[name])
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for one, other, plain in zip(
        smooth.injected(0), resolved.injected(0), smooth.frame, strict=True
    ):
        profile, stars = (image.data.astype(float) - plain.data for image in (one, other))
        assert np.abs(stars - profile).max() > 0.02 * profile.max()
        for k in range(N):
            near = np.hypot(columns - x[k], rows - y[k]) < 8
            # Stars scatter across the circle's edge.
            assert stars[near].sum() == pytest.approx(profile[near].sum(), rel=0.15)


def test_a_table_says_how_its_clusters_were_drawn(injectors):
    smooth, resolved = injectors
    assert "stars" not in smooth.describe() and smooth.key != resolved.key
    assert resolved.describe()["stars"]["imf"]["kind"] == "Kroupa"
    fainter = dataclasses.replace(resolved.stars, star_limit_mag=0.0)
    assert dataclasses.replace(resolved, stars=fainter).key != resolved.key


def test_a_library_of_other_stars_is_refused(injectors):
    _, resolved = injectors
    brighter = dataclasses.replace(resolved.library, abs_mags=resolved.library.abs_mags - 0.1)
    with pytest.raises(ValueError, match="expected a library of the same grid"):
        dataclasses.replace(resolved, library=brighter)


def test_injections_in_one_window_are_refused(injectors):
    """They would be lost to one another, and an operator would say that the survey loses them."""
    smooth, _ = injectors
    far = dataclasses.replace(smooth.plan, min_separation_pix=32.0)
    seeing = WideSurvey(1.0)
    with pytest.raises(ValueError, match=r"10 pixels apart.*min_separation_pix to 32 or more"):
        dataclasses.replace(smooth, pipeline=seeing)
    x, y, _ = dataclasses.replace(smooth, pipeline=seeing, plan=far).positions(0)
    apart = np.hypot(*(v[:, None] - v for v in (x, y)))[np.triu_indices(N, 1)]
    assert apart.min() >= 32


def test_gas_is_seen_in_the_youngest_of_the_lightest():
    """The five lightest are old and have none."""
    stars = StellarPopulation(StellarGrid.default().select(BANDS))
    n = 40
    theta = np.linspace(3.0, 3.6, n), np.full(n, 9.0), np.zeros(n)
    theta[1][7] = 6.5
    seeds = np.arange(n, dtype=np.uint64)
    mags = draw_clusters(stars, *theta, seeds=seeds).abs_mags
    library = ClusterLibrary(*theta, BANDS, mags, np.zeros(n), seed=seeds)
    templates = Templates(default_psfs(BANDS), 1.9)
    StarByStar(stars, templates).check(library)
    with pytest.raises(ValueError, match=r"cluster 7 of the library .* rules of drawing"):
        StarByStar(stars, templates, DrawSettings(nebular=False)).check(library)
