# transformers 5.24.0
from typing import Any, NamedTuple

class EvalLoopOutput(NamedTuple):
    predictions: Any
    label_ids: Any
    metrics: dict[str, float] | None
    num_samples: int | None

class TrainOutput(NamedTuple):
    global_step: int
    training_loss: float
    metrics: dict[str, float]
