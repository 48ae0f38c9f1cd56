"""Operators of magnitudes, averaged over the stochastic light of simulated clusters."""

from typing import ClassVar

import jax
import numpy as np
from jaxtyping import Float

from starcensus.bands import ab_minus_vega
from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.jobs._operators import operator_input
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.marginalisation import AxisTable, MarginalisationFile
from starcensus.runs import Input
from starcensus.selection import PhotometricNetwork, load_selection, marginalise, save_selection
from starcensus.simulate import ClusterLibrary, read_slug2, read_zeropoints

_SLUG2 = ("_cluster_prop.fits", "_cluster_phot.fits")


@JOBS.register("marginalisation")
class MarginalisationJob(Job[MarginalisationFile]):
    """An operator file (.h5)."""

    makes_file: ClassVar[bool] = True

    def inputs(self) -> dict[str, Input]:
        found = {"network": operator_input(self.file.network, self.sources)}
        for i, path in enumerate(self.file.libraries):
            for end in ("",) if path.endswith(".h5") else _SLUG2:
                found[f"libraries.{i}{end}"] = Input.of(self.sources.file(path + end, "library"))
        if self.file.zeropoints is not None:
            path = self.sources.file(self.file.zeropoints, "zeropoints")
            found["zeropoints"] = Input.of(path)
        return found

    def results(self) -> tuple[str, ...]:
        return (self.out.name,)

    def run(self, show: Show) -> Outcome:
        file = self.file
        loaded = load_selection(self.sources.file(file.network, "network"))
        if not isinstance(loaded, PhotometricNetwork):
            kind = type(loaded).__name__
            raise ConfigError(f"{file.network}: holds a {kind}, not one of magnitudes")
        show.stage("reading libraries")
        library = ClusterLibrary.concatenate(*(self._library(path) for path in file.libraries))
        show.stage("averaging")
        axes = (_nodes(axis) for axis in (file.log_mass, file.log_age, file.a_v))
        # Beyond the training magnitudes the network is saturated: 0 below, 1 above.
        result = marginalise(loaded.simulated(), library, *axes, key=jax.random.key(file.seed))
        inputs = {item.name: f"sha256:{item.sha256}" for item in self.inputs().values()}
        version = self.identity.provenance()["version"]
        facts = {"title": file.title, "inputs": inputs, "version": version}
        save_selection(result.selection, self.out, facts)
        return Outcome(
            {
                "median_standard_error": float(np.median(result.standard_error)),
                "largest_standard_error": float(result.standard_error.max()),
            }
        )

    def _library(self, path: str) -> ClusterLibrary:
        bands = list(self.file.bands)
        if path.endswith(".h5"):
            return ClusterLibrary.load(self.sources.file(path, "library"), bands)
        prop, phot = (self.sources.file(path + end, "library") for end in _SLUG2)
        return read_slug2(prop, phot, bands, "neb_ex", self._conversion(bands))

    def _conversion(self, bands: list[str]) -> dict[str, tuple[float, float]] | None:
        """From SLUG's Vega to VEGAMAG."""
        if self.file.zeropoints is None:
            return None
        given = read_zeropoints(self.sources.file(self.file.zeropoints, "zeropoints"))
        known = {name: ab for name in bands if (ab := ab_minus_vega(name)) is not None}
        if missing := [name for name in bands if name not in given or name not in known]:
            raise ConfigError(f"{self.file.zeropoints}: no zero points for {', '.join(missing)}")
        return {name: (given[name], known[name]) for name in bands}


def _nodes(axis: AxisTable) -> Float[np.ndarray, "n"]:
    return np.linspace(axis.low, axis.high, round((axis.high - axis.low) / axis.step) + 1)
