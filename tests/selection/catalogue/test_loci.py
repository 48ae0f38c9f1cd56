"""AB magnitudes taken for Vega's, and distances that are none."""

import dataclasses

import numpy as np
import pytest

from starcensus.bands import ab_minus_vega
from starcensus.selection.catalogue import (
    Photometry,
    distance_sign,
    loci,
    photometry_of,
    read_legus,
    vega_or_ab,
)
from starcensus.simulate import StellarPopulation, ssp_abs_mags
from starcensus.simulate.stars import StellarGrid

BANDS = ("WFC3_UVIS_F275W", "WFC3_UVIS_F336W", "ACS_F435W", "ACS_F555W", "ACS_F814W")


@pytest.fixture(scope="module")
def mags() -> np.ndarray:
    """Clusters of many ages, between those of the locus, with noise of 0.1 mag."""
    rng = np.random.default_rng(8)
    stars = StellarPopulation(StellarGrid.default().select(BANDS))
    clean = ssp_abs_mags(stars, rng.uniform(6.2, 9.5, 60), rng.exponential(0.4, 60).clip(0, 2))
    return clean + 30.0 - 2.5 * rng.uniform(3, 5, (60, 1)) + rng.normal(0, 0.1, clean.shape)


def seen(mags: np.ndarray, bands: tuple[str, ...] = BANDS, ab: bool = False) -> Photometry:
    offsets = np.array([ab_minus_vega(band) for band in bands], float)
    values = mags + offsets * ab
    errors = np.where(np.isnan(mags), np.nan, 0.1)
    return Photometry.from_mags("mine", np.arange(len(mags)), bands, values, errors)


def test_ab_magnitudes_are_named(mags):
    assert vega_or_ab(seen(mags)) is None
    said = vega_or_ab(seen(mags, ab=True))
    assert said is not None
    for part in ("look like AB", "of 60 clusters", ", ".join(BANDS), "unit = 'ABmag'"):
        assert part in said


def test_three_bands_tell_where_one_is_ultraviolet(mags):
    """And a measurement is missing for every third cluster."""
    some = mags.copy()
    some[::3, 0] = np.nan
    assert vega_or_ab(seen(some, ab=True)) is not None
    uv = [0, 2, 3]
    bands = tuple(BANDS[k] for k in uv)
    assert vega_or_ab(seen(mags[:, uv], bands)) is None
    assert "of 60 clusters" in str(vega_or_ab(seen(mags[:, uv], bands, ab=True)))
    # Dust makes up for the difference in B, V and I.
    assert vega_or_ab(seen(mags[:, 2:], BANDS[2:], ab=True)) is None


def test_what_is_too_little_to_tell(mags):
    assert vega_or_ab(seen(mags[:9], ab=True)) is None
    assert vega_or_ab(seen(mags[:10], ab=True)) is not None
    unknown = tuple(f"MINE_{band}" for band in BANDS)
    named = dataclasses.replace(seen(mags, ab=True), bands=unknown)
    assert vega_or_ab(named) is None


def test_clusters_that_are_badly_measured_do_not_count(mags):
    good = seen(mags, ab=True)
    poor = dataclasses.replace(good, flux_error=good.flux * 0.4)
    assert vega_or_ab(poor) is None


@pytest.mark.parametrize(
    "modulus, said",
    [
        (None, None),
        (18.5, None),
        (29.98, None),
        (-29.98, "its sign is wrong, for it is m - M, above 0; say 29.98"),
        (9.9, "9.9 mag, expected 15 to 45; if it is a distance in Mpc, say 29.98"),
        (0.0, "0 mag, expected 15 to 45; it is m - M, 5 log10(distance in Mpc) + 25"),
        (99.0, "99 mag, expected 15 to 45; if it is a distance in Mpc, say 34.98"),
        (float("nan"), "nan mag, expected 15 to 45"),
    ],
)
def test_distances(mags, modulus, said):
    found = distance_sign(dataclasses.replace(seen(mags), distance_modulus=modulus))
    assert found is None if said is None else said in str(found)


@pytest.mark.shared
def test_legus_is_vega(shared, monkeypatch):
    """None of the published tables is taken for AB; with AB minus Vega added all are."""
    tables = sorted((shared / "catalogues" / "legus").glob("*.tab"))
    assert len(tables) == 22
    cats = {path: read_legus(path) for path in tables}
    # Models of all bands at once instead of those of each set of bands.
    bands = tuple(sorted({band for cat in cats.values() for band in cat.bands}))
    models = dict(zip(bands, loci._locus(bands).T, strict=True))
    monkeypatch.setattr(loci, "_locus", lambda some: np.stack([models[b] for b in some], axis=1))
    for path, cat in cats.items():
        offsets = np.array([ab_minus_vega(band) for band in cat.bands], float)
        ab = dataclasses.replace(cat, mags=np.asarray(cat.mags) + offsets)
        as_is, added = (photometry_of(each, unknown="not detected") for each in (cat, ab))
        assert vega_or_ab(as_is) is None, path.name
        assert vega_or_ab(added) is not None, path.name
