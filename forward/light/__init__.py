"""The light of stochastic clusters as a learned density p(μ | θ)."""

from .emulator import EmulatorError as EmulatorError
from .emulator import LightEmulator as LightEmulator
from .emulator import default_emulator as default_emulator
from .emulator import shipped_emulator as shipped_emulator
from .judge import Cell as Cell
from .judge import JudgeSettings as JudgeSettings
from .judge import judge_emulator as judge_emulator
from .learn import learn_emulator as learn_emulator
from .mean import MeanLight as MeanLight
from .settings import EmulatorSettings as EmulatorSettings
