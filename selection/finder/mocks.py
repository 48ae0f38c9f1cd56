"""What a network says of mocks that it was not taught."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float

from ...networks import ConvNetwork
from ...networks.cnn.targets import Grid
from ...simulate.stamps import Backgrounds, ComposeSettings, StampBank, compose
from ...simulate.stamps.compose import Batch
from .maps import Said

# Of a seed's random streams those below are training's, validation's and calibration's.
_TEST = 3
_CHUNK = 500


@dataclasses.dataclass(frozen=True, eq=False)
class AnsweredMocks:
    """What a network says of mocks, and the truth.

    **Arguments:**

    - `said`: posteriors. `true`: by parameter, `(n,)`. `visibility`: `(n,)`, true.
    """

    said: Said
    true: Mapping[str, Float[np.ndarray, "n"]]
    visibility: Float[np.ndarray, "n"]


def answer_mocks(
    network: ConvNetwork,
    grid: Grid,
    bank: StampBank,
    backgrounds: Backgrounds,
    seed: int,
    jitter: float = 0.0,
) -> AnsweredMocks:
    """Each mock of a bank once, on backgrounds, as a network sees it; in the bank's order.

    **Arguments:**

    - `network`, `grid`: the network and its bins. `bank`: the mocks.
    - `backgrounds`: of one split. `seed`: of places and noise.
    - `jitter`: of the backgrounds' calibration, as of `ComposeSettings`.

    ```python
    like = dataclasses.replace(StampSettings().like(frame), size_pix=16)
    run_stamps(like, 4, 1, "bank.h5", psfs=psfs)
    choice = BackgroundSettings(n=(20, 5, 5), size_pix=16, block_pix=32, guard_pix=4)
    test = cut_backgrounds(frame, choice, seed=1).of("test")
    scales = (0.02,) * len(like.bands)
    conv = ConvSettings(like.bands, scales, stages=(((3, 4),), ((3, 8),)), box_pix=9)
    network = ConvNetwork(conv, {n: np.zeros(s) for n, s in conv.shapes().items()})
    answer_mocks(network, grid_of(like), StampBank.load("bank.h5"), test, 1).said.answers.points()
    ```
    """
    parts, rows, visibility = [], [], []
    for start, made in composed(bank, backgrounds, seed, jitter):
        parts.append(Said.of_logits(network(made.images), grid))
        rows.append(start + made.cluster)
        visibility.append(made.visibility)
    order = np.argsort(np.concatenate(rows))
    true = {name: bank[name] for name in ("log_age", "a_v", "log_mass")}
    return AnsweredMocks(
        Said.concatenated(parts).take(order),
        true | {"log_r_eff_pc": np.log10(bank["r_h_pc"])},
        np.concatenate(visibility)[order],
    )


def composed(
    bank: StampBank, backgrounds: Backgrounds, seed: int, jitter: float = 0.0
) -> Iterator[tuple[int, Batch]]:
    """Each mock of a bank once, in parts: the first row of the part, to which its batch counts.

    **Arguments:** as of `answer_mocks`.

    ```python
    like = dataclasses.replace(StampSettings().like(frame), size_pix=16)
    run_stamps(like, 4, 1, "bank.h5", psfs=psfs)
    choice = BackgroundSettings(n=(20, 5, 5), size_pix=16, block_pix=32, guard_pix=4)
    test = cut_backgrounds(frame, choice, seed=1).of("test")
    [len(batch) for _, batch in composed(StampBank.load("bank.h5"), test, 1)]  # [4]
    ```
    """
    for start in range(0, len(bank), _CHUNK):
        part = bank.take(slice(start, start + _CHUNK))
        (state,) = np.random.SeedSequence([seed, _TEST, start]).generate_state(1, np.uint64)
        sizes = ComposeSettings(0, len(part), jitter=jitter)
        yield start, compose(part, backgrounds, int(state >> 2), 0, sizes)
