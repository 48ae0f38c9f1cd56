"""Networks that find star clusters in images, their training with Torch, and what they say.

`starcensus.networks` does not import this folder, and Torch is loaded by those of its parts alone
that need it: targets and their reading do without, as does `starcensus.networks.conv`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from starcensus.extras import need

if TYPE_CHECKING:
    from .classify import Classifier as Classifier
    from .classify import ClassifierEnsemble as ClassifierEnsemble
    from .classify import ClassifierSettings as ClassifierSettings
    from .classify import train_ensemble as train_ensemble
    from .compact import CompactNetwork as CompactNetwork
    from .decoding import decode as decode
    from .decoding import log_density as log_density
    from .decoding import marginal as marginal
    from .decoding import quantiles as quantiles
    from .decoding import softmax as softmax
    from .heads import Heads as Heads
    from .heads import mixture_log_density as mixture_log_density
    from .losses import head_losses as head_losses
    from .mixture import Mixtures as Mixtures
    from .mixture import mixture_outputs as mixture_outputs
    from .resnet import ResNet as ResNet
    from .resnet import ResNetSettings as ResNetSettings
    from .resnet18 import ResNet18 as ResNet18
    from .resnet18 import ResNet18Settings as ResNet18Settings
    from .schedules import SHARPENING as SHARPENING
    from .schedules import THESIS_A as THESIS_A
    from .schedules import THESIS_B as THESIS_B
    from .schedules import LoopSettings as LoopSettings
    from .targets import Axis as Axis
    from .targets import Grid as Grid
    from .targets import make_targets as make_targets
    from .train import TrainedNetwork as TrainedNetwork
    from .train import logits_of as logits_of
    from .train import train_network as train_network
    from .vgg19 import VGG19 as VGG19
    from .vgg19 import VGG19Settings as VGG19Settings
    from .widening import Widening as Widening
    from .widening import fit_widening as fit_widening

_HOMES = {
    "Classifier": "classify",
    "ClassifierEnsemble": "classify",
    "ClassifierSettings": "classify",
    "train_ensemble": "classify",
    "ResNet18": "resnet18",
    "ResNet18Settings": "resnet18",
    "VGG19": "vgg19",
    "VGG19Settings": "vgg19",
    "CompactNetwork": "compact",
    "decode": "decoding",
    "log_density": "decoding",
    "marginal": "decoding",
    "quantiles": "decoding",
    "softmax": "decoding",
    "Heads": "heads",
    "mixture_log_density": "heads",
    "mixture_outputs": "mixture",
    "Mixtures": "mixture",
    "head_losses": "losses",
    "ResNet": "resnet",
    "ResNetSettings": "resnet",
    "THESIS_A": "schedules",
    "THESIS_B": "schedules",
    "LoopSettings": "schedules",
    "SHARPENING": "schedules",
    "Axis": "targets",
    "Grid": "targets",
    "make_targets": "targets",
    "TrainedNetwork": "train",
    "logits_of": "train",
    "train_network": "train",
    "Widening": "widening",
    "fit_widening": "widening",
}
_OF_TORCH = {"classify", "compact", "heads", "losses", "resnet", "resnet18", "train", "vgg19"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOMES[name] in _OF_TORCH:
        need("torch", purpose="training of networks")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
