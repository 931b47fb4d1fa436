# keras 3.15.1, on torch
from . import backend as backend
from . import callbacks as callbacks
from . import layers as layers
from . import losses as losses
from . import metrics as metrics
from . import optimizers as optimizers
from . import tree as tree
from . import utils as utils
from .models import Model as Model
from .models import Sequential as Sequential

__version__: str
