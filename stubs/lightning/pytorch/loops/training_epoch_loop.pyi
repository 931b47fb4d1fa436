from .progress import _BatchProgress

class _TrainingEpochLoop:
    batch_progress: _BatchProgress
