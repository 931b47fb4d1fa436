"""Traces and explanations, used rightly."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Union

import torch.nn.functional as F
from torch import Tensor, nn, ones, zeros
from torch.optim import SGD
from typing_extensions import assert_never, assert_type

from typedcb import DataBunch, Learner, Loop
from typedcb.explain import Explanation, explain
from typedcb.needs import Parts
from typedcb.trace import Call, Difference, Equal, Event, Rules, TensorValue, Trace, TracedRun, Value, diff, read

folder = Path(tempfile.mkdtemp())
pairs: list[tuple[Tensor, Tensor]] = [(ones(2, 3), zeros(2, 3)) for _ in range(2)]
learn = Learner(
    nn.Linear(3, 3),
    DataBunch(pairs, pairs),
    F.mse_loss,
    partial(SGD, lr=0.1),
    cb_funcs=[partial(Trace, path=folder / "a", events=("after_loss", "after_step"))],
)
trace = learn.add(Trace, folder / "b", every_batches=2, fields=("loss",), watch=("cells", "hypers"), sync=False)
assert_type(trace, Trace)
learn.fit(1)

run = read(folder / "b").runs[0]
assert_type(run, TracedRun)
for event, known in run.states():
    assert_type(event, Event)
    assert_type(known, dict[str, Value])
    for call in event.calls:
        assert_type(call, Call)
        assert_type(run.callback(call.callback).name, str)
    loss = event.fields.get("loss")
    if isinstance(loss, TensorValue):
        assert_type(loss.shape, tuple[int, ...])

found = diff(folder / "a", [folder / "b"], Rules(common=True, ignore=("random:*",)))
assert_type(found, Union[Equal, Difference])
if isinstance(found, Equal):
    assert_type(found.events, int)
elif isinstance(found, Difference):
    assert_type(found.event.hook, str)
else:
    assert_never(found)

parts = Parts(learn.model, learn.opt)
loop = Loop[Tensor, Tensor, Tensor]([Trace(parts, folder / "c")])
assert_type(explain(learn), Explanation)
assert_type(explain(loop), Explanation)
assert_type(explain([trace]).callbacks[0].why, tuple[str, ...])
