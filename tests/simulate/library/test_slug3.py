"""The SLUG v3 reader on real output and on files made here, and SLUG v3 itself as an engine."""

import tomllib
import types

import h5py
import numpy as np
import pytest
from scipy import stats

from starcensus.files import FileError
from starcensus.simulate import (
    BoxTheta,
    ClusterLibrary,
    Design,
    RunError,
    Work,
    read_slug3,
    run_library,
)
from starcensus.simulate.clusters.imf import Chabrier, Kroupa, Salpeter
from starcensus.simulate.library.slug3_engine import (
    SlugEngine,
    SlugSettings,
    _behind_dust,
    find_slug_data,
)

FILTERS = ["HST.ACS_WFC.F555W", "HST.ACS_WFC.F814W", "Q(HI)", "Lbol"]
DECK = '[phot]\nsystem = "Vega"\n'


def write(path, deck=DECK, times=(1e6, 2e6, 4e6), uid=(0, 1, 2), extinct=True, unit="mag"):
    """Three clusters whose rows of photometry stand in another order than the clusters."""
    order = [2, 0, 1]
    with h5py.File(path, "w") as file:
        file["clusters/uid"] = np.array([0, 1, 2], np.uint64)
        file["clusters/target_mass"] = [1e2, 1e3, 1e4]
        file["clusters/birth_mass"] = [101.0, 999.0, 1e4 + 1]
        file["clusters/form_time"] = [0.0, 0.0, 3e6]
        light = file.create_group("cluster_phot")
        light.attrs["filters"] = FILTERS
        light["uid"] = np.array(uid, np.uint64)[order]
        light["time"] = np.array(times)[order]
        mags = np.array([[-1.0, -2.0], [-3.0, -4.0], [-5.0, -6.0]])[order]
        q = np.array([1e46, 1e47, 1e48])[order]
        light["phot"] = np.column_stack([mags, q, q * 1e-42])
        light["phot"].attrs["units"] = [unit, unit, "photon/s", "Lsun"]
        if extinct:
            file["clusters/A_V"] = [0.5, 1.0, 1.5]
            light["phot_extinct"] = mags + 1
            light["phot_extinct"].attrs["units"] = [unit, unit]
        file["input_deck/toml"] = deck
    return path


def test_columns(tmp_path):
    path = write(tmp_path / "x.h5")
    library = read_slug3(path, {"I": "HST.ACS_WFC.F814W", "V": "HST.ACS_WFC.F555W"})
    assert library.bands == ("I", "V")
    np.testing.assert_allclose(library.log_mass, [4, 2, 3])
    np.testing.assert_allclose(library.log_age, [6, 6, np.log10(2e6)])
    np.testing.assert_allclose(library.a_v, [1.5, 0.5, 1.0])
    np.testing.assert_allclose(library.abs_mags, [[-5, -4], [-1, 0], [-3, -2]])
    np.testing.assert_allclose(library.birth_mass, [1e4 + 1, 101, 999])
    np.testing.assert_allclose(library.log_lum, [6, 4, 5])
    np.testing.assert_allclose(library.q_h, [1e48, 1e46, 1e47])
    assert np.isnan(library.log_density).all()
    bare = read_slug3(path, FILTERS[:1], kind="stars", log_density=-2.0)
    np.testing.assert_allclose(bare.abs_mags[:, 0], [-5, -1, -3])
    assert bare.bands == ("HST.ACS_WFC.F555W",) and (bare.log_density == -2).all()
    moved = read_slug3(path, {"V": FILTERS[0]}, kind="stars", zeropoints={"V": (0.1, -0.2)})
    np.testing.assert_allclose(moved.abs_mags, bare.abs_mags + 0.3)


