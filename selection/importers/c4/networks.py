"""The published completeness networks for NGC 628 (C-4), without Torch or scikit-learn.

Tang et al., arXiv:2604.05291; PyPI package cluster-completeness-pipeline 0.1.0. Its checkpoints are
zip archives of raw numbers beside a pickle that says where they go, and its scalers are joblib
pickles. Both are read by an unpickler that admits the few names such files need, each bound to a
stand-in of ours: nothing that a file names is imported or called.
"""

import hashlib
import importlib.util
import os
import pathlib
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from starcensus.theta import Box

from ....networks import MLP
from ...operators.facts import BandFacts, SurveyFacts, pipeline_text
from ...operators.network import NetworkSelection
from ...operators.photometric import PhotometricNetwork
from ...operators.sources import SOURCES, takes
from .pickles import UnsafePickleError as UnsafePickleError
from .pickles import read_checkpoint, read_scaler

PACKAGE = "completeness_nn_api"
FOLDER = f"{PACKAGE}/checkpoints"
BANDS = ("F275W", "F336W", "F435W", "F555W", "F814W")
DISTANCE_MODULUS = 29.98
DOMAIN = Box((2.0, 7.0), (5.0, float(np.log10(1.5e10))), (0.0, 3.0))
# NGC 628-C at 9.9 Mpc; the package states neither PSFs, depths nor skies.
LEARNED_FOR = SurveyFacts(
    field="NGC 628-C",
    distance_modulus=DISTANCE_MODULUS,
    bands=tuple(BandFacts(band) for band in BANDS),
    pipeline=pipeline_text({"pipeline": "C-4", "package": "cluster-completeness-pipeline 0.1.0"}),
)
_BRIGHT_LIMIT = 15.0
_FAINT_SIGMAS = 4.0

SHA256 = {
    "best_model_phot_model0.pt": "8a63036380f5daac127e3490e4a93d675b2efaf16b68a1d94dabf834a5b8da3d",
    "best_model_phys_model0.pt": "d5d53605a50ab663017478487ff5675f47767276e880076e88b79d27499fc997",
    "scaler_phot_model0.pkl": "31324160f2eb63c59b0e40d7ccf9f2ac5d2f9d517e9df592c75f15a77ddeea8e",
    "scaler_phys_model0.pkl": "8b3082381ea190977562577e2b4197057018bc9919bdb7ea000802be6861ede0",
}


def import_c4(
    source: str | os.PathLike[str] | None = None, *, allow_other: bool = False
) -> tuple[NetworkSelection, PhotometricNetwork]:
    """The physical and the photometric C-4 network of NGC 628 (Tang et al., arXiv:2604.05291).

    **Arguments:**

    - `source`: a folder with the four checkpoint files (or the unpacked package), the package's
      wheel, or `None` for the installed package, which is located but not imported.
    - `allow_other`: accept files whose SHA-256 is not that of release 0.1.0.

    The physical network was trained on *linear* mass and age; the operator takes logs like any
    other. Its domain is the box of the training draw, log_mass 2 to 7, log_age 5 to 10.18, a_v 0 to
    3; below about 10^3.3 M_sun and above p = 0.94 its values are artefacts of that input scale (see
    docs/explain/selection.md). The photometric network takes true total apparent Vega magnitudes at
    distance modulus 29.98; its limits are 15 mag, where its training draw ends, and the
    training mean plus 4 standard deviations.

    Raises `FileNotFoundError`, `ValueError` for a wrong checksum or an unexpected architecture, and
    `UnsafePickleError` for a file that names anything else than arrays.

    ```python
    physical, photometric = import_c4("cluster_completeness_pipeline-0.1.0-py3-none-any.whl")
    physical.p_sel(4.0, 7.0, 0.3)
    ```
    """
    read = _reader(source)
    contents = {}
    for name, expected in SHA256.items():
        contents[name] = read(name)
        found = hashlib.sha256(contents[name]).hexdigest()
        if found != expected and not allow_other:
            raise ValueError(
                f"{name} has SHA-256 {found}; expected {expected} of cluster-completeness-pipeline "
                "0.1.0; install that release, or pass allow_other=True for networks of your own"
            )
    physical = NetworkSelection(
        networks=(_network(contents, "phys", 3),),
        domain=DOMAIN,
        inputs="linear",
        learned_for=LEARNED_FOR,
    )
    photometric = _network(contents, "phot", len(BANDS))
    faint = np.asarray(photometric.mean) + _FAINT_SIGMAS * np.asarray(photometric.scale)
    limits = np.stack([np.full(len(BANDS), _BRIGHT_LIMIT), faint], axis=1)
    return physical, PhotometricNetwork(
        networks=(photometric,),
        bands=BANDS,
        limits=limits,
        distance_modulus=DISTANCE_MODULUS,
        mag_system="Vega",
        learned_for=LEARNED_FOR,
    )


