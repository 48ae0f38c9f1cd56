"""How a network is trained, and the learning rate of each step."""

import dataclasses
import math
from typing import Literal

from starcensus.settings import check_choices, check_seed


@dataclasses.dataclass(frozen=True)
class LoopSettings:
    """How a network is trained.

    **Arguments:**

    - `steps`: number of batches.
    - `schedule`: "cosine": from `max_rate` to `end_rate` along half a cosine; "halved": half as
      much after every `steps_per_pass`; "geometric": to `end_rate` by the same factor at each step;
      "constant".
    - `max_rate`: largest learning rate. `end_rate`: the last, of "cosine" and "geometric".
    - `steps_per_pass`: steps of one pass over the clusters, of "halved".
    - `warm_up`: share of the steps in which the rate first rises linearly.
    - `weight_decay`: decay of AdamW; biases and normalisations have none. With 0 it is Adam.
    - `clip_norm`: largest norm of the gradient, by which longer ones are shortened. None: any.
    - `ema_decay`: the network is the running mean of its weights, with this factor for each step.
      None: the weights themselves.
    - `validate_every`: steps between validations.
    - `patience`: validations without a smaller loss after which training ends. None: never.
    - `checkpoint_every`: steps between checkpoints.
    - `head_weights`: names of heads and their weights in the loss; others have 1.
    - `compile`: compile the network with Torch's compiler.
    - `mixed_precision`: evaluate the network in bfloat16; weights and losses stay in float32.
    - `device`: "cpu", "cuda", "mps".
    - `seed`: of what is random in the network, as dropout.

    Raises `ValueError` for words and numbers out of their ranges.

    ```python
    LoopSettings(steps=2_000, max_rate=2e-3)
    ```
    """

    steps: int = 8000
    schedule: Literal["cosine", "halved", "geometric", "constant"] = "cosine"
    max_rate: float = 1e-3
    end_rate: float = 0.0
    steps_per_pass: int = 3125
    warm_up: float = 0.02
    weight_decay: float = 1e-2
    clip_norm: float | None = 1.0
    ema_decay: float | None = None
    validate_every: int = 250
    patience: int | None = None
    checkpoint_every: int = 250
    head_weights: tuple[tuple[str, float], ...] = ()
    compile: bool = False
    mixed_precision: bool = False
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        check_seed(self.seed)
        for name in ("steps", "steps_per_pass", "validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if not (self.max_rate > 0 and 0 <= self.end_rate <= self.max_rate):
            raise ValueError(
                f"rates from {self.max_rate} to {self.end_rate}; expected a positive one, and then "
                "none larger"
            )
        if self.schedule == "geometric" and self.end_rate == 0:
            raise ValueError("a geometric schedule never reaches end_rate 0; expected more")
        if not (0 <= self.warm_up < 1 and self.weight_decay >= 0):
            raise ValueError(
                "warm_up lies from 0 to below 1 and weight_decay is 0 or more; got "
                f"{self.warm_up} and {self.weight_decay}"
            )
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm is {self.clip_norm}; expected a positive number or None")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; expected between 0 and 1, or None")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience is {self.patience}; expected 1 or more, or None")

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0 on.

        ```python
        THESIS_A.rate(3125)  # 0.005
        ```
        """
        rising = round(self.warm_up * self.steps)
        if step < rising:
            return self.max_rate * (step + 1) / (rising + 1)
        if self.schedule == "constant":
            return self.max_rate
        if self.schedule == "halved":
            return self.max_rate * 0.5 ** (step // self.steps_per_pass)
        share = (step - rising) / max(self.steps - 1 - rising, 1)
        if self.schedule == "geometric":
            return self.max_rate * (self.end_rate / self.max_rate) ** share
        fall = (1 + math.cos(math.pi * share)) / 2
        return self.end_rate + (self.max_rate - self.end_rate) * fall


# After a training with targets that are spread over bins: a few steps with the bins alone.
SHARPENING = LoopSettings(
    steps=600, max_rate=5e-4, ema_decay=0.99, validate_every=100, checkpoint_every=100
)

# Adam with the rates of the thesis of J. Bialopetravičius, sections 2 and 3: 5 passes over 200,000
# clusters in batches of 64; and from 0.01 to 0.0001, of which neither the form nor the number of
# steps is said.
THESIS_A = LoopSettings(
    steps=15_625, schedule="halved", max_rate=0.01, warm_up=0.0, weight_decay=0.0, clip_norm=None
)
THESIS_B = LoopSettings(
    steps=20_000,
    schedule="geometric",
    max_rate=0.01,
    end_rate=1e-4,
    warm_up=0.0,
    weight_decay=0.0,
    clip_norm=None,
)
