# accelerate 1.15.0
from .accelerator import Accelerator as Accelerator
from .state import PartialState as PartialState

__version__: str
