"""A survey's pipeline that is no part of starcensus: from a Python file, or an installed module."""

import dataclasses
import hashlib
import importlib
import inspect
import json
import pathlib
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import pydantic

from starcensus.experiments.schema.fit import ConfigError
from starcensus.selection.pipeline import Detections, Pipeline
from starcensus.simulate import Frame


class OwnConfig(pydantic.BaseModel):
    """`[pipeline] kind = "own"`: which class or function makes the pipeline.

    - `object`: its name in `file`, a Python file relative to the survey file; or without one
        `"module:name"` of a module that can be imported.
    - Every other key is passed to it.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="allow")

    object: str
    file: str | None = None

    @pydantic.model_validator(mode="after")
    def _one_place(self) -> "OwnConfig":
        module, colon, name = self.object.rpartition(":")
        if self.file is not None and colon:
            raise ValueError(
                f"object is {self.object!r} and file {self.file!r}; expected a name in the file, "
                f"such as {name!r}"
            )
        if self.file is None and not (module and name):
            raise ValueError(
                f'object is {self.object!r}; expected "module:name", or its file = "….py" too'
            )
        return self

    @property
    def options(self) -> dict[str, Any]:
        """What is passed on."""
        return dict(self.model_extra or {})

    def source(self, folder: pathlib.Path) -> pathlib.Path:
        """The file of the code, a relative one in `folder`."""
        if self.file is not None:
            return folder / self.file
        return self._from_module()[1]

    def pipeline(self, folder: pathlib.Path) -> "OwnPipeline":
        """The pipeline; `ConfigError` where it cannot be made or is none."""
        if self.file is not None:
            path = folder / self.file
            make, code = self._from_file(path)
        else:
            make, path = self._from_module()
            code = path.read_bytes()
        name, options = self.object.rpartition(":")[2], self.options
        if not callable(make):
            raise ConfigError(
                f"pipeline.object: {name} of {path} is {type(make).__name__}; expected a "
                "class, or a function that returns a pipeline"
            )
        try:
            made = make(**options)
        except Exception as error:
            raise ConfigError(
                f"pipeline: {name} with the keys {', '.join(options) or '(none)'} raised "
                f"{_said(error)}; it takes {_signature(make)}"
            ) from error
        if isinstance(made, type) or not isinstance(made, Pipeline):
            raise ConfigError(
                f"pipeline: {name} of {path} makes a {type(made).__name__}, which is no pipeline; "
                "expected an object with __call__(frame) -> Detections and describe() -> dict"
            )
        facts = {"object": self.object, "sha256": hashlib.sha256(code).hexdigest()}
        own = OwnPipeline(made, {**facts, "options": options})
        try:
            json.dumps(own.describe())
        except Exception as error:
            raise ConfigError(
                f"pipeline: describe() of {name} and its keys cannot be written into a table "
                f"({_said(error)}); expected a dictionary of numbers, strings, and lists and "
                "dictionaries of them"
            ) from error
        return own

    def _from_file(self, path: pathlib.Path) -> tuple[Any, bytes]:
        """The object, and the code that was run."""
        if not path.is_file():
            raise ConfigError(f"pipeline.file: there is no file {path}")
        code = path.read_bytes()
        # Not by an import: that may run older bytecode, whose checksum is not the file's.
        module = types.ModuleType(f"_own_pipeline_{hashlib.sha256(code).hexdigest()[:16]}")
        module.__file__ = str(path)
        sys.modules[module.__name__] = module
        try:
            exec(compile(code, str(path), "exec"), module.__dict__)
        except Exception as error:
            del sys.modules[module.__name__]
            raise ConfigError(
                f"pipeline.file: {path} cannot be run ({_said(error)}); correct it"
            ) from error
        return _member(module, self.object, str(path)), code

    def _from_module(self) -> tuple[Any, pathlib.Path]:
        """The object, and the file of the module that defines it."""
        name, _, member = self.object.rpartition(":")
        try:
            module = importlib.import_module(name)
        except Exception as error:
            raise ConfigError(
                f"pipeline.object: {name} cannot be imported ({_said(error)}); install it, or give "
                'its file = "….py"'
            ) from error
        found = _member(module, member, name)
        home = sys.modules.get(getattr(found, "__module__", None) or name, module)
        origin = getattr(home, "__file__", None)
        if origin is None:
            raise ConfigError(
                f"pipeline.object: {home.__name__} has no file, whose checksum the table needs; "
                'give its file = "….py"'
            )
        return found, pathlib.Path(origin)


@dataclasses.dataclass(frozen=True, eq=False)
class OwnPipeline:
    """A pipeline with the checksum of its code among its facts, whose results are checked.

    **Arguments:**

    - `pipeline`: the user's. `facts`: object, checksum and options; JSON.
    """

    pipeline: Pipeline
    facts: Mapping[str, Any]

    def describe(self) -> dict[str, Any]:
        """What the pipeline says of itself, and `own`: where it comes from."""
        return {**self.pipeline.describe(), "own": dict(self.facts)}

    def __call__(self, frame: Frame) -> Detections:
        """Run on a frame; `ConfigError` for what are no detections in its bands."""
        found = self.pipeline(frame)
        name = self.facts["object"]
        if not isinstance(found, Detections):
            raise ConfigError(
                f"pipeline: {name} returned a {type(found).__name__}; expected Detections"
            )
        if found.bands != frame.bands:
            raise ConfigError(
                f"pipeline: {name} returned magnitudes in {', '.join(found.bands)}; expected the "
                f"bands of the frame, {', '.join(frame.bands)}, NaN where it has none"
            )
        return found


def _member(module: types.ModuleType, name: str, where: str) -> Any:
    if not hasattr(module, name):
        own = [
            other
            for other, value in vars(module).items()
            if inspect.isclass(value) and value.__module__ == module.__name__
        ]
        raise ConfigError(
            f"pipeline.object: {where} has no {name}; its classes are {', '.join(own) or '(none)'}"
        )
    return getattr(module, name)


def _signature(make: Callable[..., Any]) -> str:
    try:
        return str(inspect.signature(make))
    except (TypeError, ValueError):
        return "what its documentation says"


def _said(error: Exception) -> str:
    """An error as one line."""
    return f"{type(error).__name__}: {error}".strip().split("\n")[0]
