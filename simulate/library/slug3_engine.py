"""SLUG v3 as the engine of a library, through slugpy (Krumholz+15, and the third version since).

A deck written from the settings sets the physics. For each row one SLUG `Cluster` of the row's mass
is drawn, from a state of SLUG's generator (pcg64) that the row's seed gives, and advanced to the
row's age; SLUG's own gas, extinction curve and filters turn its spectrum into magnitudes.
"""

import dataclasses
import functools
import importlib
import importlib.metadata
import os
import pathlib
import tempfile
import threading
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt64

from starcensus.files import checksum, state, to_json
from starcensus.runs import RunError
from starcensus.settings import check_choices

from ..clusters.imf import AbstractImf, Chabrier, Kroupa, Salpeter
from .design import Pair

# SLUG's global state allows one thread at a time.
_LOCK = threading.Lock()
# Multiplier and increment of SLUG's pcg64; streams differ in their state.
_PCG = (47026247687942121848144207491837523525, 117397592171526113268558934119004209487)
_LYMAN = 911.75  # Å: the gas takes all light below
_REGISTRIES = ("tracks", "spectra", "filters")


@dataclasses.dataclass(frozen=True)
class SlugSettings:
    """Physics of SLUG v3, in the names of its registries.

    **Arguments:**

    - `tracks`, `spectra`, `extinction`: stellar tracks, stellar spectra, extinction curve.
    - `feh`: [Fe/H].
    - `imf`: Chabrier, Kroupa or Salpeter.
    - `rule`: how stars are drawn to a mass.
    - `min_stoch_mass`: M_sun; lighter stars are integrated over, not drawn. 0 draws all.
    - `nebular`: light of the gas, which absorbs the fraction `covering` of the ionising photons
      and has `nebular_extinction` times the A_V of the stars.
    - `wavelengths`: Å, low and high; `n_wavelengths` points between in equal steps of ln λ.
    - `facility`: prefix of SLUG's filter names: band `WFC3_UVIS_F555W` is its filter
      `FACILITY.WFC3_UVIS1.F555W`, `ACS_F814W` its `FACILITY.ACS_WFC.F814W`; a band with dots in it
      is taken for SLUG's own name.
    """

    tracks: str = "MIST"
    spectra: str = "default"
    extinction: str = "Calzetti_MW"
    feh: float = 0.0
    imf: AbstractImf = dataclasses.field(default_factory=Chabrier)
    rule: Literal["stop_nearest", "poisson", "number"] = "stop_nearest"
    min_stoch_mass: float = 0.0
    nebular: bool = True
    covering: float = 0.5
    nebular_extinction: float = 2.1
    wavelengths: Pair = (91.2, 2e4)
    n_wavelengths: int = 1024
    facility: str = "HST"

    def __post_init__(self) -> None:
        check_choices(self)

    def filter_name(self, band: str) -> str:
        """SLUG's name of the filter of a band."""
        if "." in band:
            return band
        for ours, theirs in (("WFC3_UVIS_", "WFC3_UVIS1"), ("ACS_", "ACS_WFC")):
            if band.startswith(ours):
                return f"{self.facility}.{theirs}.{band.removeprefix(ours)}"
        raise RunError(
            f"band {band} has no name in SLUG v3; expected WFC3_UVIS_…, ACS_…, or a name of SLUG's "
            "registry such as HST.WFC3_UVIS1.F555W"
        )

    def deck(self, bands: tuple[str, ...], imf_path: str) -> str:
        """The deck; mass, age and extinction are given cluster by cluster instead."""
        filters = ", ".join(f'"{self.filter_name(band)}"' for band in bands)
        stochastic = f"min_stoch_mass = {self.min_stoch_mass!r}" if self.min_stoch_mass else ""
        gas = f"cov_fac = {self.covering!r}" if self.nebular else ""
        return f"""
sim_type = "cluster"
n_trial = 1
rng_seed = 1
[output]
output_times = [1e6]
[clusters]
CMF = 1000.0
[stars]
IMF = "{imf_path}"
tracks = "{self.tracks}"
FeH = {float(self.feh)!r}
{stochastic}
[spectra]
model = "{self.spectra}"
wl_min = {self.wavelengths[0]!r}
wl_max = {self.wavelengths[1]!r}
nwl = {self.n_wavelengths}
[phot]
filters = [{filters}, "Q(HI)", "Lbol"]
system = "Vega"
[nebular]
compute_neb = {str(self.nebular).lower()}
{gas}
[extinct]
AV = 0.0
model = "{self.extinction}"
"""

    def imf_text(self) -> str:
        """The IMF in SLUG's format, between its limits."""
        imf = self.imf
        power = 'type = "powerlaw"\nslope = {}'
        if isinstance(imf, Chabrier):
            log_normal = f'type = "lognormal"\nmean = {imf.centre!r}\ndisp = {imf.dex!r}'
            laws = [(0.0, log_normal), (1.0, power.format(-2.35))]
        elif isinstance(imf, Kroupa):
            laws = [(m, power.format(s)) for m, s in ((0.0, -0.3), (0.08, -1.3), (0.5, -2.3))]
        elif isinstance(imf, Salpeter):
            laws = [(0.0, power.format(-imf.alpha))]
        else:
            raise RunError(
                f"IMF {type(imf).__name__} is not one that SLUG v3 is given here; expected "
                "Chabrier, Kroupa or Salpeter"
            )
        ends = [m for m, _ in laws[1:]] + [np.inf]
        kept = [
            (max(start, imf.low), min(end, imf.high), law)
            for (start, law), end in zip(laws, ends, strict=True)
            if start < imf.high and end > imf.low
        ]
        breaks = [kept[0][0], *(end for _, end, _ in kept)]
        segments = [f"[segment{i}]\n{law}" for i, (_, _, law) in enumerate(kept, 1)]
        return "\n".join([f'method = "{self.rule}"', f"breakpoints = {breaks}", *segments]) + "\n"


