"""[photometry], [observation] and light's [library]: magnitudes, and what stands behind them."""

import dataclasses
from typing import Annotated, Any, Literal

import pydantic

from starcensus.experiments.schema._base import Strict
from starcensus.experiments.schema._kinds import Kinds, Without
from starcensus.experiments.schema.clusters import ImfTable, MetallicityTable, refuse_two_grids
from starcensus.experiments.schema.observation import refuse_seed
from starcensus.inference.objects import TargetSettings
from starcensus.registry import Registry
from starcensus.selection import About
from starcensus.selection.observation import MeasuredCuts, ObservationSettings
from starcensus.simulate import DrawSettings, Kroupa
from starcensus.theta import Box


def changed(table: Strict, names: set[str]) -> list[str]:
    """Which of some keys have other values than their defaults."""
    fields = type(table).model_fields
    return [name for name in sorted(names) if getattr(table, name) != fields[name].default]


class PhotometryTable(Strict):
    """Which magnitudes of the catalogue are the data.

    **Arguments:**

    - `bands`: in this order; by default all that the catalogue has.
    - `unknown`: what a band without a measurement is where the catalogue does not say why.
    - `min_bands`: clusters that are measured in fewer bands are left out.
    - `whole`: leave out clusters where some band was not observed. The survey is then the area that
      all bands cover, and so is the number of clusters; otherwise `observation.coverage` says how
      large the other parts are.
    """

    bands: tuple[str, ...] | None = None
    unknown: Literal["refuse", "not observed", "not detected"] = "refuse"
    min_bands: int = 1
    whole: bool = False


@dataclasses.dataclass(frozen=True)
class LegusCuts:
    """What LEGUS demands of measured magnitudes, `legus_cuts`.

    **Arguments:**

    - `max_absolute_v`: largest (faintest) measured absolute magnitude in V, Vega mag.
    """

    max_absolute_v: float = -6.0


MEASURED_CUTS = Registry[type]("set of cuts on measured magnitudes")
MEASURED_CUTS.add("measured", MeasuredCuts)
MEASURED_CUTS.add("legus", LegusCuts)


def _by_its_name(value: object) -> object:
    """`cuts = "legus"` stands for `cuts = { kind = "legus" }`."""
    return {"kind": value} if isinstance(value, str) else value


Cuts = Annotated[
    Any, Kinds(MEASURED_CUTS, default="measured"), pydantic.BeforeValidator(_by_its_name)
]


class ObservationTable(Strict):
    """What the survey does to a cluster of given true magnitudes.

    **Arguments:**

    - `kind`: `gaussian`, the quoted errors with a floor, and stated cuts; `file`, a model that was
      learned from artificial clusters, or one of your own, as `save_observation` writes it;
      `injections`, one that the run learns itself, and keeps beside its results.
    - `path`: of the model, for kind `file`.
    - `tables`: injection tables of one survey, joined, for kind `injections`; or
    - `survey`: a survey's file with a [library], whose artificial clusters the run then injects
      itself. `train`: how the model is learned from them, as files of kind `observation` say it.
    - `distance_modulus`: mag, for kind `gaussian`; by default the catalogue's.
    - `floor`: mag, error of each band on top of the quoted one.
    - `common`: mag, standard deviation of a shift that all bands share.
    - `cuts`: what the catalogue demands of its measured magnitudes; `"legus"` is short for the
      table of that kind, `{}` for nothing. Clusters that do not pass are cut, and counted in the
      report. By default nothing, and fits then ask for `selection`: one of the two says which
      clusters are catalogued.
    - `coverage`: each part of the survey as its share of the area and the list of the bands that
      were observed there; by default all bands everywhere.
    - `selection`: operator of true magnitudes for what else decides whether a cluster is
      catalogued: a file, or `c4_photometric`, the published network, from the installed package.
    - `accept`: in what the catalogue may differ from the survey that model or operator was learned
      in, and `"cuts"` for one that was cut by what was measured or by recorded θ in a way that this
      table does not say; the report says what differs.
    - `uncertainty`: of fits, whether what the artificial clusters left open about a learned model
      widens the posterior; it was learned with `n_halves` then. The report says what it does, or
      would do.
    """

    kind: Literal["gaussian", "file", "injections"]
    path: str | None = None
    tables: tuple[str, ...] = ()
    survey: str | None = None
    train: Annotated[ObservationSettings, Without(("seed",))] = ObservationSettings()
    distance_modulus: float | None = None
    floor: float = 0.05
    common: float = 0.0
    cuts: Cuts | None = None
    coverage: tuple[tuple[float, tuple[str, ...]], ...] = ()
    selection: str | None = None
    accept: tuple[About, ...] = ()
    uncertainty: bool = False

    @pydantic.model_validator(mode="after")
    def _of_its_kind(self) -> "ObservationTable":
        if (self.kind == "file") != (self.path is not None):
            raise ValueError("path goes with kind = 'file', and kind = 'file' needs it")
        self._injections_or_not()
        if self.uncertainty and self.kind == "gaussian":
            raise ValueError(
                "uncertainty is what artificial clusters left open about a model that was learned "
                "from them (kind = 'file' or 'injections'); stated errors have none: leave it out"
            )
        own = {"distance_modulus", "floor", "common", "cuts", "coverage", "selection"}
        wrong = changed(self, own)
        if self.kind != "gaussian" and wrong:
            raise ValueError(
                f"{', '.join(wrong)}: the model of {self.path or 'the injections'} brings its own; "
                "leave them out"
            )
        return self

    def _injections_or_not(self) -> None:
        given = changed(self, {"tables", "survey", "train"})
        if self.kind != "injections":
            if given:
                raise ValueError(
                    f"{', '.join(given)}: of kind = 'injections', and kind is {self.kind!r}; leave "
                    "them out"
                )
            return
        if (self.survey is None) == (not self.tables):
            raise ValueError(
                "kind = 'injections' takes either tables, injection tables (.h5), or survey, the "
                f"file of a survey that makes one; received {'both' if self.tables else 'neither'}"
            )
        refuse_seed(self.train, "train")
        if self.uncertainty and not self.train.n_halves:
            raise ValueError(
                "uncertainty = true, and train.n_halves is 0: learn it with n_halves = 5 or more, "
                "or leave uncertainty out"
            )

    def refuse_unsaid(self, why: str) -> None:
        """Raises `ValueError` if nothing says which clusters the survey catalogues."""
        if self.kind == "gaussian" and self.cuts is None and self.selection is None:
            raise ValueError(
                "observation says nothing of which clusters the survey catalogues, and "
                f"{why}; say it in observation.cuts, such as "
                '"legus" or { max_absolute = { ACS_F555W = -6.0 } }, in observation.selection, or '
                "cuts = {} where it catalogues all"
            )


