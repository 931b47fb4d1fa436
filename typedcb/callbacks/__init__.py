"""The ready-made callbacks, a file a theme. Import them from here: `from typedcb.callbacks import AvgStats`.

What needs an extra package imports it when it is used, and says which extra brings it.
"""

from .accumulate import GradientAccumulation as GradientAccumulation
from .activations import ActivationStats as ActivationStats
from .activations import ForwardHooks as ForwardHooks
from .activations import leaves as leaves
from .anneal import Schedule as Schedule
from .anneal import combine as combine
from .anneal import constant as constant
from .anneal import cosine as cosine
from .anneal import exponential as exponential
from .anneal import flat_cosine as flat_cosine
from .anneal import linear as linear
from .anneal import one_cycle as one_cycle
from .anneal import polynomial as polynomial
from .best import SaveBest as SaveBest
from .checkpoint import Checkpoint as Checkpoint
from .clip import GradientClip as GradientClip
from .csv_log import CSVLogger as CSVLogger
from .cycle import OneCycle as OneCycle
from .ema import EMA as EMA
from .freeze import Freeze as Freeze
from .freeze import Unfreeze as Unfreeze
from .freeze import discriminative as discriminative
from .freeze import freeze_to as freeze_to
from .hyper import LR as LR
from .hyper import MOMENTUM as MOMENTUM
from .hyper import WEIGHT_DECAY as WEIGHT_DECAY
from .hyper import Hyper as Hyper
from .limits import StopAfterNBatches as StopAfterNBatches
from .limits import TerminateOnNaN as TerminateOnNaN
from .lr_finder import BATCH_10 as BATCH_10
from .lr_finder import SMOOTH_4 as SMOOTH_4
from .lr_finder import Diverged as Diverged
from .lr_finder import LRFinder as LRFinder
from .memory import PeakMemory as PeakMemory
from .plateau import ReduceLROnPlateau as ReduceLROnPlateau
from .precision import MixedPrecision as MixedPrecision
from .profiler import Profiler as Profiler
from .progress import Progress as Progress
from .recorder import Recorder as Recorder
from .schedule import ParamScheduler as ParamScheduler
from .smooth import SmoothGradNorm as SmoothGradNorm
from .smooth import SmoothLoss as SmoothLoss
from .stats import AvgStats as AvgStats
from .stats import accuracy as accuracy
from .stopping import EarlyStopping as EarlyStopping
from .tensorboard import TensorBoard as TensorBoard
from .timer import EpochTime as EpochTime
from .timer import Timer as Timer
from .torch_schedule import TorchScheduler as TorchScheduler
from .transform import BatchTransform as BatchTransform
from .transform import LabelSmoothing as LabelSmoothing
from .transform import MixUp as MixUp
from .transform import ToDevice as ToDevice
