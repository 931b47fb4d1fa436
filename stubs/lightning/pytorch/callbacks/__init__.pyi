from .callback import Callback as Callback
from .early_stopping import EarlyStopping as EarlyStopping
from .model_checkpoint import ModelCheckpoint as ModelCheckpoint
