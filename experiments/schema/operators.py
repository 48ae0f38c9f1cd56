"""From an experiment's [selections.NAME] to an operator, and from its paths to files."""

import importlib.resources
import pathlib

import numpy as np

from starcensus.experiments.schema.fit import ConfigError, SelectionConfig
from starcensus.selection import (
    AbstractSelection,
    Box,
    ProductSelection,
    RecordedSelection,
    complete,
    operator_from_settings,
    with_acts_on,
    with_outside,
)
from starcensus.selection.catalogue import Catalogue

PACKAGE_PREFIX = "package:"


def find_file(path: str, roots: list[pathlib.Path], what: str) -> pathlib.Path:
    """The file that an experiment names: carried by the package, absolute, or below a root.

    Raises `ConfigError` if there is none, or if several files below one root have that name.
    """
    if path.startswith(PACKAGE_PREFIX):
        name = path.removeprefix(PACKAGE_PREFIX)
        carried = importlib.resources.files("starcensus.experiments") / "data" / name
        found = pathlib.Path(str(carried))
        if not found.is_file():
            raise ConfigError(f"{what}: starcensus carries no file {name!r}")
        return found
    given = pathlib.Path(path)
    if given.is_absolute():
        if given.is_file():
            return given
        raise ConfigError(f"{what}: there is no file {path}")
    for root in roots:
        if (root / given).is_file():
            return root / given
    for root in roots:
        matches = sorted(root.rglob(given.name)) if root.is_dir() else []
        if len(matches) > 1:
            listed = ", ".join(str(m.relative_to(root)) for m in matches)
            raise ConfigError(f"{what}: several files under {root} are called {path}: {listed}")
        if matches:
            return matches[0]
    searched = " or ".join(str(root) for root in roots)
    raise ConfigError(
        f"{what}: no file {path} in {searched}; give the folder that holds it with --data"
    )


def build_selection(
    config: SelectionConfig, box: Box, roots: list[pathlib.Path], catalogue: Catalogue | None
) -> AbstractSelection:
    """The operator of one fit.

    `box`: bounds of the population. `catalogue`: gives the errors of `recorded_limits`.
    """
    operator = _bare(config, box, roots)
    if config.acts_on is not None:
        operator = with_acts_on(operator, config.acts_on)
    if config.recorded_sigma is not None:
        operator = RecordedSelection(with_outside(operator, "zero"), config.recorded_sigma)
    if config.recorded_limits is not None:
        limits = Box.from_dict(config.recorded_limits.model_dump())
        sigma = config.limits_sigma or _median_errors(catalogue)
        kept = RecordedSelection(complete(limits), sigma)
        operator = ProductSelection(operator, with_acts_on(kept, operator.acts_on))
    return operator


def _bare(config: SelectionConfig, box: Box, roots: list[pathlib.Path]) -> AbstractSelection:
    options = dict(config.options)
    if config.path is not None:
        options["path"] = find_file(config.path, roots, "selection")
    return operator_from_settings(config.kind, options, box)


def _median_errors(catalogue: Catalogue | None) -> tuple[float, float, float]:
    if catalogue is None:
        raise ConfigError("recorded_limits needs limits_sigma where there is no catalogue")
    half = (catalogue.theta_high - catalogue.theta_low) / 2
    medians = np.nanmedian(np.where(half > 0, half, np.nan), axis=0)
    if not np.isfinite(medians).all():
        raise ConfigError(
            f"{catalogue.source} has no errors to take for recorded_limits; give limits_sigma"
        )
    return (float(medians[0]), float(medians[1]), float(medians[2]))
