"""What a catalogued cluster is, given what a survey measured of it: learned from injections."""

from .learn import learn_posterior as learn_posterior
from .learned import LearnedPosterior as LearnedPosterior
from .learned import PosteriorFileError as PosteriorFileError
from .learned import ThetaDraws as ThetaDraws
from .settings import PosteriorSettings as PosteriorSettings
