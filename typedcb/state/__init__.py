"""The state of a learner: what a checkpoint holds of it, what may differ, and how it is given back."""

from .at_rest import load as load
from .at_rest import save as save
from .capture import bring_together as bring_together
from .capture import captured as captured
from .capture import in_fit as in_fit
from .capture import inexact_parts as inexact_parts
from .capture import instant as instant
from .capture import modes as modes
from .capture import with_ranks as with_ranks
from .mismatch import OnMismatch as OnMismatch
from .resume import resumption as resumption
from .subject import InFit as InFit
