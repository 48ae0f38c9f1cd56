"""What a survey pipeline is, and how one is made for a field."""

import dataclasses
import hashlib
import inspect
import json
import pathlib
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from starcensus.files import FileError, checksum
from starcensus.registry import Registry

from ...simulate.images.frame import Frame
from ...simulate.images.psf import PSF
from .detections import Detections


@runtime_checkable
class Pipeline(Protocol):
    """A survey: a pure function from band images to detections, and its settings as JSON.

    It must not keep anything from one frame to the next, and must be picklable to run on several
    processes.
    """

    def __call__(self, frame: Frame) -> Detections: ...

    def describe(self) -> dict[str, Any]: ...


PIPELINES = Registry[type]("pipeline")
"""Pipelines by the `kind` that survey files name.

A class that is added is a frozen dataclass, whose fields are what the file's [pipeline] may say:

```python
@PIPELINES.register("peaks")
@dataclasses.dataclass(frozen=True)
class Peaks:
    limit: float

    def describe(self): ...
    def __call__(self, frame): ...
```

One that needs more than its settings, such as PSFs, has the dataclass of its settings as the
attribute `Settings`, and a class method `for_survey(settings, field)` that makes it from them and a
`Field`.
"""


@dataclasses.dataclass(frozen=True, eq=False)
class Field:
    """What a pipeline may be made from, beside its settings.

    **Arguments:**

    - `frame`: the images.
    - `psfs`: one PSF for each band.
    - `eta`: slope of model clusters, (1 + r²/a²)^(−eta).
    - `folder`: from which paths among the settings start.

    ```python
    Field(frame, psfs, eta=2.0)
    ```
    """

    frame: Frame
    psfs: Mapping[str, PSF]
    eta: float = 1.5
    folder: pathlib.Path = pathlib.Path()


def pipeline_settings(kind: str) -> type:
    """The dataclass of the settings of a kind of pipeline.

    Raises `ValueError` for an unknown kind, and for a class of the user's that is no dataclass.

    ```python
    pipeline_settings("legus")  # LegusSettings
    ```
    """
    cls = PIPELINES.find(kind)
    settings = getattr(cls, "Settings", cls)
    if not (isinstance(settings, type) and dataclasses.is_dataclass(settings)):
        raise ValueError(
            f"the pipeline {kind} has no settings: {settings.__name__} is no dataclass; decorate "
            "it with @dataclasses.dataclass(frozen=True), or give it a dataclass `Settings`"
        )
    return settings


def make_pipeline(kind: str, settings: Any, field: Field) -> Pipeline:
    """The pipeline of a survey: the one door for ours and for the user's.

    **Arguments:**

    - `kind`: its name in `PIPELINES`.
    - `settings`: as `pipeline_settings` says.
    - `field`: the survey's images and PSFs.

    Raises `ValueError` for an unknown kind, settings of another, what is no pipeline, and a
    description that is no JSON.

    ```python
    made = make_pipeline("legus", LegusSettings(detection_sigma=10.0), Field(frame, psfs))
    ```
    """
    cls, expected = PIPELINES.find(kind), pipeline_settings(kind)
    if not isinstance(settings, expected):
        raise ValueError(
            f"the pipeline {kind} takes {expected.__name__}; got {type(settings).__name__}"
        )
    make = getattr(cls, "for_survey", None)
    made = settings if make is None else make(settings, field)
    if isinstance(made, type) or not isinstance(made, Pipeline):
        raise ValueError(
            f"the pipeline {kind} is a {type(made).__name__}, which is no pipeline; expected an "
            "object with __call__(frame) -> Detections and describe() -> dict"
        )
    describe_pipeline(made)
    return made


def describe_pipeline(pipeline: Pipeline) -> dict[str, Any]:
    """What a pipeline says of itself, as JSON holds it; of the user's also checksums.

    These are of the file of its code, and of all its fields, whatever `describe` leaves out. Raises
    `ValueError` for what JSON cannot hold, and code that cannot be read.

    ```python
    describe_pipeline(pipeline)["detection_sigma"]
    ```
    """
    cls = type(pipeline)
    try:
        said = json.loads(json.dumps(pipeline.describe()))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"describe() of {cls.__name__} cannot be written into a table ({error}); expected a "
            "dictionary of numbers, strings, and lists and dictionaries of them"
        ) from error
    if _is_ours(cls):
        return said
    fields = hashlib.sha256(json.dumps(_fields(pipeline), sort_keys=True, default=_plain).encode())
    code = {"class": cls.__qualname__, "sha256": _code_sha256(cls)}
    return {**said, "code": {**code, "fields_sha256": fields.hexdigest()}}


def _plain(value: object) -> object:
    """JSON that tells two values of a field apart, whatever process they are in."""
    if isinstance(value, np.ndarray):
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return [str(value.dtype), list(value.shape), content]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if isinstance(value, Mapping):
        return dict(value)
    name = getattr(value, "__qualname__", None)
    if name is not None:
        return f"{getattr(value, '__module__', '')}.{name}"
    return [type(value).__qualname__, _fields(value)]


def _fields(value: object) -> dict[str, Any]:
    if dataclasses.is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    return vars(value)


def _is_ours(cls: type) -> bool:
    return cls.__module__.split(".")[0] == __name__.split(".")[0]


def pipeline_source(kind: str) -> pathlib.Path | None:
    """The file that defines a pipeline of the user's; None for ours, and for one in a notebook.

    ```python
    pipeline_source("legus")  # None
    ```
    """
    cls = PIPELINES.find(kind)
    if _is_ours(cls):
        return None
    try:
        return pathlib.Path(inspect.getfile(cls))
    except (TypeError, OSError):
        return None


def _code_sha256(cls: type) -> str:
    """Of the file that defines a class, or of its own source where it is a notebook's."""
    try:
        return checksum(inspect.getfile(cls))
    except (TypeError, OSError, FileError):
        pass
    try:
        return hashlib.sha256(inspect.getsource(cls).encode()).hexdigest()
    except (TypeError, OSError) as error:
        raise ValueError(
            f"the code of the pipeline {cls.__name__} cannot be read, and what a table depends on "
            "would not be known; define it in a file and import it"
        ) from error


def find_with(pipeline: Pipeline, frame: Frame) -> Detections:
    """What a pipeline returns, checked, and no more.

    Raises `ValueError` for what are no detections in the frame's bands, and where the pipeline
    gives up on the frame (its `RuntimeError`); and whatever else the pipeline raises.

    ```python
    find_with(pipeline, frame).x
    ```
    """
    try:
        found = pipeline(frame)
    except RuntimeError as error:
        if type(error) is not RuntimeError:
            raise
        raise ValueError(str(error)) from error
    name = type(pipeline).__name__
    if not isinstance(found, Detections):
        raise ValueError(
            f"the pipeline {name} returned a {type(found).__name__}; expected Detections"
        )
    if found.bands != frame.bands:
        raise ValueError(
            f"the pipeline {name} returned magnitudes in {', '.join(found.bands)}; expected the "
            f"bands of the frame, {', '.join(frame.bands)}, NaN where it has none"
        )
    return found