def test_without_extinction(tmp_path):
    library = read_slug3(write(tmp_path / "x.h5", extinct=False), FILTERS[:2])
    assert (library.a_v == 0).all() and library.abs_mags[0].tolist() == [-5, -6]


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        ({}, {"bands": ["F999W"]}, r"has no filter F999W; it has HST.ACS_WFC.F555W"),
        ({}, {"bands": []}, "bands is empty"),
        ({}, {"bands": ["Lbol"], "kind": "stars"}, "Lbol in .* is in Lsun, .*expected Vega"),
        ({"deck": '[phot]\nsystem = "AB"\n'}, {}, "system AB; expected Vega magnitudes: run SLUG"),
        ({"deck": ""}, {}, "system Flambda; expected Vega"),
        ({"unit": "Jy"}, {}, "is in Jy, system Vega; expected"),
        ({"uid": (0, 1, 1)}, {}, "has 3 rows of 2 clusters, at 3 output times .* choose one"),
        ({"uid": (0, 1, 7)}, {}, "row 0 of the photometry .* is of cluster 7, which is not"),
        ({"times": (1e6, 2e6, 1e6)}, {}, "age or target mass is not positive"),
        ({}, {"time": 5e6}, "has no output at 5e\\+06 yr; it has 1e\\+06, 2e\\+06, 4e\\+06 yr"),
        ({}, {"kind": "neb"}, "has no light of kind 'neb'; it has stars, ex"),
        ({}, {"zeropoints": {}}, "zeropoints lack HST.ACS_WFC.F555W"),
    ],
)
def test_refuses(tmp_path, spoil, options, message):
    path = write(tmp_path / "x.h5", **spoil)
    with pytest.raises(ValueError, match=message):
        read_slug3(path, **({"bands": FILTERS[:1]} | options))


def test_refuses_what_is_not_finished(tmp_path):
    write(tmp_path / "run_chk00000.h5")
    with pytest.raises(
        ValueError, match=r"1 checkpoints of it are .*consolidate_checkpoints\(.*run"
    ):
        read_slug3(tmp_path / "run.h5", FILTERS[:1])
    with pytest.raises(ValueError, match="one checkpoint of a run: merge them first"):
        read_slug3(tmp_path / "run_chk00000.h5", FILTERS[:1])
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="folder of a run that is not finished"):
        read_slug3(tmp_path / "folder", FILTERS[:1])
    with pytest.raises(FileError, match="there is no such output of SLUG"):
        read_slug3(tmp_path / "none.h5", FILTERS[:1])
    whole = write(tmp_path / "y.h5").read_bytes()
    (tmp_path / "y.h5").write_bytes(whole[:-500])
    with pytest.raises(ValueError, match="is cut off or damaged"):
        read_slug3(tmp_path / "y.h5", FILTERS[:1])
    with h5py.File(tmp_path / "z.h5", "w") as file:
        file["clusters/uid"] = [1]
    with pytest.raises(ValueError, match="has no group cluster_phot; it has clusters"):
        read_slug3(tmp_path / "z.h5", FILTERS[:1])


@pytest.mark.shared
def test_a_real_library(shared):
    library = read_slug3(
        shared / "slug3" / "library.h5",
        {"WFC3_UVIS_F555W": "HSTPC.WFC3_UVIS1.F555W", "ACS_F814W": "HSTPC.ACS_WFC.F814W"},
    )
    assert len(library) == 20_000
    for name, low, high in (("log_mass", 2, 6), ("log_age", 6, 10), ("a_v", 0, 3)):
        values = getattr(library, name)
        assert low <= values.min() < low + 0.01 and high - 0.01 < values.max() <= high
    # Stars below 0.5 M_sun were not drawn, and SLUG's birth mass lacks them.
    assert library.birth_mass is None
    drawn = read_slug3(shared / "slug3" / "library_fullstoch_2000.h5", ["HST.WFC3_UVIS1.F814W"])
    # Stop-nearest stays within half a star of the target.
    assert np.abs(drawn.column("birth_mass") - 10**drawn.log_mass).max() < 60
    bare = read_slug3(shared / "slug3" / "library.h5", ["HSTPC.WFC3_UVIS1.F555W"], kind="stars")
    reddening = (library.abs_mags[:, 0] - bare.abs_mags[:, 0])[library.a_v > 0.1]
    np.testing.assert_allclose(
        np.median(reddening / library.a_v[library.a_v > 0.1]), 1.05, atol=0.03
    )


