"""Classes from the votes of networks, and the counts that they bracket (section 5).

Classes: 1 symmetric cluster, 2 asymmetric cluster, 3 compact association, 4 star or artefact.
"""

import numpy as np
from jaxtyping import Bool, Float, Int


def mode_class(votes: Int[np.ndarray, "n voter"], prefer_high: bool = True) -> Int[np.ndarray, "n"]:
    """Class that most voters give, of 1 to 4.

    The paper does not say what a tie makes; `prefer_high` takes the higher class, which keeps a
    doubtful object out of the clusters.

    Raises `ValueError` for a vote that is no class, or no voter.
    """
    if votes.shape[1] == 0 or not np.isin(votes, (1, 2, 3, 4)).all():
        raise ValueError(f"votes are classes 1 to 4 of one voter or more; got {np.unique(votes)}")
    counts = np.stack([(votes == each).sum(1) for each in (1, 2, 3, 4)], axis=1)
    if prefer_high:
        return 4 - np.argmax(counts[:, ::-1], axis=1)
    return 1 + np.argmax(counts, axis=1)


def consensus(first: Int[np.ndarray, "n"], second: Int[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """True where two networks agree on a cluster: one says 1 or 2 and none says 4."""
    cluster = np.isin(first, (1, 2)) | np.isin(second, (1, 2))
    return cluster & (first != 4) & (second != 4)


def count_bracket(
    first: Float[np.ndarray, "*n"], second: Float[np.ndarray, "*n"], agreed: Float[np.ndarray, "*n"]
) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n"]]:
    """Mean count of clusters, and its fractional uncertainty.

    `first` and `second` are counts of Class 1 + 2 by the two networks, `agreed` by `consensus`.
    The uncertainty is half of [agreed, max(first, second)] over the mean of the three.
    """
    mean = (first + second + agreed) / 3
    return mean, (np.maximum(first, second) - agreed) / (2 * mean)
