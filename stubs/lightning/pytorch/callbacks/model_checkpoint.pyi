from datetime import timedelta
from os import PathLike
from typing import Literal

from .callback import Callback

class Checkpoint(Callback): ...

class ModelCheckpoint(Checkpoint):
    last_model_path: str
    best_model_path: str
    def __init__(
        self,
        dirpath: str | PathLike[str] | None = None,
        filename: str | None = None,
        monitor: str | None = None,
        verbose: bool = False,
        save_last: bool | Literal["link"] | None = None,
        save_top_k: int = 1,
        save_on_exception: bool = False,
        save_weights_only: bool = False,
        mode: str = "min",
        auto_insert_metric_name: bool = True,
        every_n_train_steps: int | None = None,
        train_time_interval: timedelta | None = None,
        every_n_epochs: int | None = None,
        save_on_train_epoch_end: bool | None = None,
        enable_version_counter: bool = True,
    ) -> None: ...