@dataclasses.dataclass(frozen=True)
class SlugEngine:
    """SLUG v3 with its data in the folder `data` (as `find_slug_data` gives it).

    Masses, numbers and the heaviest are given when all stars are drawn; SLUG does not say the mass
    that is left at the age. It runs in processes of its own, one thread each: with more,
    equal seeds would not give equal numbers.
    """

    bands: tuple[str, ...]
    data: str
    settings: SlugSettings = SlugSettings()

    @property
    def environment(self) -> dict[str, str]:
        return {"OMP_NUM_THREADS": "1", "SLUG_DIR": self.data}

    def limits(self) -> dict[str, Pair]:
        return {}

    def describe(self) -> dict[str, Any]:
        settings = dataclasses.asdict(self.settings)
        imf = {"kind": type(self.settings.imf).__name__, **settings["imf"]}
        return {
            "name": "slug",
            "slugpy": importlib.metadata.version("slugpy"),
            "settings": {**settings, "imf": imf},
            "filters": {band: self.settings.filter_name(band) for band in self.bands},
            "data": _fingerprint(pathlib.Path(self.data)),
            "citations": [
                "da Silva, Fumagalli & Krumholz 2012, ApJ 745, 145",
                "Krumholz et al. 2015, MNRAS 452, 1447",
            ],
        }

    def draw(
        self,
        log_mass: Float[np.ndarray, "n"],
        log_age: Float[np.ndarray, "n"],
        a_v: Float[np.ndarray, "n"],
        seeds: UInt64[np.ndarray, "n"],
    ) -> dict[str, np.ndarray]:
        """Magnitudes and the other columns, one cluster after the other."""
        with _LOCK:
            data = to_json(_fingerprint(pathlib.Path(self.data)))
            controls = _controls(self, data)
            oldest = controls.tracks.logTMax()
            if log_age.size and log_age.max() > oldest:
                raise RunError(
                    f"log_age reaches {log_age.max():g}; SLUG's tracks {self.settings.tracks} end "
                    f"at {oldest:.3f}: narrow the design"
                )
            rows = [
                _draw_one(controls, self.settings, *row)
                for row in zip(log_mass, log_age, a_v, seeds, strict=True)
            ]
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        with np.errstate(divide="ignore"):
            columns["log_lum"] = np.log10(columns["log_lum"])
        return columns


