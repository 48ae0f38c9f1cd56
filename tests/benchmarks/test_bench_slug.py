"""Our clusters against SLUG's, of the same ingredients; and whether the comparison can tell."""

import h5py
import numpy as np
import pytest
from astropy.io import fits
from benchmarks.slug import (
    AGES,
    BANDS2,
    Difference,
    compare,
    compare_all,
    slug2_grid,
    theta_of,
    threshold,
)

from starcensus.simulate.stars import StellarGrid

FALSE_ALARM = 1e-3


def beyond(rows: list[Difference]) -> list[Difference]:
    limit = threshold(len(rows), FALSE_ALARM)
    return [row for row in rows if abs(row.sigma) > limit]


def clusters(rng: np.random.Generator, n: int, rate: float = 30.0, giant: float = 0.0):
    """Magnitudes of toy clusters: Poisson dwarfs of one colour, giants of another."""
    dwarfs, giants = rng.poisson(rate, n) + 1.0, rng.poisson(0.5 + giant, n)
    colours = np.linspace(0, 1, len(BANDS2))
    return -2.5 * np.log10(dwarfs[:, None] + giants[:, None] * (1 + 9 * colours))


def test_samples_of_one_law_agree_and_others_do_not():
    rng = np.random.default_rng(8)
    ours = clusters(rng, 20_000)
    # Each of the 50 trials has all 73 comparisons; the discrete toy makes percentiles jump.
    means = [
        row.sigma
        for _ in range(50)
        for row in compare("M500_3Myr", BANDS2, ours, clusters(rng, 1000))
        if row.what in ("mean", "sd") and row.column == "ACS_F814W"
    ]
    # 100 values of a unit normal: the sd's own error is 7%, and none beyond 4.9 at a rate of 1e-4.
    assert 0.75 < np.std(means) < 1.3 and np.max(np.abs(means)) < 4.9
    assert not [
        row
        for row in beyond(compare("M500_3Myr", BANDS2, ours, clusters(rng, 1000)))
        if row.what in ("mean", "sd")
    ]
    fainter = compare("M500_3Myr", BANDS2, ours, clusters(rng, 1000) + 0.08)
    assert {"mean"} <= {row.what for row in beyond(fainter)}
    wider = compare("M500_3Myr", BANDS2, ours, clusters(rng, 1000, giant=0.5))
    assert {"mean", "sd", "p84"} <= {row.what for row in beyond(wider)}


def test_sets_of_any_mass_are_read_by_their_names():
    assert theta_of("M1e3_10Myr") == pytest.approx((3.0, 7.0))
    assert theta_of("M500_3Myr") == pytest.approx(np.log10((500.0, 3e6)))
    for name in ("M1e3", "M1e3_5Myr", "1e3_10Myr", "Mx_10Myr", "M1e3_10Myr_a"):
        with pytest.raises(ValueError, match="is no set of clusters; expected M, a mass"):
            theta_of(name)


def test_refuses_what_was_not_run(tmp_path):
    with pytest.raises(ValueError, match="version is 4; expected 2 or 3"):
        compare_all(tmp_path, 4)
    with pytest.raises(ValueError, match="own light with 3 only"):
        compare_all(tmp_path, 2, own_light=True)


@pytest.mark.shared
@pytest.mark.slow
def test_drawing_agrees_with_slug3_on_its_own_stars(shared, monkeypatch):
    """528 comparisons, none beyond what 1 run in 1,000 would show."""
    monkeypatch.setenv("SLUG_DIR", str(shared / "slug3" / "slugdata"))
    rows = compare_all(shared, 3, n=8000, own_light=True)
    assert len(rows) == 528 and not beyond(rows)


@pytest.mark.shared
@pytest.mark.slow
def test_slug3_with_our_spectra(shared):
    """Only the tightest set, 1e5 M_sun at 100 Myr, shows how spectra are interpolated."""
    rows = compare_all(shared, 3, n=8000)
    for row in beyond(rows):
        assert row.clusters == "M1e5_100Myr" and abs(row.delta_mag) < 0.008, row


@pytest.mark.shared
@pytest.mark.slow
def test_slug2(shared):
    """Agrees where isochrones do; elsewhere its stars differ, as the next test shows."""
    rows = compare_all(shared, 2, n=8000)
    quiet = [r for r in rows if r.clusters.split("_")[0] in ("M500", "M1e4")]
    quiet = [r for r in quiet if r.clusters.split("_")[1] in ("100Myr", "1Gyr")]
    assert len(quiet) == 4 * 73
    for row in beyond(rows):
        if row in quiet:
            assert abs(row.delta_mag) < 0.03, row
    means = [abs(r.delta_mag) for r in quiet if r.what == "mean" and r.clusters[:4] == "M1e4"]
    assert max(means) < 0.015


@pytest.mark.shared
@pytest.mark.slow
def test_slug2_reads_other_isochrones_off_the_same_tracks(shared):
    """The heaviest living star of 2,000 clusters ends where linear interpolation of tracks ends."""
    grid = slug2_grid(shared)
    with h5py.File(shared / "slug3/slugdata/data/tracks/parsec12.h5") as file:
        tracks = file["feh_0.0000"]
        mass = np.asarray(tracks["masses"])  # pyright: ignore
        life = np.array([tracks[f"track_m{m:.3f}"][-1, 0] for m in mass])  # pyright: ignore
    for i, (name, age) in enumerate(list(AGES.items())[1:], start=1):
        end = 10 ** np.interp(-np.log10(age), -np.log10(life), np.log10(mass))
        path = shared / f"slug/fixed/fixedcorr_M1e4_t{name}_cluster_prop.fits"
        theirs = fits.getdata(path, 1)["MaxStarMass"].max()  # pyright: ignore
        ours = last_mass(grid, i)
        assert abs(theirs / end - 1) < 2e-6, name
        assert ours / theirs - 1 > 5e-6, name


def last_mass(grid: StellarGrid, i: int) -> float:
    return float(grid.initial_mass[grid.start[i + 1] - 1])
