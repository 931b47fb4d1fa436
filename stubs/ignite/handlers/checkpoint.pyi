from abc import ABCMeta
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, Optional, Union

class Checkpoint:
    # Any: whatever has state_dict and load_state_dict
    def __init__(
        self,
        to_save: Mapping[str, Any],
        save_handler: Union[str, Path, Callable[..., Any]],
        filename_prefix: str = "",
        score_function: Optional[Callable[..., Any]] = None,
        score_name: Optional[str] = None,
        n_saved: Optional[int] = 1,
        global_step_transform: Optional[Callable[..., Any]] = None,
        filename_pattern: Optional[str] = None,
        include_self: bool = False,
        greater_or_equal: bool = False,
        save_on_rank: int = 0,
    ) -> None: ...
    def __call__(self, engine: Any, *args: Any, **kwargs: Any) -> None: ...
    @property
    def last_checkpoint(self) -> Optional[Union[str, Path]]: ...
    @staticmethod
    def load_objects(
        to_load: Mapping[str, Any], checkpoint: Union[str, Mapping[str, Any], Path], **kwargs: Any
    ) -> None: ...

class DiskSaver(metaclass=ABCMeta):
    def __init__(
        self,
        dirname: Union[str, Path],
        atomic: bool = True,
        create_dir: bool = True,
        require_empty: bool = True,
        save_on_rank: int = 0,
        **kwargs: Any,
    ) -> None: ...
    def __call__(
        self, checkpoint: Mapping[str, Any], filename: str, metadata: Optional[Mapping[str, Any]] = None
    ) -> None: ...
