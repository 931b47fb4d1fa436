from ..trainer import Trainer
from .progress import _BatchProgress

class _TrainingEpochLoop:
    batch_progress: _BatchProgress
    def __init__(self, trainer: Trainer, min_steps: int | None = None, max_steps: int = -1) -> None: ...
