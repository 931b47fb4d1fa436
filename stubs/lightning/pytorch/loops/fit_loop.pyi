from .training_epoch_loop import _TrainingEpochLoop

class _FitLoop:
    epoch_loop: _TrainingEpochLoop
