"""Tables of clusters' masses, ages and extinctions."""

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from starcensus.files import replacing
from starcensus.theta import AXES, AXIS_UNITS

if TYPE_CHECKING:
    from astropy.table import Table


def theta_table(
    ids: np.ndarray,
    by_name: Mapping[str, Float[np.ndarray, "n 3"]],
    effective: Float[np.ndarray, " n"],
    what: str,
) -> "Table":
    """`id`, a column AXIS_NAME for each number and axis of θ, and `n_effective`.

    **Arguments:**

    - `by_name`: the numbers of each cluster. `what`: what `effective` counts.
    """
    from astropy.table import Column, Table

    table = Table({"id": ids})
    for k, axis in enumerate(AXES):
        for name, values in by_name.items():
            words = f"{name} of {axis}, {AXIS_UNITS[axis]}"
            table[f"{axis}_{name}"] = Column(values[:, k], description=words)
    table["n_effective"] = Column(effective, description=what)
    return table


def write_table(table: "Table", path: pathlib.Path, meta: Mapping[str, Any]) -> None:
    """As ECSV, whole or not at all."""
    table.meta = dict(meta)
    with replacing(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
