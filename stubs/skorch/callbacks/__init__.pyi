from .base import Callback as Callback
from .scoring import EpochScoring as EpochScoring
from .training import Checkpoint as Checkpoint
from .training import EarlyStopping as EarlyStopping
