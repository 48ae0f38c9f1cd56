"""Selection: survey operators that give the probability of entering a catalogue."""

from ._base import AbstractSelection as AbstractSelection
from ._base import SelectionDomainError as SelectionDomainError
from ._box import Box as Box
from ._complete import CompleteSelection as CompleteSelection
from ._complete import complete as complete
