"""Networks that the package carries."""

import pathlib

FOLDER = pathlib.Path(__file__).parent / "data"


def shipped_network(name: str = "m83") -> pathlib.Path:
    """Path of the definition of a network that the package carries, for `ConvNetwork.load`.

    `m83`: clusters in F336W, F438W and F814W at 4.5 Mpc, trained as `docs/results/cnn.md` says.

    Raises `ValueError` for a name that there is not.

    ```python
    ConvNetwork.load(shipped_network()).settings.bands
    ```
    """
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in FOLDER.glob("*.json"))) or "none"
        raise ValueError(f"there is no network {name!r}; the package carries {known}")
    return path
