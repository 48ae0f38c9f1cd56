"""Which clusters of a pool are worth injecting next."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Float

from ...networks.training import checksum
from ...simulate import ClusterLibrary
from ..injection._checksum import columns_sha256
from .design import ChoiceSettings, TransitionDesign
from .features import LearnedOperator, operator_inputs
from .guards import LearningError
from .predict import predict_library


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """Chosen clusters, as `choose_clusters` returns them.

    **Arguments:**

    - `library`: the chosen clusters in the pool's order, with their `inclusion`; what decided it
      is in its meta under `choice`.
    - `design`: rows among those that could be chosen.
    - `p`: `(candidate,)`, the pilot's mean probability of these.
    - `n_pool`, `n_excluded`: clusters of the pool, and those of them that were chosen before.
    """

    library: ClusterLibrary
    design: TransitionDesign
    p: Float[np.ndarray, "candidate"]
    n_pool: int
    n_excluded: int

    def summary(self) -> dict[str, int | float]:
        """Numbers and shares of the chosen and of those that could be chosen, by name.

        An open share is that of clusters of which between 5% and 95% would be catalogued.
        """
        rows, weight = self.design.rows, self.design.weights
        return {
            "n_pool": self.n_pool,
            "n_excluded": self.n_excluded,
            "n_candidates": len(self.p),
            "n_chosen": len(self.library),
            "n_certain": int((self.design.inclusion == 1).sum()),
            "n_effective": float(weight.sum() ** 2 / (weight**2).sum()),
            "candidates.mean_p": float(self.p.mean()),
            "chosen.mean_p": float(self.p[rows].mean()),
            "chosen.weighted_mean_p": float(np.average(self.p[rows], weights=weight)),
            "candidates.open_share": _open_share(self.p),
            "chosen.open_share": _open_share(self.p[rows]),
        }


def choose_clusters(
    pilot: LearnedOperator,
    pool: ClusterLibrary,
    settings: ChoiceSettings,
    exclude: Mapping[str, ClusterLibrary] | None = None,
    progress: Callable[[int, int], None] = lambda done, n: None,
) -> Choice:
    """Choose clusters of a pool where a pilot's networks leave the outcome open.

    `log_density` of the chosen is NaN: the choice depends on light and radius too, so only the
    weights 1 / inclusion undo it. They make the chosen clusters stand for those that could be
    chosen, which are not the excluded ones.

    **Arguments:**

    - `pilot`: two or more networks, whose disagreement says what is not known.
    - `pool`: the clusters to choose from.
    - `settings`: how many, and by what.
    - `exclude`: libraries by name whose clusters, known by their `seed`, are left out.
    - `progress`: called with the number of clusters that the pilot was asked for and of all.

    Raises `LearningError` for a single network, a pool that was chosen itself or has too few
    clusters, libraries that have no seeds or none of the pool's clusters, and where by chance
    nothing was chosen; `ValueError` for a pool without what the pilot takes.

    ```python
    chosen = choose_clusters(learned.operator, library, ChoiceSettings(n=50))
    chosen.library.save("chosen.h5")
    chosen.summary()
    ```
    """
    exclude = {} if exclude is None else exclude
    refuse_single_network(pilot, "the pilot")
    if pool.inclusion is not None:
        raise LearningError(
            "the pool has a column inclusion: its clusters were chosen already; expected the pool "
            "that they are from, and this library among the excluded"
        )
    allowed = _allowed(pool, exclude)
    n_excluded = int((~allowed).sum())
    allowed[: settings.start_row] = False
    candidates = np.flatnonzero(allowed)
    if len(candidates) < settings.n:
        raise LearningError(
            f"{len(candidates)} of the pool's {len(pool)} clusters may be chosen, and n is "
            f"{settings.n}; draw a larger library or choose fewer"
        )
    members = predict_library(pilot, pool.take(candidates), progress)
    design = TransitionDesign.choose(members, settings)
    if not len(design.rows):
        raise LearningError(f"n is {settings.n}: by chance no cluster was chosen; ask for more")
    choice = {
        **dataclasses.asdict(settings),
        "inputs": dataclasses.asdict(operator_inputs(pilot)),
        "pilot_networks_sha256": checksum(pilot.networks),
        "pool_sha256": columns_sha256(pool.columns()),
        "exclude_sha256": [columns_sha256(each.columns()) for each in exclude.values()],
        "n_candidates": len(candidates),
    }
    chosen = dataclasses.replace(
        pool.take(candidates[design.rows]),
        log_density=np.full(len(design.rows), np.nan),
        inclusion=design.inclusion,
        meta={**pool.meta, "choice": choice},
    )
    return Choice(chosen, design, members.mean(axis=0), len(pool), n_excluded)


def refuse_single_network(pilot: LearnedOperator, name: str) -> None:
    """Raises `LearningError` for a pilot of one network."""
    if pilot.n_members < 2:
        raise LearningError(
            f"{name}: holds 1 network; a pilot needs two or more, whose disagreement says what is "
            "not known: train it with n_members of 2 or more"
        )


def _allowed(pool: ClusterLibrary, exclude: Mapping[str, ClusterLibrary]) -> Bool[np.ndarray, "n"]:
    """Which rows of the pool have a seed that none of the libraries has."""
    allowed = np.ones(len(pool), bool)
    for name, used in exclude.items():
        if pool.seed is None or used.seed is None:
            without = "the pool" if pool.seed is None else name
            raise LearningError(
                f"{without}: has no column seed, by which excluded clusters are known again; "
                "expected libraries of starcensus"
            )
        shared = np.isin(pool.seed, used.seed)
        if not shared.any():
            raise LearningError(
                f"{name}: has no cluster of the pool; expected a library that was chosen from it"
            )
        allowed &= ~shared
    return allowed


def _open_share(p: np.ndarray) -> float:
    return float(((p > 0.05) & (p < 0.95)).mean())
