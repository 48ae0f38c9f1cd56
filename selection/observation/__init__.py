"""What is measured of a cluster, given its true magnitudes and that it is catalogued."""

from ._base import OBSERVATIONS as OBSERVATIONS
from ._base import REACH as REACH
from ._base import AbstractObservation as AbstractObservation
from ._base import Reach as Reach
from ._base import Truths as Truths
from .cuts import MeasuredCuts as MeasuredCuts
from .cuts import legus_cuts as legus_cuts
from .cuts import probability_of as probability_of
from .gaussian import GaussianObservation as GaussianObservation
from .learn import learn_observation as learn_observation
from .learn import of_whole_area as of_whole_area
from .learn import recorded_photometry as recorded_photometry
from .learned import LearnedObservation as LearnedObservation
from .learned import Transforms as Transforms
from .mixture import MixtureDensity as MixtureDensity
from .noise import NoiseCurves as NoiseCurves
from .settings import ObservationSettings as ObservationSettings
from .store import ObservationFileError as ObservationFileError
from .store import load_observation as load_observation
from .store import observation_provenance as observation_provenance
from .store import save_observation as save_observation
