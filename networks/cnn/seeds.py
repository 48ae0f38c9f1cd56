"""Random numbers of Torch that depend on a seed and leave its global generators as they were."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def seeded(seed: int, *parts: int, device: str = "cpu") -> Iterator[None]:
    """Torch's generators are those of a seed inside the block, and what they were after it.

    **Arguments:**

    - `seed`: of everything. `parts`: what it is for, as the number of a step.
    - `device`: the device whose generator is wanted beside that of the CPU.

    ```python
    with seeded(1, 20):
        torch.rand(3)
    ```
    """
    devices = [] if device == "cpu" else [torch.device(device)]
    kind = "cuda" if device == "cpu" else torch.device(device).type
    (state,) = np.random.SeedSequence((seed, *parts)).generate_state(1, np.uint64)
    with torch.random.fork_rng(devices, device_type=kind):
        # `torch.manual_seed` would also reach devices that are not restored.
        torch.default_generator.manual_seed(int(state))
        if devices:
            getattr(torch, kind).manual_seed(int(state))
        yield