@pytest.mark.shared
def test_real_fixed_clusters_and_output_times(shared):
    folder = shared / "slug3"
    fixed = read_slug3(folder / "fixed" / "fixed_M500_3Myr.h5", ["HST.ACS_WFC.F814W"])
    assert len(fixed) == 1000 and (fixed.a_v == 0).all()
    np.testing.assert_allclose(fixed.log_mass, np.log10(500))
    np.testing.assert_allclose(fixed.log_age, np.log10(3e6))
    first = folder / "sample" / "first.h5"
    with pytest.raises(ValueError, match="has 200 rows of 50 clusters, at 4 output times"):
        read_slug3(first, ["HST.ACS_WFC.F814W"])
    one = read_slug3(first, ["HST.ACS_WFC.F814W"], time=1e8)
    assert len(one) == 50 and (one.a_v == 1).all()
    np.testing.assert_allclose(one.log_age, 8)


def settings(**changes):
    ours = {"tracks": "PARSEC12", "spectra": "CK04X", "nebular": False, "n_wavelengths": 400}
    return SlugSettings(**(ours | changes))


@pytest.mark.shared
def test_slug_draws_what_slug_draws(shared, tmp_path):
    """Against SLUG's own run of 1,000 clusters: same laws, another path through its code.

    Two-sample Kolmogorov-Smirnov on two magnitudes, birth mass and luminosity, each at 1e-3:
    false alarm 0.4% over seeds, none at this one.
    """
    engine = SlugEngine(
        ("HSTPC.WFC3_UVIS1.F275W", "HST.ACS_WFC.F814W"),
        find_slug_data(shared / "slug3" / "slugdata"),
        settings(),
    )
    mass, age = float(np.log10(500)), float(np.log10(3e6))
    design = Design(300, 3, BoxTheta((mass, mass), (age, age), (0.0, 0.0)))
    run_library(design, engine, tmp_path / "a.h5", Work(workers=2, shard_size=100))
    drawn = ClusterLibrary.load(tmp_path / "a.h5")
    known = read_slug3(shared / "slug3" / "fixed" / "fixed_M500_3Myr.h5", engine.bands)
    pairs = [(drawn.abs_mags[:, k], known.abs_mags[:, k]) for k in (0, 1)]
    pairs += [(drawn.column(k), known.column(k)) for k in ("birth_mass", "log_lum")]
    for ours, theirs in pairs:
        assert stats.ks_2samp(ours, theirs).pvalue > 1e-3
    assert (drawn.column("n_live") <= drawn.column("n_stars")).all()
    assert (drawn.column("max_live_mass") <= drawn.column("max_mass")).all()
    assert (drawn.column("q_h") > 0).all() and drawn.live_mass is None
    # The same in one process and in other shards; redder and fainter behind dust.
    dusty = Design(20, 3, BoxTheta((mass, mass), (age, age), (1.0, 1.0)))
    run_library(dusty, engine, tmp_path / "b.h5", Work(shard_size=7))
    behind = ClusterLibrary.load(tmp_path / "b.h5")
    for name in ("birth_mass", "n_stars", "q_h", "log_lum"):
        np.testing.assert_array_equal(behind.column(name), drawn.column(name)[:20])
    reddening = behind.abs_mags - drawn.abs_mags[:20]
    np.testing.assert_allclose(np.median(reddening, axis=0), [2.03, 0.57], atol=0.05)


@pytest.mark.shared
def test_slug_integrates_over_light_stars(shared, tmp_path):
    data = find_slug_data(shared / "slug3" / "slugdata")
    engine = SlugEngine(("HST.ACS_WFC.F814W",), data, settings(min_stoch_mass=2.0))
    design = Design(3, 0, BoxTheta((4.0, 4.0), (7.0, 7.0), (0.0, 0.0)))
    run_library(design, engine, tmp_path / "a.h5")
    library = ClusterLibrary.load(tmp_path / "a.h5")
    assert library.birth_mass is None and np.isfinite(library.abs_mags).all()


