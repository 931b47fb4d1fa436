# lightning 2.6.6, which is typed: these are for where it is not installed
from .pytorch.callbacks import Callback as Callback
from .pytorch.core import LightningModule as LightningModule
from .pytorch.trainer import Trainer as Trainer
