"""Optional dependencies: asked for by name, with the command that installs what is missing."""

import importlib.util

# Module → the extra of starcensus that brings it.
EXTRAS = {
    "galsim": "images",
    "photutils": "images",
    "sep": "images",
    "torch": "cnn",
    "distributed": "dask",
    "pyarrow": "parquet",
    "cluster_completeness": "c4",
    "nautilus": "nested",
    "dynesty": "nested",
}


class MissingExtraError(ImportError):
    """A part of starcensus was used whose optional dependency is not installed."""


def need(*modules: str, purpose: str) -> None:
    """Raises `MissingExtraError`, naming the command that installs them, unless all are there.

    Nothing is imported.

    **Arguments:**

    - `modules`: names of modules, keys of `EXTRAS`.
    - `purpose`: what needs them, "images" or "--scheduler".

    ```python
    need("galsim", "sep", purpose="images")
    ```
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        extras = ",".join(dict.fromkeys(EXTRAS[name] for name in missing))
        is_or_are = "is" if len(missing) == 1 else "are"
        raise MissingExtraError(
            f"{purpose} needs {' and '.join(missing)}, which {is_or_are} not installed: "
            f"pip install 'starcensus[{extras}]'"
        )
