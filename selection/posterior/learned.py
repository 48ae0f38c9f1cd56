"""A posterior that networks learned from artificial clusters, and its file."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from starcensus.files import FileError, Path
from starcensus.hdf5 import Format, read_array, read_json_attribute
from starcensus.settings import check_seed
from starcensus.theta import AXES, Box

from ...networks.cnn.mixture import Mixtures
from ...networks.cnn.targets import Axis, Grid
from ..agreement import differences, refuse_other_survey
from ..catalogue import Step
from ..finder.answers import Mixed
from ..finder.cells import PARAMETERS
from ..injection import InjectionTable
from ..learning import LearningError, TrainingMarks
from ..operators.facts import SurveyFacts
from ..pipeline.detections import Detections
from .density import Net, outputs
from .inputs import MeasuredInputs, Scores
from .truncated import TruncatedMixtures, places

_CHUNK = 8192
_DITHER_SEED = 7
# Of a catalogue's sources, that may be unlike every injection.
_MOST_UNLIKE = 0.02


class PosteriorFileError(FileError):
    """A file holds no learned posterior that this version can read."""


FORMAT = Format(
    name="starcensus.LearnedPosterior",
    version=2,
    what="learned posterior",
    remedy='an experiment file of kind = "posterior" makes one',
    error=PosteriorFileError,
)


@dataclasses.dataclass(frozen=True, eq=False)
class ThetaDraws:
    """Draws from the posterior of each catalogued source under an even prior.

    **Arguments:**

    - `ids`: `(n,)`, of the detections. `theta`: `(n, draw, 3)`, log10 M_sun, log10 yr, mag.
    - `log_r_eff_pc`: `(n, draw)`. `box`: where the prior of θ is not zero.
    - `learned_for`: the survey. `cuts`: what was left out.
    """

    ids: np.ndarray
    theta: Float[np.ndarray, "n draw 3"]
    log_r_eff_pc: Float[np.ndarray, "n draw"]
    box: Box
    learned_for: SurveyFacts
    cuts: tuple[Step, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class LearnedPosterior:
    """p(θ, r | what is measured, catalogued) under a prior that is even in θ.

    Networks learned it from the injections that a pipeline catalogued, so whatever the pipeline
    does to a cluster is in it: where its peak comes to lie, what its neighbours do, and which
    estimates of θ it gives, right or wrong. The prior of the half-light radius r is that of the
    injections. Divided by its prior it is the likelihood p(measured, catalogued | θ) up to a
    constant, so that an operator beside it acts on the data.

    **Arguments:**

    - `inputs`: what the networks take. `members`: their parameters, in single precision.
    - `grid`: its ranges of θ and r are those of the injections.
    - `learned_for`: the survey. `losses`: training and validation, nats a row, of each member.
    - `n_rows`: catalogued injections that it was learned from. `marks`: by which they are known.

    ```python
    some = found.take(found.catalogued)
    posterior.answers(posterior.inputs.of_detections(some, "here")).points()
    ```
    """

    inputs: MeasuredInputs
    members: tuple[Net, ...]
    grid: Grid
    learned_for: SurveyFacts
    losses: Float[np.ndarray, "member 2"]
    n_rows: int
    marks: TrainingMarks

    @property
    def box(self) -> Box:
        """Where the prior of θ is not zero."""
        return Box(*((axis.low, axis.high) for axis in (getattr(self.grid, n) for n in AXES)))

    def mixtures(self, x: Float[np.ndarray, "n k"]) -> Mixtures:
        """Of each row of inputs, averaged over the networks."""
        each = []
        for member in self.members:
            parts = [
                np.asarray(outputs(member, jnp.asarray(x[i : i + _CHUNK], jnp.float32)))
                for i in range(0, max(len(x), 1), _CHUNK)
            ]
            each.append(np.concatenate(parts))
        n, m = len(x), len(each)
        # The networks of a row one after another.
        stacked = np.stack(each, axis=1).reshape(n * m, -1)
        return TruncatedMixtures.of_outputs(stacked, self.grid).blended(np.full((n, m), 1 / m))

    def answers(self, x: Float[np.ndarray, "n k"], n_samples: int = 999, seed: int = 0) -> Mixed:
        """The posteriors of rows of inputs, by what is asked of answers."""
        return Mixed(self.mixtures(x), self.grid, n_samples, seed)

    def of_injections(self, table: InjectionTable) -> tuple[Mixed, dict[str, np.ndarray]]:
        """Posteriors of a table's catalogued injections, and their truths.

        Raises `LearningError` for a table that it was learned from, in whole or in part.

        ```python
        others = dataclasses.replace(bright, log_mass=bright.log_mass - 1e-9)
        answers, truths = posterior.of_injections(others)
        answers.log_score(answers.check(truths)).mean()
        ```
        """
        self.marks.refuse({"the table": table}, "the posterior")
        some = table.take(table.catalogued)
        return self.answers(self.inputs.of_injections(some)), truths_of(some)

    def draw(
        self,
        found: Detections,
        n_draws: int = 1000,
        seed: int = 0,
        accept: tuple[str, ...] = (),
        source: str = "the detections",
        leave_out: bool = False,
    ) -> ThetaDraws:
        """Draws for the sources that a pipeline catalogued.

        **Arguments:**

        - `found`: what the pipeline with which it was learned found.
        - `n_draws`: of each source. `seed`: of the draws.
        - `accept`: in what the survey may differ, as for operators. `source`: for messages.
        - `leave_out`: sources that lack a number that every catalogued injection had, which the
          operator does not expect; one in fifty at most.

        Raises `OtherSurveyError` for detections of another survey, and `LearningError` for
        detections without the columns that it was learned with, or none that is catalogued, and for
        sources that lack such a number, too many of them with `leave_out`.

        ```python
        posterior.draw(found, 200, accept=("pipeline",)).theta.shape
        ```
        """
        check_seed(seed)
        if n_draws < 1:
            raise ValueError(f"n_draws is {n_draws}; expected 1 or more")
        refuse_other_survey(differences(self.learned_for, found.facts, source), accept, source)
        some, cuts = found.take(found.catalogued), ()
        unlike = self.inputs.unlike_injections(some)
        if leave_out and unlike:
            rows = np.logical_or.reduce(list(unlike.values()))
            reason = f"without {', '.join(unlike)}, which every catalogued injection had"
            if rows.sum() > _MOST_UNLIKE * len(some):
                raise LearningError(
                    f"{source}: {int(rows.sum())} of {len(some)} sources are {reason}; the "
                    "injections do not describe this catalogue"
                )
            cuts = (Step("like the injections", len(some), int((~rows).sum()), reason),)
            some = some.take(~rows)
        drawn = self.answers(self.inputs.of_detections(some, source), n_draws, seed).draws
        theta = np.stack([drawn[..., PARAMETERS.index(name)] for name in AXES], axis=-1)
        low, high = (np.array(ends) for ends in zip(*self._ranges, strict=True))
        radius = drawn[..., PARAMETERS.index("log_r_eff_pc")]
        return ThetaDraws(
            np.asarray(some.ids),
            np.clip(theta, low, high),
            radius,
            self.box,
            self.learned_for,
            cuts,
        )

    @property
    def _ranges(self) -> list[tuple[float, float]]:
        return [(axis.low, axis.high) for axis in (getattr(self.grid, name) for name in AXES)]

    def save(self, path: Path, facts: Mapping[str, Any] | None = None) -> None:
        """Write it as HDF5, in one step; `facts` are JSON-ready, of where it comes from."""
        about = {
            "inputs": {name: bool(s.has_gaps) for name, s in self.inputs.scores.items()},
            "ranges": {
                name: [axis.low, axis.high]
                for name, axis in zip(PARAMETERS, self.grid.continuous, strict=True)
            },
            "learned_for": self.learned_for.json(),
            "marks": self.marks.facts(),
            "n_rows": self.n_rows,
            "n_members": len(self.members),
            "n_layers": len(self.members[0].weights),
            "facts": dict(facts or {}),
        }
        with FORMAT.create(path) as file:
            file.attrs["about"] = json.dumps(about, sort_keys=True)
            # JSON keeps no order of keys that are sorted.
            file.attrs["names"] = json.dumps(list(self.inputs.names))
            file["losses"] = self.losses
            for name, scores in self.inputs.scores.items():
                file[f"scores/{name}/knots"] = scores.knots
                file[f"scores/{name}/scores"] = scores.scores
            for i, member in enumerate(self.members):
                for layer, (w, b) in enumerate(zip(member.weights, member.biases, strict=True)):
                    file[f"members/{i}/weight_{layer}"] = np.asarray(w, np.float32)
                    file[f"members/{i}/bias_{layer}"] = np.asarray(b, np.float32)

    @classmethod
    def load(cls, path: Path) -> "LearnedPosterior":
        """Read what `save` wrote; raises `PosteriorFileError` for another file, or a damaged one.

        ```python
        posterior.save("posterior.h5")
        LearnedPosterior.load("posterior.h5").n_rows == posterior.n_rows
        ```
        """
        with FORMAT.open(path) as file:
            if file.attrs["version"] != FORMAT.version:
                raise PosteriorFileError(
                    f"{path}: has version {file.attrs['version']} of learned posteriors, whose "
                    f"densities were others; expected {FORMAT.version}: {FORMAT.remedy}"
                )
            about: dict[str, Any] = read_json_attribute(file, "about")
            names = read_json_attribute(file, "names")
            try:
                scores = {
                    name: Scores(
                        read_array(file, f"scores/{name}/knots"),
                        read_array(file, f"scores/{name}/scores"),
                        bool(about["inputs"][name]),
                    )
                    for name in names
                }
                members = tuple(
                    Net(
                        *(
                            tuple(
                                read_array(file, f"members/{i}/{what}_{layer}")
                                for layer in range(about["n_layers"])
                            )
                            for what in ("weight", "bias")
                        )
                    )
                    for i in range(about["n_members"])
                )
                return cls(
                    MeasuredInputs(scores),
                    members,
                    grid_of_ranges({k: tuple(v) for k, v in about["ranges"].items()}),
                    SurveyFacts.read(about["learned_for"]),
                    read_array(file, "losses"),
                    int(about["n_rows"]),
                    TrainingMarks.from_facts(about["marks"]),
                )
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, FileError):
                    raise
                raise PosteriorFileError(f"{path}: {error}; {FORMAT.remedy}") from error


def grid_of_ranges(ranges: Mapping[str, tuple[float, float]]) -> Grid:
    """A grid with these ranges of the four parameters, and the usual numbers of bins."""
    usual = dict(zip(PARAMETERS, Grid().continuous, strict=True))
    axes = {
        name: Axis(float(low), float(high), usual[name].n_bins)
        for name, (low, high) in ranges.items()
    }
    return Grid(**axes)


def truths_of(table: InjectionTable) -> dict[str, Float[np.ndarray, "n"]]:
    """Age, extinction, mass and radius of the rows, by the names of `PARAMETERS`.

    Few templates stand for all radii: where rows share theirs, each is anywhere between the middles
    to its neighbours, so that no density runs up to one of them.
    """
    log_r = np.log10(table.r_eff_pc)
    known, which = np.unique(log_r, return_inverse=True)
    if 1 < len(known) < len(log_r) / 2:
        middles = (known[1:] + known[:-1]) / 2
        low, high = (np.concatenate(ends) for ends in ((known[:1], middles), (middles, known[-1:])))
        share = np.random.default_rng(_DITHER_SEED).random(len(log_r))
        log_r = low[which] + share * (high - low)[which]
    return {
        "log_age": table.log_age,
        "a_v": table.a_v,
        "log_mass": table.log_mass,
        "log_r_eff_pc": log_r,
    }


def truth_places(
    truths: Mapping[str, Float[np.ndarray, "n"]], grid: Grid
) -> Float[np.ndarray, "n 4"]:
    """Parameters as `TruncatedMixtures` has them."""
    low, high = (np.array([getattr(a, end) for a in grid.continuous]) for end in ("low", "high"))
    return places(np.stack([truths[name] for name in PARAMETERS], axis=1), low, high)
