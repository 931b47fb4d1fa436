from ..trainer import Trainer
from .training_epoch_loop import _TrainingEpochLoop

class _FitLoop:
    epoch_loop: _TrainingEpochLoop
    def __init__(self, trainer: Trainer, min_epochs: int | None = 0, max_epochs: int | None = None) -> None: ...