@pytest.mark.shared
@pytest.mark.parametrize(
    ("changes", "bands", "message"),
    [
        ({"nebular": True}, ("ACS_F814W",), "nebular.h5 not found.*or set nebular = false"),
        ({"tracks": "NONE"}, ("ACS_F814W",), "SLUG v3 refuses its settings .*NONE"),
        ({}, ("ACS_F999W",), "SLUG v3 refuses its settings .*F999W"),
        ({}, ("ACS_F814W",), r"log_age reaches 11; SLUG's tracks PARSEC12 end at 10\.4"),
    ],
)
def test_slug_refuses(shared, tmp_path, changes, bands, message):
    data = find_slug_data(shared / "slug3" / "slugdata")
    engine = SlugEngine(bands, data, settings(**changes))
    design = Design(1, 0, BoxTheta((2.0, 2.0), (11.0, 11.0), (0.0, 0.0)))
    with pytest.raises(RunError, match=message):
        run_library(design, engine, tmp_path / "a.h5")


def test_slug_data_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.delenv("SLUG_DIR", raising=False)
    monkeypatch.setenv("SLUG_DATA_PATH", str(tmp_path / "x"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    message = r"are not in .*x, .*fetch them with `python -m slugpy.download_data --dest .*data`"
    with pytest.raises(RunError, match=message):
        find_slug_data()
    with pytest.raises(RunError, match=r"are not in .*given; fetch"):
        find_slug_data(tmp_path / "given")
    for name in ("tracks", "spectra", "filters"):
        (tmp_path / "x" / "data" / name).mkdir(parents=True)
        (tmp_path / "x" / "data" / name / f"{name}.toml").touch()
    assert find_slug_data() == str(tmp_path / "x")


def test_bands_have_slugs_names():
    names = SlugSettings(facility="HSTPC")
    assert names.filter_name("WFC3_UVIS_F275W") == "HSTPC.WFC3_UVIS1.F275W"
    assert names.filter_name("ACS_F435W") == "HSTPC.ACS_WFC.F435W"
    assert names.filter_name("JWST.NIRCam.F200W") == "JWST.NIRCam.F200W"
    with pytest.raises(RunError, match="band V has no name in SLUG v3"):
        names.filter_name("V")


@pytest.mark.parametrize(
    ("imf", "breaks", "slopes"),
    [
        (Kroupa(), [0.08, 0.5, 120.0], [-1.3, -2.3]),
        (Kroupa(0.01, 0.3), [0.01, 0.08, 0.3], [-0.3, -1.3]),
        (Salpeter(0.1, 100.0), [0.1, 100.0], [-2.35]),
        (Chabrier(2.0, 100.0), [2.0, 100.0], [-2.35]),
    ],
)
def test_imfs_in_slugs_words(imf, breaks, slopes):

    text = tomllib.loads(SlugSettings(imf=imf, rule="poisson").imf_text())
    assert text["breakpoints"] == breaks and text["method"] == "poisson"
    assert [text[f"segment{i + 1}"]["slope"] for i in range(len(slopes))] == slopes


def test_gas_is_reddened_more_than_stars():
    """With classes of SLUG's interface whose answers are known: no data of its gas are needed."""
    wl = [500.0, 3000.0, 6000.0]
    bare = [8.0, 4.0, 2.0]
    k = np.array([2.0, 1.0, 0.5])

    def attenuate(a_v, spectrum):
        return (np.array(spectrum) * 10 ** (-0.4 * a_v * k)).tolist()

    def with_gas(spectrum, feh, age):
        assert (feh, age) == (0.0, 2e6)
        return [0.0, spectrum[1] + 1.0, spectrum[2] + 3.0], []

    controls = types.SimpleNamespace(
        extinct=types.SimpleNamespace(applyExtinction=attenuate),
        specsyn=types.SimpleNamespace(wl=lambda: wl),
        nebular=types.SimpleNamespace(getCluster=with_gas),
    )
    found = _behind_dust(controls, SlugSettings(nebular_extinction=2.1), bare, 1.5, 2e6)
    stars, gas = np.array([0.0, 4.0, 2.0]), np.array([0.0, 1.0, 3.0])
    expected = stars * 10 ** (-0.6 * k) + gas * 10 ** (-0.6 * 2.1 * k)
    np.testing.assert_allclose(found, expected)
    controls.nebular = None
    np.testing.assert_allclose(
        _behind_dust(controls, SlugSettings(), bare, 1.5, 2e6), bare * 10 ** (-0.6 * k)
    )
