from enum import Enum
from typing import Any, Callable, Optional

class CallableEventWithFilter:
    def __init__(
        self, value: str, event_filter: Optional[Callable[..., bool]] = None, name: Optional[str] = None
    ) -> None: ...
    def __call__(
        self,
        event_filter: Optional[Callable[..., bool]] = None,
        every: Optional[int] = None,
        once: Optional[int | list[int]] = None,
        before: Optional[int] = None,
        after: Optional[int] = None,
    ) -> CallableEventWithFilter: ...
    def __or__(self, other: Any) -> EventsList: ...

class Events(CallableEventWithFilter, Enum):
    EPOCH_STARTED = "epoch_started"
    EPOCH_COMPLETED = "epoch_completed"
    STARTED = "started"
    COMPLETED = "completed"
    ITERATION_STARTED = "iteration_started"
    ITERATION_COMPLETED = "iteration_completed"
    EXCEPTION_RAISED = "exception_raised"
    GET_BATCH_STARTED = "get_batch_started"
    GET_BATCH_COMPLETED = "get_batch_completed"
    DATALOADER_STOP_ITERATION = "dataloader_stop_iteration"
    TERMINATE = "terminate"
    TERMINATE_SINGLE_EPOCH = "terminate_single_epoch"
    INTERRUPT = "interrupt"

class EventsList: ...

class State:
    iteration: int
    epoch: int
    epoch_length: Optional[int]
    max_epochs: Optional[int]
    max_iters: Optional[int]
    # Any: batches, outputs and loaders are the user's own
    batch: Any
    output: Any
    dataloader: Any
    metrics: dict[str, Any]

class RemovableEventHandle:
    def __init__(self, event_name: Any, handler: Callable[..., Any], engine: Any) -> None: ...
    def remove(self) -> None: ...
