"""Neural networks alone: they know nothing of clusters."""

from .mlp import MLP as MLP
from .mlp import random_mlp as random_mlp
from .training import Trained as Trained
from .training import TrainingDiverged as TrainingDiverged
from .training import TrainSettings as TrainSettings
from .training import search_grid as search_grid
from .training import train_ensemble as train_ensemble
