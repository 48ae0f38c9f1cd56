"""Lines of metals: read, put between nodes, told apart from those of hydrogen and helium."""

import pathlib

import numpy as np
import pytest

from starcensus.files import FileError
from starcensus.simulate.stars import dust, filters, nebular
from starcensus.simulate.stars.metal_lines import read_cloudy_lines

# Lyman β, Hβ, [O III], He I, Hα, [N II].
WAVELENGTH = (1025.7, 4862.76, 5008.31, 5877.36, 6564.72, 6585.37)
LOG_Z, AGES, LOG_U = (-0.5, 0.0), (1e6, 1e7), (-3.0, -2.0)


def luminosity(log_z: float, age: float, log_u: float) -> list[float]:
    """Hβ of 2; [O III] and [N II] that are linear in the three."""
    oxygen, nitrogen = 4 + log_u - log_z - np.log10(age) / 7, 1 + log_z
    return [9.0, 2.0, 2 * oxygen, 0.3, 5.7, 2 * nitrogen]


def written(path: pathlib.Path, changes: dict[int, str] | None = None) -> pathlib.Path:
    rows = ["#6 cols 8 rows 2 logZ 2 Age 2 logU", " ".join(map(str, WAVELENGTH))]
    for z in LOG_Z:
        for age in AGES:
            for u in LOG_U:
                rows += [f"{z} {age} {u}", " ".join(map(str, luminosity(z, age, u)))]
    for line, text in (changes or {}).items():
        rows[line - 1] = text
    path.write_text("\n".join(rows) + "\n")
    return path


def test_ratios_are_linear_between_nodes_and_metals_alone(tmp_path):
    table = read_cloudy_lines(written(tmp_path / "some.lines"))
    assert table.luminosity.shape == (2, 2, 2, 6)
    found = dict(table.over_h_beta(-0.2, -2.25, 3e6))
    _, _, oxygen, _, _, nitrogen = np.array(luminosity(-0.2, 3e6, -2.25)) / 2
    assert found == {5008.31: pytest.approx(oxygen), 6585.37: pytest.approx(nitrogen)}
    at_node = dict(table.over_h_beta(0.0, -2.0, 1e7))
    assert at_node[5008.31] == pytest.approx(luminosity(0.0, 1e7, -2.0)[2] / 2)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ((0.1, -2.5, 2e6), "log_z is 0.1; the lines are for -0.5 to 0"),
        ((0.0, -3.5, 2e6), "log_u is -3.5; the lines are for -3 to -2"),
        ((0.0, -2.5, 2e5), r"age_yr is 200000; the lines are for 1e\+06 to 1e\+07"),
    ],
)
def test_no_lines_outside_of_the_models(tmp_path, place, message):
    with pytest.raises(ValueError, match=message):
        read_cloudy_lines(written(tmp_path / "some.lines")).over_h_beta(*place)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({1: "6 cols"}, "expected a heading with #"),
        ({2: "1025.7 4862.8 many 5877 6564 6585"}, "line 2: .*expected numbers"),
        ({2: "1025.7 4000 5008.31 5877 6564 6585"}, "has no line at 4862.7. Å in vacuum, Hβ"),
        ({4: "1 2 3"}, "line 4 has 3 numbers; expected 6"),
        ({5: "-0.5 1e6"}, "line 5 has 2 numbers; expected 3"),
        ({6: "1 2 nan 4 5 6"}, "line 6 has numbers that are not finite"),
        ({5: "-0.5 1000000.0 -3.0"}, "8 models at 7 places"),
        ({5: "-0.5 1e6 -2.5"}, "expected one at each of 12 combinations"),
    ],
)
def test_files_that_are_no_table_are_refused(tmp_path, changes, message):
    with pytest.raises(FileError, match=message):
        read_cloudy_lines(written(tmp_path / "some.lines", changes))


@pytest.mark.shared
def test_real_tables_give_oxygen_its_place(shared):
    """[O III] 5008 is some times Hβ in young gas of the LMC's metals; its doublet has the ratio of
    atomic physics (2.98), and lines of hydrogen are not counted twice."""
    table = read_cloudy_lines(shared / "nebular/ZAU_ND_prsc.lines")
    found = dict(table.over_h_beta(-0.3, -2.5, 2e6))
    third = next(v for k, v in found.items() if abs(k - 5008.3) < 1)
    weaker = next(v for k, v in found.items() if abs(k - 4960.4) < 1)
    assert 2.0 < third < 6.0 and third / weaker == pytest.approx(2.98, abs=0.1)
    for at in (1215.7, 4341.7, 4862.8, 5877.4, 6564.7):
        assert not any(abs(k - at) < 1.5 for k in found)


@pytest.mark.shared
def test_with_them_gas_leaves_that_of_yggdrasil(shared):
    """Why they are off by default: at solar metals, where gas without them agrees with Yggdrasil to
    0.15 mag (`test_nebular.py`), they add half of its light in F814W, which holds [S III]."""
    table = read_cloudy_lines(shared / "nebular/ZAU_ND_prsc.lines")
    settings = nebular.NebularSettings(metal_lines=table.over_h_beta(0.12, -2.5, 2e6))
    band = filters.read_filter(shared / "filters/sedpy/acs_wfc_f814w.par", "F814W")
    plain, lines = (
        nebular.nebular_band_flux((band,), np.zeros(1), dust.extinction_curve("F99"), given)[0, 0]
        for given in (nebular.NebularSettings(), settings)
    )
    assert 1.4 < lines / plain < 1.8


@pytest.mark.shared
def test_oxygen_brightens_visual_light(shared):
    """ACS's F555W has little of Hβ and all of [O III]: gas of the LMC's metals has three times the
    light there, and as much as before in F275W."""
    table = read_cloudy_lines(shared / "nebular/ZAU_ND_prsc.lines")
    settings = nebular.NebularSettings(metal_lines=table.over_h_beta(-0.3, -2.5, 2e6))
    bands = tuple(
        filters.read_filter(shared / f"filters/sedpy/{file}.par", name)
        for name, file in (("F555W", "acs_wfc_f555w"), ("F275W", "wfc3_uvis_f275w"))
    )
    screen = dust.extinction_curve("F99")
    plain, lines = (
        nebular.nebular_band_flux(bands, np.zeros(1), screen, given)[:, 0]
        for given in (nebular.NebularSettings(), settings)
    )
    visual, ultraviolet = lines / plain
    assert 2.0 < visual < 4.0 and 1.0 < ultraviolet < 1.1
