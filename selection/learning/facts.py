"""What is known of the survey in which artificial clusters were injected."""

import dataclasses

import numpy as np

from ..injection import InjectionTable
from ..operators.facts import QUANTILES, SurveyFacts, facts_of_meta, quantiles
from ..operators.nuisance import R_EFF, Nuisance
from .guards import pool_weight


def facts_of_table(
    table: InjectionTable, nuisance: Nuisance | None = None, tables_sha256: tuple[str, ...] = ()
) -> SurveyFacts:
    """Facts of a table's survey, with the radii and local skies of its clusters.

    **Arguments:**

    - `table`: the injections; their `meta` names bands, distance, pipeline and images.
    - `nuisance`: what an operator averages over: its radii stand for the table's.
    - `tables_sha256`: checksums of the tables that were joined.

    ```python
    facts_of_table(table).sky
    ```
    """
    weights = pool_weight(table)
    radii = quantiles(table.r_eff_pc, weights)
    if nuisance is not None and R_EFF in nuisance.names:
        radii = averaged_radii(nuisance)
    return dataclasses.replace(
        facts_of_meta(table.meta),
        radius_pc=radii,
        sky=quantiles(table.background, weights),
        tables_sha256=tables_sha256,
    )


def averaged_radii(nuisance: Nuisance | None) -> tuple[float, ...]:
    """Quantiles of the radii that an operator averages over, pc.

    Empty where it averages over none, or over radii that follow from the mass.

    ```python
    averaged_radii(learned.operator.nuisance)
    ```
    """
    if nuisance is None or R_EFF not in nuisance.names or nuisance.mass_radius is not None:
        return ()
    values = 10 ** np.asarray(nuisance.values)[:, nuisance.names.index(R_EFF)]
    weights = np.asarray(nuisance.weights, float)
    shares = np.array(QUANTILES) / 100
    found = np.quantile(values, shares, weights=weights, method="inverted_cdf")
    return tuple(float(value) for value in found)
