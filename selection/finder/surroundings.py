"""What the surroundings of clusters tell of them, and what a network says where the cluster is not.

Viaña et al. (2026, arXiv:2603.07289) mask clusters in their cut-outs and still predict ages better
than a guess: their networks read the environment, and a fit of populations would count it twice.
"""

import dataclasses

import numpy as np
from jaxtyping import Float
from scipy.special import digamma

from ...networks import ConvNetwork
from ...networks.cnn.targets import Grid
from ...simulate.stamps import Backgrounds, StampBank
from ...simulate.stamps.backgrounds import medians
from ...simulate.stamps.measure import background_sigma
from .maps import Said
from .mocks import composed

_FOLDS = 10
# Half a side of what is seen of the middle.
_MIDDLE_PIX = 4
# Least brightness whose logarithm is taken, of the scatter about the sky.
_FAINT = 1e-3


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What `judge_surroundings` finds, in nats for each mock.

    **Arguments:**

    - `n`: mocks.
    - `gain`, `gain_error`: mean log density of the parameters, given what is seen without the
      cluster, above that without seeing anything, of mocks that the law was not fitted to; and its
      standard error.
    - `expected`: the gain of surroundings that tell nothing: below 0, by what fitting costs.
    - `alone`, `alone_error`: mean log density at the truth that the network has without the
      cluster, above that of parameters that are even over their ranges.
    - `taken`: share of these stamps in which the network sees a cluster (class of a half or more).

    ```python
    Surroundings(5000, -0.01, 0.004, -0.012, -3.0, 0.1, 0.002).told  # 0.002
    ```
    """

    n: int
    gain: float
    gain_error: float
    expected: float
    alone: float
    alone_error: float
    taken: float

    @property
    def told(self) -> float:
        """What surroundings tell, nats: the gain without the cost of fitting."""
        return self.gain - self.expected

    @property
    def tells_nothing(self) -> bool:
        """Whether what is told is below 0.02 nats for all that two of its errors leave open."""
        return self.told + 2 * self.gain_error < 0.02

    def describe(self) -> dict[str, int | float | bool]:
        """The numbers for JSON, `surroundings.…`."""
        found = dataclasses.asdict(self) | {"told": self.told, "tells_nothing": self.tells_nothing}
        return {f"surroundings.{k}": v for k, v in found.items()}


def judge_surroundings(
    network: ConvNetwork, grid: Grid, bank: StampBank, backgrounds: Backgrounds, seed: int
) -> Surroundings:
    """Mocks as `answer_mocks` puts them on backgrounds, but for the cluster, which is left out.

    What is left tells of the cluster only where mocks were put by what they are. A linear law of
    the parameters, Gaussian with any covariance, is fitted to nine tenths of the mocks and judged
    on the rest, in turn. It sees the sky, its scatter and the middle in each band, and all that the
    network says of the stamp: its posterior's means and its logits of class and visibility.

    **Arguments:**

    - `network`, `grid`: the network and its bins. `bank`: the mocks; a hundred or more.
    - `backgrounds`: of one split. `seed`: of places and noise.

    Raises `ValueError` for fewer mocks.

    ```python
    like = dataclasses.replace(StampSettings().like(frame), size_pix=16)
    run_stamps(like, 100, 1, "bank.h5", psfs=psfs)
    choice = BackgroundSettings(n=(20, 5, 5), size_pix=16, block_pix=32, guard_pix=4)
    test = cut_backgrounds(frame, choice, seed=1).of("test")
    scales = (0.02,) * len(like.bands)
    conv = ConvSettings(like.bands, scales, stages=(((3, 4),), ((3, 8),)), box_pix=9)
    network = ConvNetwork(conv, {n: np.zeros(s) for n, s in conv.shapes().items()})
    bank = StampBank.load("bank.h5")
    judge_surroundings(network, grid_of(like), bank, test, 1).describe()
    ```
    """
    n = len(bank)
    if n < 100:
        raise ValueError(f"there are {n} mocks; expected a hundred or more to judge surroundings")
    dark = dataclasses.replace(bank, images=np.zeros_like(bank.images))
    seen, scores, classes, rows = [], [], [], []
    truths = np.column_stack(
        [bank["log_age"], bank["a_v"], bank["log_mass"], np.log10(bank["r_h_pc"])]
    ).astype(float)
    for start, made in composed(dark, backgrounds, seed):
        row = start + made.cluster
        logits = network(made.images)
        answers = Said.of_logits(logits, grid).answers
        judged = logits["class"][:, 1] - logits["class"][:, 0]
        said = [answers.points(), judged[:, None], logits["visibility"]]
        seen.append(np.column_stack([_looks(made.images), *map(np.asarray, said)]))
        scores.append(answers.log_score(truths[row]))
        classes.append(np.asarray(judged) >= 0)
        rows.append(row)
    row, score = np.concatenate(rows), np.concatenate(scores)
    gains, expected = _gains(truths[row], np.concatenate(seen))
    even = -sum(float(np.log(axis.n_bins * axis.width)) for axis in grid.continuous)
    return Surroundings(
        n=n,
        gain=float(gains.mean()),
        gain_error=float(gains.std() / np.sqrt(n)),
        expected=expected,
        alone=float(score.mean() - even),
        alone_error=float(score.std() / np.sqrt(n)),
        taken=float(np.concatenate(classes).mean()),
    )


def _looks(images: Float[np.ndarray, "n band row col"]) -> Float[np.ndarray, "n looks"]:
    """Logarithms of the sky's scatter, and the sky and the middle in units of it."""
    scatter, sky = background_sigma(images), medians(images).astype(float)
    half = images.shape[-1] // 2
    part = slice(half - _MIDDLE_PIX, half + _MIDDLE_PIX)
    middle = images[:, :, part, part].mean(axis=(2, 3), dtype=float) - sky
    bright = np.log(np.maximum(sky / scatter, _FAINT))
    return np.column_stack([np.log(scatter), bright, np.arcsinh(middle / scatter)])


