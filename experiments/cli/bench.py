"""Finds the benchmarks, which are in a checkout and not in the installed package."""

import importlib
import importlib.util
import pathlib
import sys

import typer

import starcensus


def benchmark_app() -> typer.Typer:
    """The commands of the folder `benchmarks/` beside the package's source.

    Raises `ConfigError` outside a checkout.
    """
    from starcensus.experiments.schema._base import ConfigError

    folder = pathlib.Path(starcensus.__file__).resolve().parents[2] / "benchmarks"
    start = folder / "__init__.py"
    if not (folder / "commands.py").is_file():
        raise ConfigError(
            "the benchmarks are no part of the installed package; run this in a checkout of "
            "starcensus, installed with `make` or `pip install --editable .`"
        )
    if "benchmarks" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "benchmarks", start, submodule_search_locations=[str(folder)]
        )
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["benchmarks"] = module
        spec.loader.exec_module(module)
    return importlib.import_module("benchmarks.commands").bench_app
