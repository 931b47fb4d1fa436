from .callbacks import Callback as Callback
from .core import LightningModule as LightningModule
from .trainer import Trainer as Trainer
