"""The rule for every path in a file: where it starts, and what `package:` stands for."""

import dataclasses
import glob
import importlib.resources
import pathlib

from starcensus.experiments.schema._base import ConfigError

PACKAGE_PREFIX = "package:"


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where the files are that a file names.

    A relative path starts from the folder of the file that says it; what is not there is looked for
    in the folders of --data and below them. `package:NAME` is a file that starcensus carries.

    **Arguments:**

    - `folder`: of the file. `data`: further ones, in their order.
    """

    folder: pathlib.Path
    data: tuple[pathlib.Path, ...] = ()

    def __post_init__(self) -> None:
        for folder in self.data:
            if not folder.is_dir():
                raise ConfigError(f"--data {folder}: there is no such folder")

    @classmethod
    def beside(cls, path: pathlib.Path, data: tuple[pathlib.Path, ...] = ()) -> "Sources":
        """Of a file at `path`."""
        return cls(path.resolve().parent, data)

    def file(self, path: str, what: str) -> pathlib.Path:
        """The file of a path; raises `ConfigError` for none, or several below one folder.

        **Arguments:**

        - `what`: names it, "catalogue".
        """
        if path.startswith(PACKAGE_PREFIX):
            return _carried(path.removeprefix(PACKAGE_PREFIX), what)
        found = self.place(path, what)
        if found.is_dir():
            raise ConfigError(f"{what}: {found} is a folder; expected a file")
        return found

    def place(self, path: str, what: str) -> pathlib.Path:
        """The file or folder of a path; raises `ConfigError` as `file`."""
        given = pathlib.Path(path)
        if (self.folder / given).exists():
            return self.folder / given
        if given.is_absolute():
            raise ConfigError(f"{what}: there is no file or folder {path}")
        for root in self.data:
            if (root / given).exists():
                return root / given
        for root in self.data:
            matches = sorted(root.rglob(glob.escape(given.name)))
            if len(matches) > 1:
                listed = ", ".join(str(m.relative_to(root)) for m in matches)
                raise ConfigError(f"{what}: several files under {root} are called {path}: {listed}")
            if matches:
                return matches[0]
        searched = " or ".join(str(root) for root in (self.folder, *self.data))
        raise ConfigError(
            f"{what}: no file {path} in {searched}; give the folder that holds it with --data"
        )

    def beside_file(self, path: str) -> pathlib.Path:
        """A path to write to, or that need not be there: from the folder of the file."""
        return self.folder / path


def _carried(name: str, what: str) -> pathlib.Path:
    folder = importlib.resources.files("starcensus.experiments") / "data"
    found = pathlib.Path(str(folder / name))
    if not found.is_file() or found.parent != pathlib.Path(str(folder)):
        raise ConfigError(f"{what}: starcensus carries no file {name!r}")
    return found
