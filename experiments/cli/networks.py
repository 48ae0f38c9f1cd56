"""Command `train`: a network that finds clusters."""

import pathlib
from typing import Annotated

import typer

from starcensus.experiments.cli.terminal import AllowOwn, Data, Out, Set, perform


def train_command(
    finder: Annotated[
        pathlib.Path, typer.Argument(help="Finder file (TOML): bank, \\[images], \\[network].")
    ],
    out: Out,
    settings: Set = None,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Train a network to find clusters; the same command continues an interrupted training."""
    given = tuple(settings or ())
    perform(finder, out, data, allow_own, expected=("finder",), settings=given)
