"""kind = "stamps": a bank of mock clusters, from which networks that find clusters learn."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic
from pydantic_core import core_schema

from starcensus.experiments.schema._base import FILES, BandsFile
from starcensus.experiments.schema._kinds import Without, fields_of
from starcensus.experiments.schema.clusters import ImfTable
from starcensus.experiments.schema.images import PsfTable
from starcensus.simulate import DrawSettings, Kroupa
from starcensus.simulate.images.galaxy import Exposure
from starcensus.simulate.stamps import StampSettings
from starcensus.simulate.stamps.settings import M83

# TOML has no null: these words stand for it.
_NOTHING = {"faintest_mags": "none", "z": "any"}


@dataclasses.dataclass(frozen=True)
class Like:
    """Annotation of a table whose defaults are those of an object, and not of its class.

    **Arguments:**

    - `value`: the object, of a dataclass.
    """

    value: Any

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_before_validator_function(self._filled, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        found = dict(handler.resolve_ref_schema(handler(schema)))
        own = fields_of(self.value)
        properties = {k: {**v, "default": own[k]} for k, v in found["properties"].items()}
        return {**found, "properties": properties}

    def _filled(self, value: object) -> object:
        return {**fields_of(self.value), **value} if isinstance(value, Mapping) else value


@dataclasses.dataclass(frozen=True)
class _Stamps(Without):
    """Annotation of [stamps], whose bands the file says beside it."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        found = super().__get_pydantic_json_schema__(schema, handler)
        properties = dict(found["properties"])
        for name, word in _NOTHING.items():
            item = properties[name]
            held = {k: v for k, v in item.items() if k not in ("default", "description")}
            number = {"anyOf": [*held.get("anyOf", [held]), {"const": word}]}
            words = f'{item["description"]} Here "{word}" stands for None.'
            properties[name] = {**number, "default": item["default"], "description": words}
        return {**found, "properties": properties}

    def _check(self, value: object) -> object:
        table = super()._check(value)
        if not isinstance(table, Mapping):
            return table
        given = {k: None if v == _NOTHING.get(k) else v for k, v in table.items()}
        if isinstance(cuts := given.get("faintest_mags"), list | tuple):
            given["faintest_mags"] = [math.inf if cut is None else cut for cut in cuts]
            # The cuts are checked against the file's own bands when all of it is known.
            given["exposures"] = [_any_band(k) for k in range(len(cuts))]
        return given

    def _dump(self, value: StampSettings, dump: Any) -> Any:
        found = {k: v for k, v in fields_of(value).items() if k not in self.names}
        found |= {k: word for k, word in _NOTHING.items() if found[k] is None}
        if value.faintest_mags is not None:
            # JSON has no infinity.
            cuts = [cut if math.isfinite(cut) else None for cut in value.faintest_mags]
            found["faintest_mags"] = cuts
        return found


def _any_band(number: int) -> dict[str, Any]:
    return {"band": str(number), "exposure_s": 1.0, "zero_point": 0.0, "sky": 0.0}


_DRAW = StampSettings().draw


@FILES.register("stamps")
class StampsFile(BandsFile):
    """Mock clusters in noiseless stamps, to be put on backgrounds and learned from.

    **Arguments:**

    - `n`: number of mocks.
    - `stamps`: which clusters, and how a stamp sees them.
    - `exposures`: the bands, with exposure times and zero points, by default M83's. Skies and read
      noise do not enter noiseless stamps.
    - `grid`: stellar grid: a file, or a grid that the package carries: `default`, of solar
      metallicity in bands of HST, `lmc` and `lmc-padova`, of the LMC (docs/explain/stars.md).
    - `imf`: of the stars. `draw`: rules of drawing clusters, and their gas.
    - `psf`: by band; by default the embedded models.
    """

    n: int = 50_000
    stamps: Annotated[StampSettings, _Stamps(("exposures", "grid", "imf", "draw"))] = (
        StampSettings()
    )
    exposures: Annotated[tuple[Exposure, ...], pydantic.Field(min_length=1)] = M83
    grid: str = "default"
    imf: ImfTable = Kroupa()
    draw: Annotated[DrawSettings, Like(_DRAW)] = pydantic.Field(default_factory=lambda: _DRAW)
    psf: dict[str, PsfTable] = pydantic.Field({})

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "StampsFile":
        names = self.stamp_settings().bands
        if unknown := [band for band in self.psf if band not in names]:
            raise ValueError(f"psf: no band {', '.join(unknown)}; there are {', '.join(names)}")
        return self

    def stamp_settings(self, grid: str | None = None) -> StampSettings:
        """All tables as one; `grid` is the path of the stellar grid, None for the carried one."""
        return dataclasses.replace(
            self.stamps, exposures=self.exposures, grid=grid, imf=self.imf, draw=self.draw
        )
