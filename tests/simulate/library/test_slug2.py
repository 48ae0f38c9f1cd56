"""The SLUG v2 reader on real output and on files made here."""

import numpy as np
import pytest
from astropy.io import fits

from starcensus.simulate import ClusterLibrary, log_uniform_density, read_slug2, read_zeropoints

BANDS = ("ACS_F555W", "ACS_F814W")


def write(folder, prop=None, phot=None, unit="Vega mag"):
    base = {"Trial": [1, 2], "UniqueID": [7, 9], "Time": [1e6, 2e6]}
    columns = base | {"FormTime": [0.0, 1e6], "TargetMass": [100.0, 1e4], "A_V": [0.5, 1.0]}
    columns |= prop or {}
    lights = base | {f"{band}_neb_ex": [-3.0, -5.0 - k] for k, band in enumerate(BANDS)}
    lights |= phot or {}
    paths = []
    for name, table in (("prop", columns), ("phot", lights)):
        fields = [
            fits.Column(
                name=key,
                format="D",
                array=np.array(values, float),
                unit=unit if "ACS" in key else "",
            )
            for key, values in table.items()
            if values is not None
        ]
        paths.append(folder / f"x_cluster_{name}.fits")
        fits.BinTableHDU.from_columns(fields).writeto(paths[-1])
    return paths[0], paths[1]


def test_columns(tmp_path):
    library = read_slug2(*write(tmp_path), bands=BANDS[::-1])
    np.testing.assert_allclose(library.log_mass, [2, 4])
    np.testing.assert_allclose(library.log_age, [6, 6])
    np.testing.assert_allclose(library.a_v, [0.5, 1.0])
    np.testing.assert_allclose(library.abs_mags, [[-3, -3], [-6, -5]])
    assert library.bands == BANDS[::-1] and np.isnan(library.log_density).all()
    assert library.take(np.array([False, True])).abs_mags.tolist() == [[-6, -5]]


def test_zero_points_and_density(tmp_path):
    (tmp_path / "zero.txt").write_text("# band AB-Vega\nACS_F555W 0.009\nACS_F814W 0.44 # I\n")
    slug = read_zeropoints(tmp_path / "zero.txt")
    pairs = {"ACS_F555W": (slug["ACS_F555W"], -0.01), "ACS_F814W": (slug["ACS_F814W"], 0.43)}
    density = log_uniform_density((2.0, 6.0), (5.0, 10.0), (0.0, 3.0))
    library = read_slug2(*write(tmp_path), bands=BANDS, zeropoints=pairs, log_density=density)
    np.testing.assert_allclose(library.abs_mags[0], [-3 + 0.019, -3 + 0.01])
    np.testing.assert_allclose(library.log_density, -np.log(60))


@pytest.mark.parametrize(
    ("prop", "phot", "unit", "message"),
    [
        ({}, {"UniqueID": [7, 8]}, "Vega mag", "row 1 has UniqueID 9 in .* but 8 in"),
        ({}, {"Trial": [2, 1]}, "Vega mag", "row 0 has Trial 1 in"),
        ({}, {}, "AB mag", "is in AB mag; expected Vega magnitudes"),
        ({}, {"ACS_F814W_neb_ex": None}, "Vega mag", "no column ACS_F814W_neb_ex; it has"),
        ({}, {"ACS_F814W_neb_ex": [1.0, np.nan]}, "Vega mag", "row 1 of .* has ACS_F814W_neb_ex"),
        ({"FormTime": [0.0, 2e6]}, {}, "Vega mag", "age or target mass is not positive"),
        (
            {k: v[:1] for k, v in {"Trial": [1], "UniqueID": [7], "Time": [1e6]}.items()}
            | {"FormTime": [0.0], "TargetMass": [1e3], "A_V": [0.1]},
            {},
            "Vega mag",
            "has 1 rows and .* 2",
        ),
    ],
)
def test_refuses(tmp_path, prop, phot, unit, message):
    with pytest.raises(ValueError, match=message):
        read_slug2(*write(tmp_path, prop, phot, unit), bands=BANDS)


def test_without_extinction(tmp_path):
    stars = {"ACS_F555W": [-4.0, -5.0], "ACS_F814W": [-4.5, -5.5]}
    library = read_slug2(*write(tmp_path, {"A_V": None}, stars), bands=BANDS, kind="stars")
    assert library.a_v.tolist() == [0, 0] and library.abs_mags[0].tolist() == [-4.0, -4.5]


def test_library_checks_its_numbers():
    one = np.ones(2)
    with pytest.raises(ValueError, match="log_age of cluster 1 is nan"):
        ClusterLibrary(one, np.array([1, np.nan]), one, ("a",), np.ones((2, 1)), one)


@pytest.mark.shared
def test_real_output(shared):
    folder = shared / "slug"
    paths = folder / "lib_1e2_1e6_cluster_prop.fits", folder / "lib_1e2_1e6_cluster_phot.fits"
    library = read_slug2(*paths, bands=BANDS)
    assert len(library) == 16_000
    assert 2 <= library.log_mass.min() and library.log_mass.max() <= 6
    assert 5 <= library.log_age.min() and library.log_age.max() < 10.18
    assert 0 <= library.a_v.min() and library.a_v.max() <= 3
    np.testing.assert_allclose(library.abs_mags[0], [-1.5970664, -3.0005803], atol=1e-6)
    bare = read_slug2(*paths, bands=BANDS, kind="neb")
    reddening = library.abs_mags - bare.abs_mags
    # Milky Way extinction: about A_V in V and 0.6 A_V in I.
    np.testing.assert_allclose(
        np.median(reddening / library.a_v[:, None], 0), [1.03, 0.6], atol=0.1
    )
    # The extra columns agree with one another.
    live, birth, q_h = (library.column(k) for k in ("live_mass", "birth_mass", "q_h"))
    assert (live <= birth * (1 + 1e-9)).all() and library.column("max_live_mass").max() < 120.1
    assert library.column("n_live").min() >= 0 and library.n_stars is None
    old = library.log_age > 9
    assert q_h[old].max() < q_h[library.log_age < 6.5].max() / 1e3
    light_per_mass = library.column("log_lum") - np.log10(birth)
    assert np.median(light_per_mass[old]) < 0.5 < np.median(light_per_mass[~old])
