"""Entries of a catalogue so near one another that they may be one cluster.

Where two fields overlap, or a source was found twice, one cluster stands in a table as two, under
two ids, and a fit counts both. No telescope that made such tables resolves 0.1 arcsec much better.
"""

import dataclasses

import numpy as np

from ._base import Catalogue, Step

_WITHIN_ARCSEC = 0.1
_NAMED, _SHARED = 3, 2


def close_pairs(
    catalogue: Catalogue, within_arcsec: float = _WITHIN_ARCSEC
) -> tuple[tuple[str, str], ...]:
    """Ids of entries nearer to one another than `within_arcsec`, as pairs.

    By the columns `ra` and `dec`, degrees; none without them, and none of places that are NaN or
    that more than two entries share to the last digit.

    ```python
    close_pairs(catalogue)  # () of a catalogue without places
    ```
    """
    from scipy.spatial import KDTree  # slow to load

    ra, dec = (catalogue.columns.get(name) for name in ("ra", "dec"))
    if ra is None or dec is None or ra.dtype.kind not in "iuf" or dec.dtype.kind not in "iuf":
        return ()
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    # A place that more than two share is nobody's.
    _, which, counts = np.unique(
        np.stack([ra[known], dec[known]]), axis=1, return_inverse=True, return_counts=True
    )
    known = known[counts[which.ravel()] <= _SHARED]
    if not known.size:
        return ()
    # On the unit sphere, so that 0h is no edge and poles are no places of their own.
    alpha, delta = np.radians(ra[known]), np.radians(dec[known])
    at = np.stack([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)], 1)
    chord = 2 * np.sin(np.radians(within_arcsec / 3600) / 2)
    found = KDTree(at).query_pairs(chord, output_type="ndarray")
    names = catalogue.ids[known]
    return tuple((str(names[i]), str(names[j])) for i, j in sorted(map(tuple, found.tolist())))


def with_close_pairs(catalogue: Catalogue) -> Catalogue:
    """The same, with a step that names close pairs, if there are any.

    ```python
    with_close_pairs(catalogue).steps
    ```
    """
    pairs = close_pairs(catalogue)
    if not pairs:
        return catalogue
    step = Step("close pairs", len(catalogue), len(catalogue), words_of_pairs(pairs))
    return dataclasses.replace(catalogue, steps=(*catalogue.steps, step))


def among(pairs: tuple[tuple[str, str], ...], ids: np.ndarray) -> tuple[tuple[str, str], ...]:
    """The pairs both of which are among some ids."""
    some = {str(i) for i in ids}
    return tuple(pair for pair in pairs if some.issuperset(pair))


def words_of_pairs(pairs: tuple[tuple[str, str], ...]) -> str:
    """What a report says of close pairs."""
    some = ", ".join(f"{a} and {b}" for a, b in pairs[:_NAMED])
    more = ", …" if len(pairs) > _NAMED else ""
    those = "1 pair lies" if len(pairs) == 1 else f"{len(pairs)} pairs lie"
    return (
        f"{those} within {_WITHIN_ARCSEC:g} arcsec ({some}{more}): if that is one cluster of two "
        "fields, or found twice, it counts twice; leave one out"
    )
