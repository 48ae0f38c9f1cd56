"""Isochrones of any age from SLUG v3's own tracks, through slugpy."""

import importlib.util
import os
import pathlib

import numpy as np
from jaxtyping import Float

from ._base import Isochrone, IsochroneSet, assemble, log_gravity, surface_kinds

CITATIONS = (
    "Krumholz et al. 2015, MNRAS 452, 1447",
    "Bressan et al. 2012, MNRAS 427, 127",
    "Chen et al. 2015, MNRAS 452, 1068",
)
DECK = """
sim_type = "cluster"
n_trial = 1
verbosity = 0
[output]
model_name = "isochrones"
output_times = [1e6]
[stars]
IMF = "{imf}"
tracks = "{tracks}"
track_registry = "{data}/tracks/tracks.toml"
FeH = {feh}
[spectra]
model = "{spectra}"
registry = "{data}/spectra/spectra.toml"
wl_min = 3000
wl_max = 9000
nwl = 16
[nebular]
compute_neb = false
[clusters]
CMF = 1e3
"""


def read_slug(
    data: str | os.PathLike[str],
    log_age: Float[np.ndarray, "age"],
    *,
    tracks: str = "PARSEC12",
    spectra: str = "CK04X",
    feh: float = 0.0,
    z: float = 0.014,
    low: float = 0.1,
    high: float = 120.0,
) -> IsochroneSet:
    """Isochrones at exact ages from a set of tracks installed for SLUG v3.

    Masses are refined where neighbours differ by more than 0.02 dex in luminosity or 0.01 dex in
    temperature, down to a part in 10⁷, so that the phases at the end of a life are resolved.

    **Arguments:**

    - `data`: SLUG's folder of data, the one that `SLUG_DIR` names (it holds `data/tracks`).
    - `log_age`: `(age,)`, log10 yr, increasing.
    - `tracks`, `spectra`: names in `tracks.toml` and `spectra.toml` (SLUG loads spectra even for
      isochrones).
    - `feh`: [Fe/H] of the tracks.
    - `z`: the metal mass fraction that it stands for.
    - `low`, `high`: M_sun, range of initial masses.

    Raises `FileNotFoundError` where the data are absent and `ImportError` without slugpy.

    ```python
    read_slug("slug3", np.linspace(6.0, 9.0, 61))
    ```
    """
    folder = pathlib.Path(data).resolve() / "data"
    for needed in ("tracks/tracks.toml", "spectra/spectra.toml"):
        if not (folder / needed).is_file():
            raise FileNotFoundError(
                f"SLUG's data are not in {data}: {folder / needed} is not there. "
                "`python -m slugpy.download_data` fetches them; give the folder that SLUG_DIR names"
            )
    if importlib.util.find_spec("slugpy") is None:
        raise ImportError("slugpy is not installed: `pip install slugpy`")
    # slugpy prepends to SLUG_DATA_PATH when it is imported; the process keeps its own value.
    path = os.environ.get("SLUG_DATA_PATH")
    try:
        import slugpy

        # By its path: the search path that slugpy sets lasts from its import to the first return.
        imf = pathlib.Path(slugpy.__file__ or "").parent / "_share/data/imfs/chabrier.toml"
        deck = DECK.format(
            tracks=tracks, spectra=spectra, data=folder.as_posix(), feh=feh, imf=imf.as_posix()
        )
        controls = slugpy.SimControls(deck)  # pyright: ignore[reportAttributeAccessIssue]
        made = tuple(_isochrone(slugpy, controls, age, low, high) for age in log_age)
    finally:
        if path is None:
            os.environ.pop("SLUG_DATA_PATH", None)
        else:
            os.environ["SLUG_DATA_PATH"] = path
    return IsochroneSet(
        isochrones=made, z=z, source=f"SLUG v3 tracks {tracks}", citations=CITATIONS
    )


def _isochrone(slugpy, controls, log_age: float, low: float, high: float) -> Isochrone:
    """One isochrone on masses refined until neighbours are close."""

    def stars(mass: np.ndarray) -> np.ndarray:
        _, values = slugpy.compute_isochrones(
            10.0**log_age, simcontrols=controls, masses=np.asarray(mass)
        )
        names = ("mass", "log_L", "log_Teff", "h_surf", "c_surf")
        return np.stack([values[name][0].value for name in names], axis=1)

    mass = np.geomspace(low, high, 400)
    table = stars(mass)
    for _ in range(30):
        alive = np.isfinite(table[:, 1])
        step = np.abs(np.diff(table[:, 1:3], axis=0))
        coarse = (step[:, 0] > 0.02) | (step[:, 1] > 0.01) | (alive[1:] != alive[:-1])
        wide = np.diff(mass) > 1e-7 * mass[1:]
        split = np.flatnonzero(coarse & wide & (alive[1:] | alive[:-1]))
        if not len(split):
            break
        extra = (mass[split] + mass[split + 1]) / 2
        mass = np.concatenate([mass, extra])
        table = np.concatenate([table, stars(extra)])
        order = np.argsort(mass)
        mass, table = mass[order], table[order]
    alive = np.isfinite(table[:, 1])
    if alive.sum() < 2:
        raise ValueError(
            f"no star of {low} to {high} M_sun lives at log age {log_age}; give other masses"
        )
    living = np.flatnonzero(alive)
    gap = np.diff(mass[living]) * (np.diff(living) > 1)
    if gap.max() > 1e-5 * high:
        at = mass[living[int(np.argmax(gap))]]
        raise ValueError(
            f"at log age {log_age} stars just above {at:.4f} M_sun are dead and heavier ones live; "
            "an isochrone must be one run of living stars: give a `high` below that mass"
        )
    mass, (current, log_lum, log_teff, h_surf, c_surf) = mass[alive], table[alive].T
    columns = {
        "initial_mass": mass,
        "current_mass": current,
        "log_lum": log_lum,
        "log_teff": log_teff,
        "log_g": log_gravity(current, log_lum, log_teff),
    }
    return assemble(log_age, columns, surface_kinds(log_lum, log_teff, h_surf, c_surf))
