"""Records what a loop does, event by event, and reads it back: `Trace` writes, `read` reads."""

from .amounts import Amount as Amount
from .comparison import Difference as Difference
from .comparison import Equal as Equal
from .comparison import Rules as Rules
from .diff import diff as diff
from .reading import TracedRun as TracedRun
from .reading import TraceFile as TraceFile
from .reading import read as read
from .records import Call as Call
from .records import CallbackInfo as CallbackInfo
from .records import End as End
from .records import ErrorValue as ErrorValue
from .records import Event as Event
from .records import Header as Header
from .records import ItemsValue as ItemsValue
from .records import NamedValues as NamedValues
from .records import TensorValue as TensorValue
from .records import TextValue as TextValue
from .records import Value as Value
from .records import WeightValue as WeightValue
from .trace import Trace as Trace
