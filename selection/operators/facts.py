"""What a survey is, as far as selection depends on it, and what an operator was learned for.

One form of facts serves both sides: an operator carries those of the survey that it was learned in,
a catalogue those of the survey that made it. What is not known is None, or empty, and is compared
with nothing.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from starcensus.registry import Registry

from ._fields import build

# Quantiles by which distributions are described, percent.
QUANTILES = (5.0, 16.0, 50.0, 84.0, 95.0)
# What pipelines call their cuts, and how these are said.
LIMITS = {
    "max_absolute_v": "M_V <= {:g}",
    "ci_limit": "CI >= {:g} mag",
    "max_error": "errors <= {:g} mag",
    "min_bands": "in {:g} bands or more",
}
CLASS = "class"
# Facts hold no operators.
_NO_KINDS = Registry[type]("fact of a survey")

Limits = tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class BandFacts:
    """One band of a survey; None for what is not known.

    **Arguments:**

    - `name`: of the band, with or without its camera.
    - `exposure_s`: exposure time, s.
    - `noise_mag`: Vega magnitude of the rms noise of a pixel: the depth.
    - `psf_sha256`: checksum of the PSF. `psf_fwhm_arcsec`: its width at half of its peak, arcsec.

    ```python
    BandFacts("ACS_F555W", exposure_s=858.0, noise_mag=30.1)
    ```
    """

    name: str
    exposure_s: float | None = None
    noise_mag: float | None = None
    psf_sha256: str | None = None
    psf_fwhm_arcsec: float | None = None


@dataclasses.dataclass(frozen=True)
class SurveyFacts:
    """A survey of one field, as an operator carries it (`learned_for`) or a catalogue.

    **Arguments:**

    - `field`: name of the galaxy or pointing.
    - `distance_modulus`: mag.
    - `bands`: the bands, with their depth and PSF.
    - `radius_pc`, `sky`: half-light radii of clusters (pc) and local skies in V (electrons/s/pixel)
      where they lie, each as its quantiles `QUANTILES`.
    - `pipeline`: what the pipeline says of itself, JSON, its cuts among it.
    - `limits`: cuts on what the pipeline gave, by the names of `LIMITS`; each class that was kept
      is a `"class"`.
    - `frame_sha256`: checksum of the images. `tables_sha256`: of the tables that were learned from.

    ```python
    SurveyFacts("NGC 628-C", 29.98, (BandFacts("ACS_F555W"),), radius_pc=(1.0, 2.0, 5.0, 9.0, 10.0))
    ```
    """

    field: str | None = None
    distance_modulus: float | None = None
    bands: tuple[BandFacts, ...] = ()
    radius_pc: tuple[float, ...] = ()
    sky: tuple[float, ...] = ()
    pipeline: str | None = None
    limits: Limits = ()
    frame_sha256: str | None = None
    tables_sha256: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("radius_pc", "sky"):
            values = getattr(self, name)
            if values and len(values) != len(QUANTILES):
                raise ValueError(
                    f"{name} is {values}; expected the quantiles {QUANTILES} percent, or nothing"
                )

    @classmethod
    def read(cls, stored: object) -> "SurveyFacts":
        """From what `json` gave; raises `ValueError` for what does not fit.

        ```python
        SurveyFacts.read(SurveyFacts("NGC 628-C").json()).field
        ```
        """
        if not isinstance(stored, Mapping):
            raise ValueError(f"facts of a survey are {stored!r}; expected a table of them")
        return build(cls, stored, _NO_KINDS)

    def json(self) -> dict[str, Any]:
        """All that is known, JSON-ready."""
        known = {k: v for k, v in dataclasses.asdict(self).items() if v not in (None, ())}
        if "bands" in known:
            known["bands"] = [
                {k: v for k, v in band.items() if v is not None} for band in known["bands"]
            ]
        return known

    @property
    def settings(self) -> dict[str, Any]:
        """The pipeline's settings; empty where nothing is known of it."""
        return {} if self.pipeline is None else json.loads(self.pipeline)

    @property
    def pipeline_limits(self) -> Limits:
        """Cuts of the pipeline itself, by the names of `LIMITS`."""
        said = self.settings
        return tuple((name, float(said[name])) for name in LIMITS if name in said)


def facts_of_meta(meta: Mapping[str, Any]) -> SurveyFacts:
    """Facts of the survey of an injection table, by the table's `meta`.

    Tables since version 0.2 have them under `survey`; others say bands, distance, pipeline and
    checksums of frame and PSFs.

    ```python
    facts_of_meta({"bands": ["ACS_F555W"], "distance_modulus": 29.98}).distance_modulus
    ```
    """
    if "survey" in meta:
        return SurveyFacts.read(meta["survey"])
    psfs = dict(dict(meta.get("templates", {})).get("psf_sha256", {}))
    modulus, pipeline = meta.get("distance_modulus"), meta.get("pipeline")
    return SurveyFacts(
        distance_modulus=None if modulus is None else float(modulus),
        bands=tuple(BandFacts(name, psf_sha256=psfs.get(name)) for name in meta.get("bands", ())),
        pipeline=None if pipeline is None else pipeline_text(pipeline),
        frame_sha256=meta.get("frame_sha256"),
    )


def pipeline_text(said: Mapping[str, Any]) -> str:
    """What a pipeline says of itself, in one form."""
    return json.dumps(said, sort_keys=True)


def quantiles(
    values: Float[np.ndarray, "n"], weights: Float[np.ndarray, "n"] | None = None
) -> tuple[float, ...]:
    """The `QUANTILES` of finite values; empty where there are none.

    ```python
    quantiles(table.background)
    ```
    """
    good = np.isfinite(values)
    if not good.any():
        return ()
    of, shares = values[good], np.array(QUANTILES) / 100
    if weights is None:
        found = np.quantile(of, shares)
    else:
        found = np.quantile(of, shares, weights=weights[good], method="inverted_cdf")
    return tuple(float(value) for value in found)


def learned_facts(operator: object) -> tuple[SurveyFacts, ...]:
    """The surveys that an operator, or the operators that it is made of, were learned in.

    ```python
    learned_facts(load_selection("operator.h5"))  # () for one that was not learned
    ```
    """
    own = getattr(operator, "learned_for", None)
    if isinstance(own, SurveyFacts):
        return (own,)
    if not dataclasses.is_dataclass(operator):
        return ()
    parts = (getattr(operator, field.name, None) for field in dataclasses.fields(operator))
    found = (learned_facts(part) for part in parts if hasattr(part, "p_sel"))
    return tuple(dict.fromkeys(facts for each in found for facts in each))
