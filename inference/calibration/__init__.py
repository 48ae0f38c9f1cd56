"""Calibration: do posteriors of mock catalogues hold the truth as often as they say?"""

from .gate import FALSE_ALARM as FALSE_ALARM
from .gate import LEVELS as LEVELS
from .gate import Checks as Checks
from .gate import check_ranks as check_ranks
from .gate import gate_power as gate_power
from .problem import Problem as Problem
from .ranks import ecdf_band as ecdf_band
from .ranks import rank_ecdf as rank_ecdf
from .ranks import rank_of as rank_of
from .result import Calibration as Calibration
from .result import CalibrationFileError as CalibrationFileError
from .run import calibrate as calibrate
from .run import calibrate_problem as calibrate_problem
from .score import ScoreTest as ScoreTest
from .score import score_test as score_test
from .settings import CalibrationSettings as CalibrationSettings
