"""Runs old callbacks, unchanged, inside a typed learner, while they are moved to typed ones.

    learn = Learner(model, data, F.cross_entropy, partial(SGD, lr=0.1),
                    cbs=[AvgStats(accuracy)],
                    cb_funcs=[partial(course, callbacks=[OldMixup(), OldClip(0.1)])])
    learn.add(v1, [MySaver(), partial(MyScheduler, pct=0.3)])

Each function takes the learner first, then one old callback or a list of them, and gives one typed callback that serves
as their old runner: it sorts them by `_order`, lets them read `self.xb` and `self.run.model`, and turns what they raise
or return into typed answers.

    course      lessons 05b and 09b of the fastai course: hooks without arguments, Cancel exceptions
    runner04    the Runner of lessons 04 and 05: the same hooks, and `return True` skips
    handler04   the CallbackHandler of lesson 04: hooks with arguments, and `return False` means don't
    v1          fastai v1: `on_train_begin(**kwargs)` and the like, and dicts of what to change

Where an old callback relies on a defect of its system, a LegacyWarning says so, with what to write instead.
"""

from .course import CourseCallbacks as CourseCallbacks
from .course import course as course
from .handler import HandlerCallbacks as HandlerCallbacks
from .handler import handler04 as handler04
from .old import LegacyWarning as LegacyWarning
from .runner import Runner as Runner
from .runner04 import Runner04Callbacks as Runner04Callbacks
from .runner04 import runner04 as runner04
from .v1 import V1Callbacks as V1Callbacks
from .v1 import v1 as v1