def refuse_uncertainty(observation: ObservationTable | None, who: str) -> None:
    """Raises `ValueError` where a file asks for what its kind does not count."""
    if observation is not None and observation.uncertainty:
        raise ValueError(
            f"observation.uncertainty = true is of fits of light by simulated clusters; {who} the "
            "observation model as it is: leave it out"
        )


class PoolTable(Strict):
    """Simulated clusters that explain the measured ones: drawn to order, or a library that is.

    **Arguments:**

    - `bounds`: where clusters may be, log10 M_sun, log10 yr, mag; they hold those of every
      population.
    - `path`: of a cluster library (.h5) that was drawn by a design of θ; by default clusters are
      drawn to order, where the catalogue's are, and kept in the folder `library` of the results.
    - `target`: how many are drawn to order, and until when.
    - `min_effective`: a cluster of the catalogue that has fewer effective simulated ones is said
      to be thin; a fit with more than a tenth of these is refused.
    - `leave_out_thin`: leave thin clusters out of the data, and count them in the report; for those
      that stars, dust and errors as assumed cannot explain. By default they are fitted as they are.
    - `z`: mass fraction of metals that the stars must have, if it is to be checked: a grid or a
      library of another is refused.
    - `grid`: stellar grid: a file, or a grid that the package carries: `default`, of solar
      metallicity in bands of HST, `lmc` and `lmc-padova`, of the LMC (docs/explain/stars.md).
    - `metallicity`: grids of several metallicities instead, and which clusters have which: each
      cluster's is then integrated over like its stars.
    - `imf`: initial mass function. `draw`: rules of drawing, and the gas.
    """

    bounds: Box
    path: str | None = None
    target: Annotated[TargetSettings, Without(("seed",))] = TargetSettings()
    min_effective: float = 4.0
    leave_out_thin: bool = False
    z: float | None = None
    grid: str = "default"
    metallicity: MetallicityTable | None = None
    imf: ImfTable = Kroupa()
    draw: DrawSettings = DrawSettings()

    @pydantic.model_validator(mode="after")
    def _drawn_or_given(self) -> "PoolTable":
        drawn = {"target", "grid", "metallicity", "imf", "draw"}
        given = changed(self, drawn)
        if self.path is not None and given:
            raise ValueError(
                f"{', '.join(given)}: say how clusters are drawn, and those of {self.path} are "
                "already; leave out either"
            )
        refuse_two_grids(self.grid, self.metallicity)
        if self.z is not None and self.metallicity is not None:
            raise ValueError(
                f"z is {self.z:g}, and metallicity says what the stars have; leave out either"
            )
        return self
