"""Says in what order callbacks run and why, who hears what, and what each may answer: `explain(learn)`."""

from .explaining import explain as explain
from .facts import Explained as Explained
from .facts import ExplainedCell as ExplainedCell
from .facts import ExplainedHook as ExplainedHook
from .facts import Explanation as Explanation
from .facts import Need as Need