def _reader(source: str | os.PathLike[str] | None) -> Callable[[str], bytes]:
    if source is None:
        # find_spec of a top-level name does not run the package's code, which would load Torch.
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(
                "the package cluster-completeness-pipeline is not installed; install release 0.1.0 "
                "with pip's --no-deps (its files suffice), or pass its wheel or folder as source"
            )
        return _folder_reader(pathlib.Path(next(iter(spec.submodule_search_locations))))
    path = pathlib.Path(source)
    if path.is_dir():
        return _folder_reader(path)
    if path.is_file() and zipfile.is_zipfile(path):
        return _wheel_reader(path)
    raise FileNotFoundError(
        f"{path} is neither a folder nor a wheel; expected the wheel of "
        "cluster-completeness-pipeline 0.1.0, or a folder with its checkpoints"
    )


def _folder_reader(folder: pathlib.Path) -> Callable[[str], bytes]:
    candidates = (folder, folder / "checkpoints", folder / FOLDER)

    def read(name: str) -> bytes:
        for candidate in candidates:
            if (candidate / name).is_file():
                return (candidate / name).read_bytes()
        raise FileNotFoundError(
            f"{name} is in none of {', '.join(map(str, candidates))}; expected the four files "
            f"{', '.join(SHA256)}"
        )

    return read


def _wheel_reader(wheel: pathlib.Path) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        with zipfile.ZipFile(wheel) as archive:
            try:
                return archive.read(f"{FOLDER}/{name}")
            except KeyError:
                raise FileNotFoundError(
                    f"{wheel} has no {FOLDER}/{name}; expected the wheel of "
                    "cluster-completeness-pipeline 0.1.0"
                ) from None

    return read


def _network(contents: dict[str, bytes], which: str, n_in: int) -> MLP:
    name = f"best_model_{which}_model0.pt"
    checkpoint = read_checkpoint(contents[name], name)
    state: OrderedDict[str, Any] = checkpoint.get("model_state_dict", OrderedDict())
    layers = sorted({int(key.split(".")[1]) for key in state if key.startswith("net.")})
    expected = {f"net.{k}.{part}" for k in layers for part in ("weight", "bias")}
    # GELU layers have no parameters, so the linear ones are every second: 0, 2, 4, …
    if not layers or set(state) != expected or layers != list(range(0, 2 * len(layers), 2)):
        raise ValueError(
            f"{name} holds the parameters {', '.join(map(str, state)) or 'none'}; expected linear "
            "layers net.0, net.2, … with weight and bias, GELU between them"
        )
    scaler_name = f"scaler_{which}_model0.pkl"
    mean, scale = read_scaler(contents[scaler_name], scaler_name)
    network = MLP(
        [state[f"net.{k}.weight"] for k in layers],
        [state[f"net.{k}.bias"] for k in layers],
        mean,
        scale,
    )
    if network.n_in != n_in:
        raise ValueError(f"{name} has {network.n_in} inputs; expected {n_in}")
    return network


@SOURCES.register("c4_physical")
@takes(import_c4)
def _physical(options: Mapping[str, Any], box: Box) -> NetworkSelection:
    return import_c4(**options)[0]
