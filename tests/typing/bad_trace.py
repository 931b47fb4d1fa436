"""Traces and explanations, used wrongly."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn, ones, zeros
from torch.optim import SGD

from typedcb import DataBunch, Learner
from typedcb.explain import explain
from typedcb.trace import Rules, Trace, diff, read

folder = Path(tempfile.mkdtemp())
pairs: list[tuple[Tensor, Tensor]] = [(ones(2, 3), zeros(2, 3)) for _ in range(2)]
learn = Learner(nn.Linear(3, 3), DataBunch(pairs, pairs), F.mse_loss, partial(SGD, lr=0.1))

learn.add(Trace)  # error
learn.add(Trace, 3)  # error
learn.add(Trace, "fit.trace")  # error
learn.add(Trace, folder / "t", every_batches="2")  # error
learn.add(Trace, folder / "t", events=("after_los",))  # error
learn.add(Trace, folder / "t", fields=("x",))  # error
learn.add(Trace, folder / "t", watch=("cell",))  # error
learn.add(Trace, folder / "t", events="after_loss")  # error
Trace(learn.model, folder / "t")  # error
Trace(learn, folder / "t").path = folder  # error
read(3)  # error
read(folder / "t").runs[0].header.callback  # error
read(folder / "t").runs[0].events[0].loss  # error
diff(folder / "a")  # error
diff(folder / "a", 3)  # error
diff(folder / "a", folder / "b", tolerance=0.1)  # error
diff(folder / "a", folder / "b", Rules(tolerance="0.1"))  # error
diff(folder / "a", folder / "b").event  # error
Rules(ignores=("random:*",))  # error
explain(3)  # error
explain(learn).order  # error
