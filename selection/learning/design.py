"""Where to inject next: where the outcome is open and the networks disagree.

What a label teaches about logit p is p(1 − p); where p is 0 or 1 it teaches nothing, and most of a
uniform design lies there. A pilot's ensemble says where; the rows of a large pool of clusters are
then drawn with probabilities that follow it. The loss of a network conditions on its inputs, so a
choice that depends on these alone leaves its target as it was. A choice by anything else has to be
undone by `TransitionDesign.weights`, which is also what turns a mean over the chosen rows into one
over the pool.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from starcensus.settings import check_seed


@dataclasses.dataclass(frozen=True)
class ChoiceSettings:
    """A choice of about `n` rows of a pool.

    **Arguments:**

    - `n`: how many, within chance.
    - `uniform`: share of the draws that every row has alike, so that nothing that the pilot got
      wrong is left unseen; above 0, for a row without a chance cannot be weighted.
    - `disagreement`: weight of the spread of the members beside (p(1 − p))^½.
    - `seed`: seed of the draws.
    - `start_row`: first row of the pool that may be chosen; a pilot may have used those before it.

    Raises `ValueError` for a negative number, none to choose, or no uniform share.

    ```python
    ChoiceSettings(n=20_000, start_row=5_000)
    ```
    """

    n: int
    uniform: float = 0.05
    disagreement: float = 4.0
    seed: int = 0
    start_row: int = 0

    def __post_init__(self) -> None:
        for name, least in {"n": 1, "start_row": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} or more")
        check_seed(self.seed)
        if not (0 < self.uniform <= 1 and self.disagreement >= 0):
            raise ValueError(
                f"uniform is {self.uniform:g} and disagreement {self.disagreement:g}; expected a "
                "share above 0 and up to 1, and a weight of 0 or more"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class TransitionDesign:
    """Rows of a pool, drawn without repeats, and how likely each was.

    **Arguments:**

    - `rows`: `(n,)`, in increasing order.
    - `inclusion`: `(n,)`, the probability with which each of them was chosen.

    ```python
    members = np.random.default_rng(0).uniform(size=(3, 200))
    TransitionDesign.choose(members, ChoiceSettings(n=50)).weights
    ```
    """

    rows: Int[np.ndarray, "n"]
    inclusion: Float[np.ndarray, "n"]

    @classmethod
    def choose(
        cls, members: Float[np.ndarray, "member pool"], settings: ChoiceSettings
    ) -> "TransitionDesign":
        """Choose about `settings.n` rows of the pool (Poisson sampling: each by a draw of its own).

        **Arguments:**

        - `members`: probabilities of each row that may be chosen, by every network of a pilot.

        Raises `ValueError` for fewer than two members, or `n` beyond the pool.
        """
        n_members, pool = members.shape
        if n_members < 2 or settings.n > pool:
            raise ValueError(
                f"got {n_members} networks and a pool of {pool} rows for {settings.n}; expected at "
                "least two networks and a pool that is larger than what is chosen"
            )
        p = members.mean(0)
        score = np.sqrt(p * (1 - p)) + settings.disagreement * members.std(0)
        uniform = settings.uniform
        score = (1 - uniform) * score / max(score.mean(), 1e-300) + uniform
        inclusion = _scaled(score, settings.n)
        rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(2,)))
        rows = np.flatnonzero(rng.random(pool) < inclusion)
        return cls(rows, inclusion[rows])

    @property
    def weights(self) -> Float[np.ndarray, "n"]:
        """1 / inclusion, with mean 1: under these the chosen rows stand for the pool."""
        weights = 1 / self.inclusion
        return weights / weights.mean()


def _scaled(score: Float[np.ndarray, "pool"], n: int) -> Float[np.ndarray, "pool"]:
    """Probabilities in proportion to a score, at most 1, with the sum `n`."""
    certain = np.zeros(len(score), bool)
    while True:
        left = n - certain.sum()
        inclusion = np.where(certain, 1.0, score * left / max(score[~certain].sum(), 1e-300))
        more = (inclusion >= 1) & ~certain
        if not more.any():
            return inclusion
        certain |= more
