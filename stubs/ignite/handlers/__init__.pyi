from .checkpoint import Checkpoint as Checkpoint
from .checkpoint import DiskSaver as DiskSaver
