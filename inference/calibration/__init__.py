"""Calibration: do posteriors of mock catalogues hold the truth as often as they say?"""

from .ranks import ecdf_band as ecdf_band
from .ranks import rank_ecdf as rank_ecdf
from .result import FALSE_ALARM as FALSE_ALARM
from .result import LEVELS as LEVELS
from .result import Calibration as Calibration
from .result import CalibrationFileError as CalibrationFileError
from .run import calibrate as calibrate
from .settings import CalibrationSettings as CalibrationSettings
