"""Measures what a trainer does for typed callbacks: which hooks it calls, and which answers it honours.

    python tests/interop/hosting/measuring.py lightning ignite

writes what was measured into measured.json; docs/tables.py makes the table of it. An answer counts as honoured where
all that the callback hears, the trained weight and the fit's outcome are those of a learner.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Optional

from torch.optim import SGD

HERE = Path(__file__).resolve().parent
MEASURED = HERE / "measured.json"

if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from driving import ALONE, DRIVERS, Driver, Task, driver  # noqa: E402
from recording import Seen  # noqa: E402
from test_grammar import ACTS, CANCELS, REPLACE, SKIPS  # noqa: E402
from tiny import Weight, learner, pairs, total  # noqa: E402

from typedcb import Callback, CallbackError, Series, series  # noqa: E402
from typedcb.hooks import HOOKS  # noqa: E402

LR = 2.0**-10
N_EPOCHS, N_TRAIN, N_VALID = 2, 2, 2

FIRST = {"after_cancel_batch": ("begin_batch", "batch"), "after_cancel_epoch": ("begin_batch", "epoch")}
"""What has to be answered elsewhere for a hook to be called at all."""
FIRST["after_cancel_train"] = ("after_epoch", "train")


def answer_class(hook: str, act: str) -> type:
    """The class of an answer."""
    if act == "skip":
        return SKIPS[hook]
    return HOOKS[hook].event if act == "replace" else CANCELS[act]


def answering(hook: str, act: str) -> Callback[Any, Any, Any]:
    """A callback that has one hook, and answers there, the second time that it is called, what its return type says."""

    def decide(self: Any, event: Any) -> Any:
        self.heard.append(Seen.of(hook, event))
        if not act or len(self.heard) != min(2, 1 if hook == "begin_fit" else 2):
            return None
        if act == "replace":
            return REPLACE[hook](event)
        kind = answer_class(hook, act)
        return kind(hook) if act in CANCELS else kind()

    decide.__name__ = hook
    decide.__annotations__ = {"return": Optional[answer_class(hook, act)] if act else type(None)}
    namespace = {
        "__annotations__": {"heard": Series[Seen]}, "heard": series(reset="never"), hook: decide,
        "__module__": __name__,
    }  # fmt: skip
    kind: Any = dataclass(frozen=True)(type(f"Answers_{hook}_{act}", (Callback,), namespace))
    return kind()


def honoured(host: Driver, hook: str, act: str) -> bool:
    """Whether a trainer does what a learner does; False where it refuses to host the callback.

    Raises:
        AssertionError: It takes the callback, and does something else.
    """
    theirs, ours = answering(hook, act), answering(hook, act)
    first, ours_first = ([answering(*FIRST[hook])], [answering(*FIRST[hook])]) if hook in FIRST else ([], [])
    task = Task(Weight, total, partial(SGD, lr=LR), pairs(N_TRAIN), pairs(N_VALID), N_EPOCHS)
    try:
        hosting = host.hosting(*first, theirs)
        ran = host.fit(task, hosting)
    except CallbackError:
        return False
    learn = learner(*ours_first, ours, n_train=N_TRAIN, n_valid=N_VALID, lr=LR)
    outcome = learn.fit(N_EPOCHS)
    heard: Any = theirs
    expected: Any = ours
    assert list(expected.heard), f"{hook} is never called"
    assert list(heard.heard) == list(expected.heard), f"{hook}, {act}"
    assert type(hosting.outcome) is type(outcome), f"{hook}, {act}"
    assert ran.weights[0].item() == learn.model.w.item(), f"{hook}, {act}"
    return True


def measure(host: Driver) -> dict[str, list[str]]:
    """The hooks that a trainer calls, each with the answers that it honours."""
    found: dict[str, list[str]] = {}
    for hook, acts in ACTS.items():
        if honoured(host, hook, ""):
            found[hook] = sorted(answer_class(hook, act).__name__ for act in acts if honoured(host, hook, act))
    return found


def declared(host: Driver) -> dict[str, list[str]]:
    """The same, by what the adapter says."""
    return {
        hook: sorted(one.__name__ for one in host.host.answers[hook]) for hook in HOOKS if hook in host.host.answers
    }


if __name__ == "__main__":
    known: dict[str, Any] = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    for name in sys.argv[1:]:
        one = driver(name)
        known[name] = {"host": one.host.name, "hooks": measure(one)}
    order = (*DRIVERS, *ALONE)
    MEASURED.write_text(json.dumps({name: known[name] for name in order if name in known}, indent=2) + "\n")
