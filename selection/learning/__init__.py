"""Learning a selection operator from artificial cluster tests, and checking it."""

from .design import TransitionDesign as TransitionDesign
from .features import Inputs as Inputs
from .features import features as features
from .learn import Learned as Learned
from .learn import LearnSettings as LearnSettings
from .learn import learn as learn
from .learn import pool_weight as pool_weight
from .learn import predict as predict
from .learn import predict_library as predict_library
from .monotonic import monotonic_breaks as monotonic_breaks
from .validate import Neighbours as Neighbours
from .validate import Reliability as Reliability
from .validate import Scores as Scores
from .validate import TestSet as TestSet
from .validate import log_loss as log_loss
from .validate import reliability as reliability
