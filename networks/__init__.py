"""Neural networks alone: they know nothing of clusters."""

from .mlp import MLP as MLP
from .mlp import random_mlp as random_mlp
