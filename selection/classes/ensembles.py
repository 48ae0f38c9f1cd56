"""One class from the votes of several networks (Whitmore et al. 2021, section 2 and appendix A)."""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from ..pipeline.phangs.votes import mode_class

Tie = Literal["higher", "lower"]


@dataclasses.dataclass(frozen=True, eq=False)
class EnsembleVote:
    """What networks say of each object, in sum, as `ensemble_vote` returns it.

    **Arguments:**

    - `mode`: `(n,)`, the class that most networks give.
    - `quality`: `(n,)`, share of the networks that give it.
    - `mean`, `median`, `sd`: `(n,)`, of the classes as numbers. `sd` is that of these networks
      (n below), for they are all there are.
    - `tied`: `(n,)`, whether another class has as many votes.
    """

    mode: Int[np.ndarray, "n"]
    quality: Float[np.ndarray, "n"]
    mean: Float[np.ndarray, "n"]
    median: Float[np.ndarray, "n"]
    sd: Float[np.ndarray, "n"]
    tied: Bool[np.ndarray, "n"]


def ensemble_vote(votes: Int[np.ndarray, "n network"], tie: Tie = "higher") -> EnsembleVote:
    """Mode, quality, mean, median and standard deviation of networks' classes.

    **Arguments:**

    - `votes`: `(n, network)`, classes 1 to 4. The networks of two architectures, side by side, are
      one ensemble.
    - `tie`: which of two classes with as many votes is the mode; the paper does not say. `"higher"`
      keeps a doubtful object out of the clusters.

    Raises `ValueError` for a vote that is no class, for no network, and another word for `tie`.

    ```python
    vote = ensemble_vote(np.array([[1, 1, 1, 1, 1, 1, 1, 2, 2, 4]]))
    vote.mode, vote.quality, vote.mean, vote.median  # 1, 0.7, 1.5, 1
    ```
    """
    if tie not in ("higher", "lower"):
        raise ValueError(f"tie is {tie!r}; expected 'higher' or 'lower'")
    mode = mode_class(votes, prefer_high=tie == "higher")
    return EnsembleVote(
        mode=mode,
        quality=(votes == mode[:, None]).mean(1),
        mean=votes.mean(1),
        median=np.median(votes, axis=1),
        sd=votes.std(1),
        tied=mode_class(votes, prefer_high=True) != mode_class(votes, prefer_high=False),
    )


def agreed_by_most(
    first: Int[np.ndarray, "n network"], second: Int[np.ndarray, "n other"], least: int = 7
) -> Bool[np.ndarray, "n"]:
    """Objects that two ensembles put into one class, each by `least` of its networks or more.

    The paper's training set of high quality: seven of ten of both architectures.

    **Arguments:**

    - `first`, `second`: classes 1 to 4 by the networks of each architecture.
    - `least`: networks of each, more than half, so that there is one such class at most.

    Raises `ValueError` for another `least`, and as `ensemble_vote`.

    ```python
    sure, doubtful = [1] * 7 + [2] * 3, [1] * 6 + [2] * 4
    agreed_by_most(np.array([sure, sure]), np.array([sure, doubtful]))  # [True, False]
    ```
    """
    sizes = (first.shape[1], second.shape[1])
    if not max(sizes) < 2 * least <= 2 * min(sizes):
        raise ValueError(
            f"least is {least} of {sizes[0]} and {sizes[1]} networks; expected more than half of "
            "each, and no more than there are"
        )
    one, other = mode_class(first), mode_class(second)
    sure = [
        (votes == mode[:, None]).sum(1) >= least for votes, mode in ((first, one), (second, other))
    ]
    return sure[0] & sure[1] & (one == other)
