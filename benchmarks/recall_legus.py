"""LEGUS's pipeline on the frames in which a network looks for mocks, and the two beside each other.

A frame without V has the band nearest to it in V's place: LEGUS's centres, concentration index and
limit of absolute magnitude are of that band. It keeps its own weight in white light.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.spatial import KDTree

from benchmarks.recall_curves import Scores, purity_of
from benchmarks.recall_maps import in_arms
from starcensus.bands import letter_of, reference_band
from starcensus.selection.finder import FinderSettings
from starcensus.selection.pipeline import LegusPipeline, LegusSettings
from starcensus.simulate.images.frame import Frame
from starcensus.simulate.images.psf import PSF

# Under this name a band stands for V.
_V = "WFC3_UVIS_F555W"


@dataclasses.dataclass(frozen=True, eq=False)
class Legus:
    """LEGUS's pipeline for a field.

    **Arguments:**

    - `pipeline`: with its aperture corrections.
    - `frame`: the field, with the names of bands that the pipeline goes by.
    - `reference`: the field's band that is V, or stands for it.
    """

    pipeline: LegusPipeline
    frame: Frame
    reference: str

    @classmethod
    def for_field(cls, frame: Frame, psfs: Mapping[str, PSF]) -> "Legus":
        """Made with LEGUS's defaults; of fewer bands than it asks for all must have small errors.

        Raises `ValueError` for a frame whose band nearest to V stands for no broad band.
        """
        reference = reference_band(frame.bands)
        letter = letter_of(reference)
        if letter is None:
            raise ValueError(
                f"white light has no weight for {reference}; expected a band that stands for NUV, "
                "U, B, V or I"
            )
        name = reference if letter == "V" else _V
        own = LegusSettings()
        settings = dataclasses.replace(
            own,
            scale_factors=tuple({**each, name: each[letter]} for each in own.scale_factors),
            min_bands=min(own.min_bands, len(frame.bands)),
        )
        named = {band: name if band == reference else band for band in frame.bands}
        told = dataclasses.replace(
            frame,
            images=tuple(dataclasses.replace(each, band=named[each.band]) for each in frame),
        )
        theirs = {named[band]: psfs[band] for band in frame.bands}
        return cls(LegusPipeline.for_field(told, theirs, settings), told, reference)

    @property
    def cuts(self) -> dict[str, Any]:
        """Those of its settings that say what is catalogued."""
        s = self.pipeline.settings
        names = ("detection_sigma", "max_error", "min_bands", "ci_limit", "max_absolute_v")
        return {name: getattr(s, name) for name in names}

    def look(
        self,
        mosaic: Float32[np.ndarray, "band row col"],
        x: Float[np.ndarray, "mock"],
        y: Float[np.ndarray, "mock"],
        near_pix: float,
        far_pix: float,
    ) -> tuple[Int[np.ndarray, "mock"], Int[np.ndarray, "source"]]:
        """How many of the cuts, one after the other, mocks and other sources pass.

        **Arguments:**

        - `mosaic`: the frame's images with mocks.
        - `x`, `y`: centres of the mocks, pixels.
        - `near_pix`: a mock goes by the best of the sources so near to it, -1 without one.
        - `far_pix`: other sources are those that are farther from every mock.
        """
        planes = dict(zip(self.frame.bands, mosaic, strict=True))
        found = self.pipeline(self.frame.with_data(planes))
        passed = np.cumprod(np.stack(list(found.cuts.values()), axis=1), axis=1).sum(axis=1)
        tree = KDTree(np.column_stack([x, y]))
        distance, to = map(np.asarray, tree.query(np.column_stack([found.x, found.y])))
        stage, near = np.full(len(x), -1), distance <= near_pix
        np.maximum.at(stage, to[near], passed[near])
        return stage, passed[distance > far_pix]


# Of `LegusPipeline`, in their order.
CUTS = ("v_error", "b_or_i_error", "ci", "n_bands", "absolute_v")


def left_of(stages: Int[np.ndarray, "n"]) -> dict[str, int]:
    """How many are detected, and left after each cut."""
    return {name: int((stages >= passed).sum()) for passed, name in enumerate(("detected", *CUTS))}


def beside(
    columns: Mapping[str, np.ndarray],
    false: Mapping[str, np.ndarray],
    away: Int[np.ndarray, "source"],
    bright: Bool[np.ndarray, "mock"],
    finder: FinderSettings,
    within_pix: float,
) -> dict[str, Any]:
    """Completeness and purity of both, equal completeness, and what only one of them finds.

    **Arguments:** `columns`, `false`, `away`: as of `Rounds`, `legus_false` the last. `bright`:
    mocks brighter than LEGUS's limit. `within_pix`: distance of what counts as a mock's.
    """
    scores = Scores.of(columns, false, finder, within_pix)
    near = columns["distance_pix"] <= within_pix
    theirs = columns["legus_stage"] == len(CUTS)
    ours = near & finder.passing(columns["p_cluster"], columns["visibility"])
    n_found, n_false = int(theirs.sum()), int((away == len(CUTS)).sum())
    groups = {
        "both": ours & theirs,
        "only_network": ours & ~theirs,
        "only_legus": theirs & ~ours,
        "neither": ~ours & ~theirs,
    }
    arms = in_arms(columns)
    return {
        "recall": n_found / len(theirs),
        "recall_in_arms": _share(theirs, arms),
        "recall_out_of_arms": _share(theirs, ~arms),
        "n_found": n_found,
        "n_false": n_false,
        "purity": purity_of(n_found, n_false),
        "network_recall": float(ours.mean()),
        "network_recall_in_arms": _share(ours, arms),
        "network_recall_out_of_arms": _share(ours, ~arms),
        "network_purity": scores.rows((finder.min_class,))[0]["purity"],
        "n_bright": int(bright.sum()),
        "recall_bright": _share(theirs, bright),
        "network_recall_bright": _share(ours, bright),
        "mocks_left": left_of(columns["legus_stage"]),
        "others_left": left_of(away),
        "equal": equal_completeness(scores, n_found),
        **{name: _group(columns, rows, finder) for name, rows in groups.items()},
    }


def _share(found: Bool[np.ndarray, "mock"], of: Bool[np.ndarray, "mock"]) -> float | None:
    return float(found[of].mean()) if of.any() else None


def equal_completeness(scores: Scores, n_found: int) -> dict[str, Any]:
    """The network at the cut in class that keeps as many mocks as LEGUS has; None if none does.

    `network_most` and `network_surest`: how many mocks it keeps without a cut, and those that no
    cut can part because none is surer.
    """
    cut, found = scores.cut_leaving(n_found), scores.found
    none = dict.fromkeys(scores.at(np.empty(0)))
    at = none if cut is None else scores.rows((cut,))[0]
    return {
        "legus_n_found": n_found,
        "network_most": len(found),
        "network_surest": int((found == found.max()).sum()) if len(found) else 0,
        **{f"network_{name}": value for name, value in at.items()},
    }


def _group(
    columns: Mapping[str, np.ndarray], rows: Bool[np.ndarray, "mock"], finder: FinderSettings
) -> dict[str, Any]:
    """What some mocks are like: medians, those that the network's cut in visibility lets pass, and
    those that are left after each of LEGUS's cuts.
    """
    names = ["log_mass", "log_age", "a_v", "log_r_eff_pc"]
    names += [name for name in columns if name.startswith("mag_")]
    n = int(rows.sum())
    return {
        "n": n,
        **{name: float(np.median(columns[name][rows])) if n else None for name in names},
        "n_visible": int((columns["visibility"][rows] >= finder.min_visibility).sum()),
        "legus_left": left_of(columns["legus_stage"][rows]),
    }
