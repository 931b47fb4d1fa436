from collections.abc import Iterable, Mapping
from logging import Logger
from typing import Any, Callable, Optional, TypeVar, Union

from .events import CallableEventWithFilter, Events, EventsList, RemovableEventHandle, State

_F = TypeVar("_F", bound=Callable[..., Any])  # Any: a handler takes an engine, or nothing

class Engine:
    state: State
    should_terminate: Union[bool, str]
    should_terminate_single_epoch: Union[bool, str]
    should_interrupt: bool
    last_event_name: Optional[Events]
    logger: Logger
    # Any: batches and outputs are the user's own
    def __init__(self, process_function: Callable[[Engine, Any], Any]) -> None: ...
    def add_event_handler(
        self,
        event_name: Union[CallableEventWithFilter, EventsList],
        handler: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> RemovableEventHandle: ...
    def has_event_handler(self, handler: Callable[..., Any], event_name: Any = None) -> bool: ...
    def remove_event_handler(self, handler: Callable[..., Any], event_name: CallableEventWithFilter) -> None: ...
    def on(
        self, event_name: Union[CallableEventWithFilter, EventsList], *args: Any, **kwargs: Any
    ) -> Callable[[_F], _F]: ...
    def terminate(self, skip_completed: bool = False) -> None: ...
    def terminate_epoch(self, skip_epoch_completed: bool = False) -> None: ...
    def interrupt(self) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None: ...
    def run(
        self,
        data: Optional[Iterable[Any]] = None,
        max_epochs: Optional[int] = None,
        max_iters: Optional[int] = None,
        epoch_length: Optional[int] = None,
    ) -> State: ...
