"""From tables of artificial cluster tests to the posterior of what is catalogued."""

import math
from collections.abc import Mapping

import numpy as np

from starcensus.theta import AXES, Box

from ...networks.cnn.targets import Grid
from ..finder.cells import PARAMETERS
from ..injection import InjectionTable
from ..learning import LearningError, TrainingMarks, facts_of_table
from ..learning.guards import Tables, named_tables
from .density import Progress, train_member
from .inputs import MeasuredInputs
from .learned import LearnedPosterior, grid_of_ranges, truth_places, truths_of
from .settings import PosteriorSettings

# Fewer catalogued injections teach no density.
_LEAST_ROWS = 200
# Ranges of designs are round numbers, and volumes of boxes tell whether these were found.
_ROUND = 0.01
_SAME_VOLUME = 1e-3


def learn_posterior(
    tables: Tables,
    settings: PosteriorSettings = PosteriorSettings(),
    box: Box | None = None,
    progress: Progress = lambda member, epoch, train, validation: None,
) -> LearnedPosterior:
    """Learn what catalogued clusters are from what a pipeline measured of injections.

    The injections must be of a design that is even in θ (`log_uniform` of a library), for the
    posterior is under their distribution, and a fit divides by it. The same tables and settings
    give the same networks.

    **Arguments:**

    - `tables`: artificial clusters of one survey, or several tables by name.
    - `settings`: what the networks take, and their training.
    - `box`: ranges of the design, by default the least ones in hundredths that hold all rows, which
      are the design's where there are thousands of rows.
    - `progress`: called after each epoch with member, epoch and both losses, nats a row.

    Raises `LearningError` for too few catalogued injections, a design that is not even in θ, ranges
    that are not its own, and columns that are not there; `TrainingDiverged` where the loss is no
    number.

    ```python
    few = dataclasses.replace(brief_posterior, n_members=1)
    learn_posterior(bright, few, theta_box).losses
    ```
    """
    named = named_tables(tables)
    table = InjectionTable.concatenate(*named.values())
    caught = table.take(table.catalogued)
    if len(caught) < _LEAST_ROWS:
        raise LearningError(
            f"{len(caught)} of {len(table)} injections are catalogued; a posterior needs "
            f"{_LEAST_ROWS} or more: inject more clusters, or brighter ones"
        )
    grid = _even_ranges(table, box)
    inputs = MeasuredInputs.of_table(table, settings)
    x, at = inputs.of_injections(caught), truth_places(truths_of(caught), grid)
    weight = np.ones(len(caught)) if caught.place_weight is None else caught.place_weight
    members, losses = [], []
    for member in range(settings.n_members):
        net, both = train_member(x, at, weight, settings, member, progress)
        members.append(net)
        losses.append(both)
    return LearnedPosterior(
        inputs,
        tuple(members),
        grid,
        facts_of_table(table, None, tuple(each.sha256() for each in named.values())),
        np.array(losses),
        len(caught),
        TrainingMarks.of(named, table),
    )


def _even_ranges(table: InjectionTable, box: Box | None) -> Grid:
    """Ranges of a design that is even in θ; raises `LearningError` for another."""
    density = table.log_density
    chosen = table.inclusion is not None and not np.isnan(table.inclusion).all()
    if chosen or not np.isfinite(density).all() or np.ptp(density) > 1e-6:
        raise LearningError(
            "the injections are not spread evenly in mass, age and extinction; a posterior "
            'is under their distribution: inject a library with kind = "log_uniform" in [theta]'
        )
    truths: Mapping[str, np.ndarray] = truths_of(table)
    ranges = {
        name: (
            math.floor(round(float(values.min()) / _ROUND, 6)) * _ROUND,
            math.ceil(round(float(values.max()) / _ROUND, 6)) * _ROUND,
        )
        for name, values in ((name, truths[name]) for name in PARAMETERS)
    }
    if box is not None:
        theta = np.stack([truths[name] for name in AXES], axis=1)
        if (outside := ~box.holds(theta)).any():
            raise LearningError(
                f"{int(outside.sum())} of {len(theta)} injections lie outside {box.as_dict()}; "
                "expected the ranges of their design"
            )
        ranges |= {name: (low, high) for name, (low, high) in box.as_dict().items()}
    volume = math.prod(ranges[name][1] - ranges[name][0] for name in AXES)
    expected = math.exp(-float(density[0]))
    if abs(volume / expected - 1) > _SAME_VOLUME:
        said = ", ".join(f"{name} {ranges[name][0]:g} to {ranges[name][1]:g}" for name in AXES)
        raise LearningError(
            f"the injections lie in {said}, a box of {volume:.4g} dex2 mag, and say that their "
            f"design has {expected:.4g}: they are a part of it, too few to reach its ends, or "
            f"these are no multiples of {_ROUND:g}; state the design's ranges (bounds), and take "
            "all of its rows"
        )
    return grid_of_ranges(ranges)
