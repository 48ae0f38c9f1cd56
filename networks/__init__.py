"""Neural networks and their training; whatever they learn from is made elsewhere."""

from .conv import ConvNetwork as ConvNetwork
from .conv_files import read_network as read_network
from .conv_files import save_network as save_network
from .conv_settings import ConvSettings as ConvSettings
from .mlp import MLP as MLP
from .mlp import random_mlp as random_mlp
from .shipped import shipped_network as shipped_network
from .temperature import cross_entropy_at as cross_entropy_at
from .temperature import fit_temperature as fit_temperature
from .temperature import tempered as tempered
from .training import Trained as Trained
from .training import TrainingDiverged as TrainingDiverged
from .training import TrainSettings as TrainSettings
from .training import search_grid as search_grid
from .training import train_ensemble as train_ensemble