def find_slug_data(given: str | os.PathLike[str] | None = None) -> str:
    """The folder that holds SLUG v3's `data/tracks`, `data/spectra` and `data/filters`.

    `given`, or else the first of $SLUG_DIR, those of $SLUG_DATA_PATH and SLUG's folder of the
    user's data that has them. Raises `RunError` with the command that fetches them.
    """
    if given is not None:
        searched = [pathlib.Path(given)]
    else:
        import platformdirs  # comes with slugpy

        listed = os.environ.get("SLUG_DATA_PATH", "").split(os.pathsep)
        names = [os.environ.get("SLUG_DIR", ""), *listed]
        searched = [pathlib.Path(name) for name in names if name]
        searched.append(platformdirs.user_data_path("slug", appauthor=False))
    for folder in searched:
        if all((folder / "data" / name / f"{name}.toml").is_file() for name in _REGISTRIES):
            return str(folder.resolve())
    where = searched[0] if given is not None else searched[-1]
    raise RunError(
        f"SLUG v3's data ({', '.join(_REGISTRIES)}) are not in "
        f"{', '.join(str(folder) for folder in searched)}; fetch them with `python -m "
        f"slugpy.download_data --dest {where / 'data'}`, or name the folder that holds data/ with "
        "--slug-data"
    )


def _fingerprint(folder: pathlib.Path) -> dict[str, str]:
    """Checksums of the registries and of the tables."""
    found = {}
    for name in _REGISTRIES:
        part = folder / "data" / name
        files = [part / f"{name}.toml", *sorted(part.glob("*.h5"))]
        found |= {f"{name}/{path.name}": _checksum(path, state(path)) for path in files}
    return found


@functools.lru_cache(maxsize=256)
def _checksum(path: pathlib.Path, state: tuple[int, ...]) -> str:
    """Of a file that may have gigabytes, once as long as it stays the same."""
    return checksum(path)


@functools.lru_cache(maxsize=2)
def _controls(engine: SlugEngine, data: str) -> Any:
    """SLUG's physics, read once in a process; `data` says which data they are."""
    slugpy: Any = importlib.import_module("slugpy")

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "imf.toml"
        path.write_text(engine.settings.imf_text())
        try:
            return slugpy.SimControls(engine.settings.deck(engine.bands, str(path)))
        except RuntimeError as error:
            hint = ""
            if "ebular" in str(error):
                hint = ": fetch it with `python -m slugpy.download_data`, or set nebular = false"
            raise RunError(f"SLUG v3 refuses its settings ({error}){hint}") from error


def _draw_one(
    controls: Any, settings: SlugSettings, log_mass: float, log_age: float, a_v: float, seed: int
) -> dict[str, Any]:
    """The columns of one cluster; its luminosity in L_sun."""
    slugpy: Any = importlib.import_module("slugpy")
    high, low = np.random.SeedSequence(int(seed)).generate_state(2, np.uint64)
    state = f"{_PCG[0]} {_PCG[1]} {(int(high) << 64) | int(low)}".encode()
    cluster = slugpy.Cluster(10.0 ** float(log_mass), controls=controls, rng_state=state)
    age = 10.0 ** float(log_age)
    drawn = cluster.starMasses()
    cluster.advance(age)
    alive = cluster.starMasses()
    bare = cluster.spec()
    dusty = _behind_dust(controls, settings, bare, a_v, age)
    counts = {
        "birth_mass": cluster.birthMass(),
        "n_stars": len(drawn),
        "max_mass": max(drawn, default=0.0),
        "n_live": len(alive),
        "max_live_mass": max(alive, default=0.0),
    }
    # Q(H) stands last among the filters, and dust leaves nothing of it.
    return {
        "abs_mags": controls.filters.phot(controls.extinct.wl(), dusty)[:-1],
        "q_h": cluster.phot()[-1],
        "log_lum": cluster.lbol(),
        **({} if settings.min_stoch_mass else counts),
    }


def _behind_dust(
    controls: Any, settings: SlugSettings, bare: list[float], a_v: float, age: float
) -> list[float]:
    """A spectrum of stars with their gas, if there is any, each behind its dust."""
    dust = controls.extinct
    if controls.nebular is None:
        return dust.applyExtinction(float(a_v), bare)
    both, _ = controls.nebular.getCluster(bare, float(settings.feh), age)
    stars = np.where(np.array(controls.specsyn.wl()) > _LYMAN, bare, 0.0)
    gas = np.array(both) - stars
    behind = float(a_v) * settings.nebular_extinction
    light = np.array(dust.applyExtinction(float(a_v), stars.tolist()))
    return (light + np.array(dust.applyExtinction(behind, gas.tolist()))).tolist()
