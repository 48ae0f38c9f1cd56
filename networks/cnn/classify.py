"""Classifiers of candidates after PHANGS-HST, and ensembles of them.

Whitmore et al. (2021, arXiv:2107.13049, section 2 and appendix A) train ResNet18 and VGG19 with
batch normalisation, ten of each, on stamps in five bands; in a batch of 32 an object's class is
drawn before the object, and it is turned and mirrored. They leave open the optimiser, the rate, the
loss, how pixels are scaled, and what differs between the ten. Here: AdamW and the cross-entropy of
`train_network`; pixels as `ClassifierSettings` says; and models that differ in their first weights,
dropout and the order of their batches. Their networks were trained on photographs first; these
begin at random weights.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from starcensus.files import (
    FileError,
    Path,
    checksum,
    prepare_folder,
    read_json,
    to_json,
    write_json,
)
from starcensus.settings import check_choices, check_seed

from ..tensors import read_tensors, write_tensors
from .resnet import standardised
from .resnet18 import ResNet18, ResNet18Settings
from .schedules import LoopSettings
from .train import Batch, TrainedNetwork, train_network
from .vgg19 import VGG19, VGG19Settings

KIND = "starcensus ensemble of classifiers, 1"
RUN_KIND = "starcensus training of classifiers, 1"
RECORD = "ensemble.json"
# As long as PHANGS-HST's example, in batches of 32.
PHANGS_LOOP = LoopSettings(steps=10_000)

# Median of the absolute deviations of a Gaussian over its standard deviation.
_MAD = 0.6745
_SETTINGS = {"resnet18": ResNet18Settings, "vgg19": VGG19Settings}

type Report = Callable[[int, int, float, float | None], None]
type Source = Callable[[int], Callable[[int], Iterator[Batch]]]


@dataclasses.dataclass(frozen=True)
class ClassifierSettings:
    """A classifier: how pixels are scaled, and the network behind.

    **Arguments:**

    - `network`: of either architecture; its `n_bands` are those of the stamps.
    - `normalisation`: for each band of each stamp, "standard": mean 0 and standard deviation 1,
      then asinh; "noise": the median taken off, over the scatter of the sky, then asinh. That
      scatter is from the median of absolute deviations. The first sees shapes, the second
      brightness too; what PHANGS-HST did is not said.

    Raises `ValueError` for another word.

    ```python
    ClassifierSettings(ResNet18Settings(n_bands=3, width=16), "noise")
    ```
    """

    network: ResNet18Settings | VGG19Settings = dataclasses.field(default_factory=ResNet18Settings)
    normalisation: Literal["standard", "noise"] = "standard"

    def __post_init__(self) -> None:
        check_choices(self)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.network.n_classes

    def as_dict(self) -> dict[str, Any]:
        """The settings for JSON; `from_dict` reads it."""
        [kind] = [name for name, cls in _SETTINGS.items() if isinstance(self.network, cls)]
        network = {"kind": kind, **self.network.as_dict()}
        return {"network": network, "normalisation": self.normalisation}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "ClassifierSettings":
        """The settings of `as_dict`; raises `ValueError` for words or values that are none of it.

        ```python
        settings = ClassifierSettings(VGG19Settings(width=8))
        ClassifierSettings.from_dict(settings.as_dict()) == settings  # True
        ```
        """
        network = given.get("network")
        if set(given) != {"network", "normalisation"} or not isinstance(network, Mapping):
            raise ValueError(
                f"a classifier has {', '.join(sorted(given))}; expected network and normalisation"
            )
        words = dict(network)
        kind = words.pop("kind", None)
        if kind not in _SETTINGS:
            raise ValueError(f"kind is {kind!r}; expected one of {', '.join(_SETTINGS)}")
        return cls(_SETTINGS[kind].from_dict(words), given["normalisation"])


class Classifier(nn.Module):
    """A network of `ClassifierSettings`: fluxes `(n, band, y, x)` to logits `(n, class)`.

    ```python
    classifier = Classifier(ClassifierSettings(ResNet18Settings(width=8))).eval()
    classifier(torch.randn(2, 5, 40, 40))["class"].softmax(1)  # 0.25, untrained
    ```
    """

    def __init__(self, settings: ClassifierSettings = ClassifierSettings()):
        super().__init__()
        self.settings = settings
        of_kind = ResNet18 if isinstance(settings.network, ResNet18Settings) else VGG19
        self.network = of_kind(settings.network)  # pyright: ignore[reportArgumentType]

    def forward(self, images: Float[Tensor, "n band y x"]) -> dict[str, Tensor]:
        if self.settings.normalisation == "standard":
            return self.network(standardised(images).asinh())
        return self.network(over_noise(images).asinh())


def over_noise(images: Float[Tensor, "n band y x"]) -> Float[Tensor, "n band y x"]:
    """Each band of each image over its scatter, about its median; 0 where half of it is constant.

    ```python
    over_noise(torch.randn(2, 3, 64, 64)).std((2, 3))  # 1, roughly
    ```
    """
    flat = images.flatten(2)
    away = flat - flat.median(2, keepdim=True).values
    sd = away.abs().median(2, keepdim=True).values / _MAD
    # As in `standardised`: rounding is no scatter.
    least = 1e-6 * flat.abs().amax(2, keepdim=True)
    return torch.where(sd > least, away / torch.where(sd > least, sd, 1.0), 0.0).view_as(images)


@dataclasses.dataclass(frozen=True, eq=False)
class ClassifierEnsemble:
    """Trained classifiers of the same stamps.

    **Arguments:**

    - `members`: the classifiers, all with the same bands and classes.

    Raises `ValueError` for none, and for members of different bands or classes.

    ```python
    one = Classifier(ClassifierSettings(ResNet18Settings(width=8)))
    ClassifierEnsemble((one,)).votes(np.zeros((2, 5, 40, 40), np.float32))  # 1, 1: all alike
    ```
    """

    members: tuple[Classifier, ...]

    def __post_init__(self) -> None:
        shapes = {(m.settings.network.n_bands, m.settings.n_classes) for m in self.members}
        if len(shapes) != 1:
            raise ValueError(
                f"{len(self.members)} members have (bands, classes) {sorted(shapes)}; expected one "
                "member or more, all alike"
            )

    def probabilities(
        self, images: Float32[np.ndarray, "n band y x"], batch: int = 256
    ) -> Float32[np.ndarray, "n network class"]:
        """Probability of each class by each network.

        **Arguments:**

        - `images`: stamps as in training. `batch`: how many are evaluated at a time.

        Raises `ValueError` for other bands, and for stamps that are not finite.
        """
        n_bands = self.members[0].settings.network.n_bands
        if images.shape[1] != n_bands:
            raise ValueError(f"stamps have {images.shape[1]} bands; expected {n_bands}")
        if not (finite := np.isfinite(images).all(axis=(1, 2, 3))).all():
            raise ValueError(
                f"stamp {int(np.argmin(finite))} has pixels that are not finite; expected fluxes"
            )
        n_classes = self.members[0].settings.n_classes
        out = np.empty((len(images), len(self.members), n_classes), np.float32)
        for number, member in enumerate(self.members):
            device = next(member.parameters()).device
            member.eval()
            for start in range(0, len(images), batch):
                part = slice(start, start + batch)
                with torch.no_grad():
                    logits = member(torch.from_numpy(images[part]).to(device))["class"]
                out[part, number] = logits.float().softmax(1).cpu().numpy()
        return out

    def votes(
        self, images: Float32[np.ndarray, "n band y x"], batch: int = 256
    ) -> Int[np.ndarray, "n network"]:
        """The most probable class by each network, from 1 on, as `ensemble_vote` takes them."""
        return self.probabilities(images, batch).argmax(axis=2) + 1

    def save(self, path: Path, about: Mapping[str, Any] | None = None) -> None:
        """Write the definition as JSON, and beside it the weights, of suffix `.safetensors`.

        `about`: further facts that JSON can say, as the command that trained them. Raises
        `FileError` where writing fails.
        """
        weights = pathlib.Path(path).with_suffix(".safetensors")
        arrays = {
            f"{number}.{name}": values.detach().cpu().numpy()
            for number, member in enumerate(self.members)
            for name, values in member.state_dict().items()
        }
        write_tensors(weights, arrays)
        definition = {
            "kind": KIND,
            "weights": weights.name,
            "sha256": checksum(weights),
            "members": [member.settings.as_dict() for member in self.members],
            "about": dict(about or {}),
        }
        write_json(path, definition)

    @classmethod
    def load(cls, path: Path) -> "ClassifierEnsemble":
        """Read what `save` wrote; raises `FileError` for files that are none, or damaged.

        ```python
        one = Classifier(ClassifierSettings(ResNet18Settings(width=4)))
        ClassifierEnsemble((one,)).save("classes.json")
        len(ClassifierEnsemble.load("classes.json").members)  # 1
        ```
        """
        content = read_json(path, "ensemble of classifiers")
        if not isinstance(content, dict) or content.get("kind") != KIND:
            raise FileError(f"{path}: is no ensemble of classifiers; expected kind {KIND!r}")
        try:
            # A name alone: a definition does not lead to files of other folders.
            weights = pathlib.Path(path).parent / pathlib.PurePath(content["weights"]).name
            arrays = read_tensors(weights)
            if checksum(weights) != content["sha256"]:
                raise FileError(f"{path}: {weights.name} is not the file that it was written with")
            members = []
            for number, words in enumerate(content["members"]):
                member, prefix = Classifier(ClassifierSettings.from_dict(words)), f"{number}."
                own = {
                    name.removeprefix(prefix): torch.from_numpy(values)
                    for name, values in arrays.items()
                    if name.startswith(prefix)
                }
                member.load_state_dict(own)
                members.append(member.eval())
            return cls(tuple(members))
        except FileError:
            raise
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise FileError(f"{path}: is damaged: {type(error).__name__}: {error}") from error


def train_ensemble(
    settings: ClassifierSettings,
    batches: Source,
    loop: LoopSettings = PHANGS_LOOP,
    *,
    n_models: int = 10,
    seed: int = 0,
    folder: Path | None = None,
    validation: Sequence[Batch] = (),
    about: Mapping[str, Any] | None = None,
    report: Report = lambda model, step, loss, validation: None,
) -> tuple[ClassifierEnsemble, tuple[TrainedNetwork, ...]]:
    """Train classifiers that differ by their seeds alone, one after the other.

    Model i of a seed is the same in a larger ensemble.

    **Arguments:**

    - `settings`, `loop`: of all models; the seeds in them are replaced.
    - `batches`: called with a model's seed, returns what `train_network` takes: a function of the
      number of a step, which returns batches from that step on. Targets are `class`, `(n, class)`
      probabilities, and `is_cluster`, `(n,)`.
    - `n_models`, `seed`: number of models, and the seed of the ensemble.
    - `folder`: where each model has a folder with its checkpoints, from which training goes on; a
      model that is finished is read. None: nothing is kept.
    - `validation`: batches on which the best weights of each model are chosen.
    - `about`: facts that JSON can say of the data, as a checksum: training goes on with the same.
    - `report`: called after each step with the number of the model, that of steps, the loss, and
      after a validation its loss.

    Returns the ensemble, and the loss curves of each model.

    Raises `ValueError` for no model, `FileError` for a folder of other settings, seed or data, and
    as `train_network`.

    ```python
    def noise(seed):
        def of_step(step):
            while True:
                rng, step = np.random.default_rng([seed, step]), step + 1
                images = rng.normal(size=(8, 1, 32, 32)).astype(np.float32)
                yield images, {"class": np.full((8, 4), 0.25), "is_cluster": np.ones(8, bool)}

        return of_step

    small = ClassifierSettings(ResNet18Settings(n_bands=1, width=4))
    train_ensemble(small, noise, LoopSettings(steps=2), n_models=2)[0].members
    ```
    """
    check_seed(seed)
    if n_models < 1:
        raise ValueError(f"n_models is {n_models}; expected 1 or more")
    if folder is not None:
        facts = {"settings": _without_seed(settings.as_dict()), "seed": seed}
        facts |= {"loop": _without_seed(dataclasses.asdict(loop)), "about": dict(about or {})}
        _check_record(prepare_folder(folder) / RECORD, facts)
    trained = []
    for model in range(n_models):
        own = member_seed(seed, model)
        of_model = dataclasses.replace(
            settings, network=dataclasses.replace(settings.network, seed=own)
        )
        trained.append(
            train_network(
                Classifier(of_model),
                batches(own),
                dataclasses.replace(loop, seed=own),
                validation=validation,
                checkpoint=None if folder is None else pathlib.Path(folder) / f"model-{model:02d}",
                report=lambda step, loss, lowest, model=model: report(model, step, loss, lowest),
            )
        )
    members = [each.network for each in trained]
    assert all(isinstance(member, Classifier) for member in members)
    return ClassifierEnsemble(tuple(members)), tuple(trained)


def member_seed(seed: int, model: int) -> int:
    """The seed of one model of an ensemble.

    ```python
    member_seed(1, 0) != member_seed(2, 0)  # True
    ```
    """
    (state,) = np.random.SeedSequence([seed, model]).generate_state(1, np.uint64)
    return int(state) % 2**62


def _without_seed(words: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_seed(value) if isinstance(value, Mapping) else value
        for name, value in words.items()
        if name != "seed"
    }


def _check_record(path: pathlib.Path, facts: Mapping[str, Any]) -> None:
    """Note what is trained in a folder; raises `FileError` where another thing was."""
    if not path.exists():
        write_json(path, {"kind": RUN_KIND, **facts})
        return
    was = read_json(path, "record of a training")
    if not isinstance(was, dict) or was.get("kind") != RUN_KIND:
        raise FileError(f"{path}: is no record of a training; expected kind {RUN_KIND!r}")
    given = json.loads(to_json(facts))
    if differing := [name for name, value in given.items() if was.get(name) != value]:
        name = differing[0]
        raise FileError(
            f"{path}: was made with {name} = {was.get(name)!r}, not {given[name]!r}; go on with "
            "the same, or train in another folder"
        )
