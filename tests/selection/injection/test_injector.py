"""A small test from images to labels: what is bright and extended is catalogued, nothing else."""

import dataclasses

import numpy as np
import pytest

from starcensus.selection.injection import InjectionPlan, Injector
from starcensus.selection.pipeline import (
    Detections,
    LegusPipeline,
    LegusSettings,
    aperture_corrections,
)
from starcensus.simulate import ClusterLibrary, Frame, Templates, default_psfs
from starcensus.simulate.images.frame import BandImage
from starcensus.simulate.images.galaxy import NGC628C

N = 16


@pytest.fixture(scope="module")
def parts():
    bands = tuple(exposure.band for exposure in NGC628C)
    psfs = default_psfs(bands)
    rng = np.random.default_rng(0)
    images = []
    for e in NGC628C:
        data = rng.poisson(e.sky * e.exposure_s, (240, 330)) + 4.4 * rng.normal(size=(240, 330))
        images.append(
            BandImage(e.band, (data / e.exposure_s).astype(np.float32), e.exposure_s, e.zero_point)
        )
    frame = Frame(tuple(images), 29.98)
    corrections = aperture_corrections(psfs, frame.pc_per_pixel)
    return (
        frame,
        Templates(psfs, frame.pc_per_pixel),
        LegusSettings(aperture_correction=corrections),
    )


def injector(parts, mag: float, radius: float) -> Injector:
    frame, templates, settings = parts
    mags = np.full((N, 5), mag - 29.98)
    theta = np.full(N, 4.0), np.full(N, 8.0), np.zeros(N)
    library = ClusterLibrary(*theta, frame.bands, mags, np.zeros(N), r_eff_pc=np.full(N, radius))
    plan = InjectionPlan(
        n_clusters=N, per_frame=N, min_per_frame=N, radii_pc=(radius,) if radius else None
    )
    return Injector(frame, library, templates, LegusPipeline(settings), plan)


def test_bright_clusters_are_catalogued_at_their_magnitudes(parts):
    table = injector(parts, 20.0, 3.0).run(0)
    assert table.catalogued.mean() > 0.85
    assert np.nanmedian(table.measured_mags - table.true_mags) == pytest.approx(0, abs=0.03)


def test_a_point_source_never_enters(parts):
    table = injector(parts, 20.0, 0.0).run(0)
    assert table.detected.all() and not table.catalogued.any()
    assert not table.cuts["ci"].any()


def test_faint_clusters_do_not_enter(parts):
    assert not injector(parts, 26.0, 3.0).run(0).catalogued.any()


def test_a_frame_follows_from_its_number(parts):
    one, two = (injector(parts, 22.0, 3.0).injected(0) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


class WithoutCI(LegusPipeline):
    """A broken copy: it lacks the cut in concentration index."""

    def __call__(self, frame: Frame) -> Detections:
        found = super().__call__(frame)
        kept = {name: passed for name, passed in found.cuts.items() if name != "ci"}
        return dataclasses.replace(found, cuts=kept)


class Transposed(LegusPipeline):
    """A broken copy: its x is the row."""

    def __call__(self, frame: Frame) -> Detections:
        found = super().__call__(frame)
        return dataclasses.replace(found, x=found.y, y=found.x)


class TransposedInjector(Injector):
    """A broken copy: it puts the light at (y, x)."""

    def _inject(self, number: int, x: np.ndarray, y: np.ndarray, radii: np.ndarray) -> Frame:
        return super()._inject(number, y, x, radii)


def test_the_cut_in_concentration_index_alone_keeps_point_sources_out(parts):
    """Of bright point sources a copy of the pipeline without the cut takes nearly all."""
    right = injector(parts, 20.0, 0.0)
    broken = dataclasses.replace(right, pipeline=WithoutCI(right.pipeline.settings))
    assert not right.run(0).catalogued.any()
    assert broken.run(0).catalogued.mean() > 0.85


def test_x_and_y_exchanged_lose_the_recoveries(parts):
    """On a frame that is not square, copies that exchange x and y recover next to nothing."""
    right = injector(parts, 20.0, 3.0)
    assert right.frame.shape[0] != right.frame.shape[1]
    pipeline = dataclasses.replace(right, pipeline=Transposed(right.pipeline.settings))
    fields = {f.name: getattr(right, f.name) for f in dataclasses.fields(right)}
    assert right.run(0).catalogued.mean() > 0.85
    for broken in (pipeline, TransposedInjector(**fields)):
        # A cluster on the diagonal would be found all the same.
        assert broken.run(0).catalogued.mean() < 0.15
