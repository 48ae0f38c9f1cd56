"""Random numbers of row i, from a seed and i alone.

Philox (Salmon+11) is a generator that can be read at any position, so that rows may be made in any
pieces and in any order. Row i takes block i of the stream of its purpose; the key of each stream is
hashed from the seed.
"""

import numpy as np
from jaxtyping import Float, UInt64

# Which stream of random numbers serves what.
SEEDS, THETA, RADIUS, SOBOL, SUBSET, EXTINCTION = range(6)


def key_of(seed: int, stream: int) -> UInt64[np.ndarray, "2"]:
    return np.random.SeedSequence([seed, stream]).generate_state(2, np.uint64)


def words(seed: int, stream: int, start: int, stop: int) -> UInt64[np.ndarray, "n 4"]:
    """Block i of a stream for each row i: four words."""
    generator = np.random.Philox(key=key_of(seed, stream), counter=start)
    return np.asarray(generator.random_raw(4 * (stop - start)), np.uint64).reshape(-1, 4)


def uniform(words: UInt64[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Numbers strictly between 0 and 1."""
    return ((words >> np.uint64(12)).astype(float) + 0.5) * 2.0**-52


def sobol(seed: int, start: int, stop: int) -> Float[np.ndarray, "n 3"]:
    """Points start to stop of a scrambled Sobol sequence (Owen 1998, J. Complexity 14, 466): each
    is uniform, and any run of them is more even than chance."""
    from scipy.stats import qmc  # slow to import

    # SciPy spawns generators from this one, for which it must know its seed sequence.
    scrambler = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, SOBOL])))
    engine = qmc.Sobol(3, scramble=True, rng=scrambler)
    if start == stop:
        return np.empty((0, 3))
    if start > 0:
        engine.fast_forward(start)
        return engine.random(stop - start)
    # SciPy warns of a first call whose length is not a power of two.
    first = engine.random(1)
    return np.concatenate([first, engine.random(stop - 1)]) if stop > 1 else first
