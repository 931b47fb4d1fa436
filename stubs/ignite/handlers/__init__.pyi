from .checkpoint import Checkpoint as Checkpoint
from .checkpoint import DiskSaver as DiskSaver
from .stores import EpochOutputStore as EpochOutputStore