def _gains(
    truths: Float[np.ndarray, "n k"], seen: Float[np.ndarray, "n looks"]
) -> tuple[Float[np.ndarray, "n"], float]:
    """What each mock's log density gains when its parameters are a law of what is seen, and the
    gain that is expected of what tells nothing."""
    n, k = truths.shape
    fold = np.arange(n) % _FOLDS
    varied = seen[:, seen.std(axis=0) > 0]
    scaled = (varied - varied.mean(axis=0)) / varied.std(axis=0)
    # What the heads say is nearly one number in many columns.
    left, size, _ = np.linalg.svd(scaled, full_matrices=False)
    design = np.column_stack([np.ones(n), np.sqrt(n) * left[:, size > 1e-3 * size[0]]])
    gain = np.empty(n)
    for number in range(_FOLDS):
        test, rest = fold == number, fold != number
        law = np.linalg.lstsq(design[rest], truths[rest], rcond=None)[0]
        given = _gaussian(truths[rest] - design[rest] @ law, truths[test] - design[test] @ law)
        mean = truths[rest].mean(axis=0)
        gain[test] = given - _gaussian(truths[rest] - mean, truths[test] - mean)
    m = n * (1 - 1 / _FOLDS)
    return gain, _cost(m, 1, k) - _cost(m, design.shape[1], k)


def _cost(m: float, p: int, k: int) -> float:
    """What a Gaussian law of k numbers loses, nats, on what it was not fitted to, when m rows gave
    its covariance and p coefficients for each number: nearly p k / 2m. The residuals' product is
    Wishart with m - p degrees of freedom.
    """
    log_det = digamma((m - p + 1 - np.arange(1, k + 1)) / 2).sum() + k * np.log(2 / m)
    return 0.5 * float(k * (m + p) / (m - p - k - 1) + log_det - k)


def _gaussian(
    fitted: Float[np.ndarray, "m k"], judged: Float[np.ndarray, "n k"]
) -> Float[np.ndarray, "n"]:
    covariance = fitted.T @ fitted / len(fitted)
    distance = np.einsum("ni,ij,nj->n", judged, np.linalg.inv(covariance), judged)
    return -0.5 * (distance + np.linalg.slogdet(2 * np.pi * covariance)[1])
