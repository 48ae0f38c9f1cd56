"""Mixtures of normal distributions, fitted to draws, as proposals of a bridge."""

import dataclasses

import numpy as np
from jaxtyping import Float

_STEPS, _TOLERANCE = 200, 1e-5
# Of the whole sample's covariance, added to that of each part.
_SHRINKAGE = 1e-3
# A part needs so many draws for each coordinate.
_DRAWS_PER_COORDINATE = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of normal distributions of d coordinates.

    **Arguments:**

    - `shares`: `(part,)`, adding up to 1. `means`: `(part, d)`.
    - `roots`: `(part, d, d)`, lower Cholesky factors of the covariances.

    ```python
    draws = np.random.default_rng(1).normal(size=(500, 2))
    fitted = Mixture.fit(draws, 1, np.random.default_rng(2))
    fitted.log_density(fitted.draw(3, np.random.default_rng(3)))
    ```
    """

    shares: Float[np.ndarray, " part"]
    means: Float[np.ndarray, "part d"]
    roots: Float[np.ndarray, "part d d"]

    @classmethod
    def fit(cls, x: Float[np.ndarray, "k d"], n: int, rng: np.random.Generator) -> "Mixture":
        """By expectation and maximisation from `n` draws that lie far from one another."""
        d = x.shape[1]
        spread = np.atleast_2d(np.cov(x, rowvar=False)) + 1e-12 * np.eye(d)
        if n == 1:
            root = np.linalg.cholesky(spread)
            return cls(np.ones(1), x.mean(axis=0)[None], root[None])
        centres = _apart(np.linalg.solve(np.linalg.cholesky(spread), x.T).T, n, rng)
        made = cls(
            np.full(n, 1 / n), x[centres], np.repeat(np.linalg.cholesky(spread)[None], n, axis=0)
        )
        before = -np.inf
        for _ in range(_STEPS):
            log_parts = made._log_parts(x)
            total = _logsumexp(log_parts)
            weight = np.exp(log_parts - total[:, None])
            number = np.maximum(weight.sum(axis=0), 1e-8)
            means = weight.T @ x / number[:, None]
            roots = []
            for k in range(n):
                away = x - means[k]
                covariance = (weight[:, k, None] * away).T @ away / number[k]
                roots.append(np.linalg.cholesky(covariance + _SHRINKAGE * spread))
            made = cls(number / number.sum(), means, np.stack(roots))
            if abs(total.mean() - before) < _TOLERANCE:
                break
            before = total.mean()
        return made

    @classmethod
    def best(cls, x: Float[np.ndarray, "k d"], most: int, rng: np.random.Generator) -> "Mixture":
        """Of as many parts, up to `most`, as describe three tenths of the draws best that the
        others were fitted to."""
        order = rng.permutation(len(x))
        held, rest = np.split(order, [int(0.3 * len(x))])
        most = max(1, min(most, len(rest) // (_DRAWS_PER_COORDINATE * x.shape[1])))
        scores = [cls.fit(x[rest], n, rng).log_density(x[held]).mean() for n in range(1, most + 1)]
        return cls.fit(x, 1 + int(np.argmax(scores)), rng)

    def _log_parts(self, x: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "k part"]:
        parts = []
        for share, mean, root in zip(self.shares, self.means, self.roots, strict=True):
            z = np.linalg.solve(root, (x - mean).T)
            norm = np.log(np.diag(root)).sum() + 0.5 * x.shape[1] * np.log(2 * np.pi)
            parts.append(np.log(share) - 0.5 * (z**2).sum(axis=0) - norm)
        return np.stack(parts, axis=1)

    def log_density(self, x: Float[np.ndarray, "k d"]) -> Float[np.ndarray, " k"]:
        """ln of the normalised density of each point."""
        return _logsumexp(self._log_parts(x))

    def draw(self, k: int, rng: np.random.Generator) -> Float[np.ndarray, "k d"]:
        """Independent draws."""
        part = rng.choice(len(self.shares), size=k, p=self.shares)
        z = rng.normal(size=(k, self.means.shape[1]))
        return self.means[part] + np.einsum("kij,kj->ki", self.roots[part], z)


def _apart(z: Float[np.ndarray, "k d"], n: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of draws, each taken with the square of its distance from those before."""
    chosen = [int(rng.integers(len(z)))]
    for _ in range(n - 1):
        square = np.min([((z - z[i]) ** 2).sum(axis=1) for i in chosen], axis=0)
        chosen.append(int(rng.choice(len(z), p=square / square.sum())))
    return np.asarray(chosen)


def _logsumexp(log_parts: Float[np.ndarray, "k part"]) -> Float[np.ndarray, " k"]:
    top = log_parts.max(axis=1)
    return top + np.log(np.exp(log_parts - top[:, None]).sum(axis=1))
