"""What a network of the selection sees of an injection."""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float

from starcensus.settings import check_choices

from ..injection import InjectionTable
from ..operators.network import NetworkSelection
from ..operators.nuisance import BACKGROUND, R_EFF
from ..operators.photometric import PhotometricNetwork

LearnedOperator = NetworkSelection | PhotometricNetwork

# A sky-subtracted mosaic has skies below zero; electrons/s/pixel.
_FAINTEST_SKY = 1e-4


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Which properties a network takes.

    **Arguments:**

    - `kind`: `"physical"` for log_mass, log_age and a_v; `"photometric"` for the true apparent
      magnitudes in the bands of the table.
    - `r_eff`: also log10 of the half-light radius, pc.
    - `background`: also log10 of the local sky, electrons/s/pixel.
    - `masked`: photometric; bands may be missing.

    Raises `ValueError` for another kind, or a mask of physical properties.

    ```python
    Inputs("physical", r_eff=True).nuisances  # ("log_r_eff_pc",)
    ```
    """

    kind: Literal["physical", "photometric"] = "physical"
    r_eff: bool = False
    background: bool = False
    masked: bool = False

    def __post_init__(self) -> None:
        check_choices(self)
        if self.masked and self.kind == "physical":
            raise ValueError("masked is for magnitudes; the physical properties are all there")

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Names of the further properties, in the order of the network's inputs."""
        return (R_EFF,) * self.r_eff + (BACKGROUND,) * self.background


def nuisance_columns(table: InjectionTable, names: tuple[str, ...]) -> Float[np.ndarray, "n k"]:
    """The nuisance properties of each injection, `(n, property)`."""
    columns = {
        R_EFF: lambda: np.log10(table.r_eff_pc),
        BACKGROUND: lambda: np.log10(np.maximum(table.background, _FAINTEST_SKY)),
    }
    each = [columns[name]() for name in names]
    return np.stack(each, axis=1) if each else np.empty((len(table), 0))


def magnitude_limits(table: InjectionTable) -> Float[np.ndarray, "band 2"]:
    """Brightest and faintest finite magnitude in each band, `(band, 2)`.

    Raises `ValueError` for a band in which no cluster gives light.

    ```python
    magnitude_limits(table)
    ```
    """
    finite = np.isfinite(table.true_mags)
    if not finite.any(axis=0).all():
        dark = table.bands[int(np.argmin(finite.any(axis=0)))]
        raise ValueError(f"no cluster of the table gives light in {dark}; leave the band out")
    low = np.where(finite, table.true_mags, np.inf).min(axis=0)
    high = np.where(finite, table.true_mags, -np.inf).max(axis=0)
    return np.stack([low, high], axis=1)


def features(
    table: InjectionTable,
    inputs: Inputs,
    limits: Float[np.ndarray, "band 2"] | None = None,
) -> Float[np.ndarray, "n k"]:
    """The inputs `(n, property)` of each row, in the order that the operators expect.

    **Arguments:**

    - `table`: the injections.
    - `inputs`: which properties.
    - `limits`: `(band, 2)`, mag; magnitudes are clipped to these, by default to `magnitude_limits`.

    A mask, if there is one, is all ones.

    ```python
    features(table, Inputs("photometric", r_eff=True)).shape
    ```
    """
    more = nuisance_columns(table, inputs.nuisances)
    if inputs.kind == "physical":
        return np.column_stack([table.log_mass, table.log_age, table.a_v, more])
    limits = magnitude_limits(table) if limits is None else limits
    mags = np.clip(table.true_mags, *limits.T)
    mask = np.ones((len(table), len(table.bands) * inputs.masked))
    return np.column_stack([mags, more, mask])


def operator_inputs(operator: LearnedOperator) -> Inputs:
    """What an operator's networks were trained on.

    ```python
    operator_inputs(learned.operator)
    ```
    """
    names = () if operator.nuisance is None else operator.nuisance.names
    return Inputs(
        "photometric" if isinstance(operator, PhotometricNetwork) else "physical",
        r_eff=R_EFF in names,
        background=BACKGROUND in names,
        masked=isinstance(operator, PhotometricNetwork) and operator.masked,
    )


def n_informative(operator: LearnedOperator) -> int:
    """Leading columns of `features` that differ between clusters, not between their places."""
    first = len(operator.bands) if isinstance(operator, PhotometricNetwork) else 3
    names = () if operator.nuisance is None else operator.nuisance.names
    return first + (R_EFF in names)
