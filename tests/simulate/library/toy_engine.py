"""A toy engine that worker processes can import: light is a hash of θ and the seed."""

import dataclasses
import os
import pathlib
import time

import numpy as np


@dataclasses.dataclass(frozen=True)
class ToyEngine:
    bands: tuple[str, ...] = ("b", "v")
    environment: dict = dataclasses.field(default_factory=dict)
    # What does not change the result: how long a shard takes, and from which seeds on it fails.
    sleep: float = 0.0
    fail_above: float = np.inf
    q_h: float = 1.0

    def limits(self):
        return {"log_age": (5.0, 10.2), "a_v": (0.0, 5.0)}

    def describe(self):
        return {"name": "toy", "citations": []}

    def draw(self, log_mass, log_age, a_v, seeds):
        if "TOY_PIDS" in os.environ:
            (pathlib.Path(os.environ["TOY_PIDS"]) / str(os.getpid())).touch()
        time.sleep(self.sleep)
        if (log_mass > self.fail_above).any():
            raise RuntimeError("the machine stops here")
        noise = (seeds >> np.uint64(11)).astype(float) * 2.0**-53
        mags = np.stack([a_v - 2.5 * log_mass + noise, log_age + noise], axis=1)
        return {
            "abs_mags": mags,
            "birth_mass": 10**log_mass * (1 + 0.01 * noise),
            "n_stars": (seeds % np.uint64(1000)).astype(np.int64),
            "q_h": np.full(len(seeds), float(os.environ.get("TOY_Q_H", self.q_h))),
        }
