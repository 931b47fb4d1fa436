"""A loop of one's own: each scope hands out the next one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from good_callbacks import DropKeys, Every, SmoothLoss, Text, Unsqueeze
from good_learner import text_batches
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from typing_extensions import assert_type

from typedcb import Callback, FitOutcome, Loop
from typedcb.batches import TrainBatch, ValidBatch
from typedcb.fit import EpochScope, FitScope
from typedcb.scopes import BackwardDone, Evaluated, Predicted, ValidPredicted, WithLoss
from typedcb.validation import ValidationScope

batches = [(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)), (torch.ones(2, 2), torch.ones(2, dtype=torch.long))]
model = nn.Linear(2, 2)
opt: Optimizer = SGD(model.parameters(), lr=0.1)

smooth = SmoothLoss()
loop = Loop[Tensor, Tensor, Tensor]([Unsqueeze(), smooth])
assert_type(loop.cbs, tuple[Callback[Tensor, Tensor, Tensor], ...])
assert_type(loop.running, bool)
every = Every(2)
loop.add(every, Every(3))
loop.remove(every)

# All in one line of calls, as it is mostly written.
with loop.fit(3) as fit:
    for epoch in fit.epochs():
        for batch in epoch.train(batches):
            out = batch.pred(model(batch.xb))
            out.loss(F.cross_entropy(out.pred, out.yb)).backward().step(opt)
        with torch.no_grad():
            for held_out in epoch.validate(batches):
                seen = held_out.pred(model(held_out.xb))
                seen.loss(F.cross_entropy(seen.pred, seen.yb))
assert_type(fit.outcome, FitOutcome)

# Step by step, with what each scope holds.
with loop.fit(n_epochs=2, start_epoch=1) as fit:
    assert_type(fit, FitScope[Tensor, Tensor, Tensor])
    assert_type(fit.n_epochs, int)
    assert_type(fit.start_epoch, int)
    assert_type(fit.cancelled, bool)
    assert_type(fit.steps, int)
    for epoch in fit.epochs():
        assert_type(epoch, EpochScope[Tensor, Tensor, Tensor])
        assert_type(epoch.epoch, int)
        for batch in epoch.train(batches):
            assert_type(batch, TrainBatch[Tensor, Tensor, Tensor])
            assert_type(batch.xb, Tensor)
            assert_type(batch.yb, Tensor)
            predicted = batch.pred(model(batch.xb))
            assert_type(predicted, Predicted[Tensor, Tensor, Tensor])
            assert_type(predicted.pred, Tensor)
            assert_type(predicted.yb, Tensor)
            if predicted.cancelled:
                continue
            loss = predicted.loss(F.cross_entropy(predicted.pred, predicted.yb))
            assert_type(loss, WithLoss)
            assert_type(loss.value, Tensor)
            done = loss.backward()
            assert_type(done, BackwardDone)
            assert_type(done.cancelled, bool)
            done.step(opt)
        for held_out in epoch.validate(batches):
            assert_type(held_out, ValidBatch[Tensor, Tensor, Tensor])
            assert_type(held_out.xb, Tensor)
            seen = held_out.pred(model(held_out.xb))
            assert_type(seen, ValidPredicted[Tensor, Tensor, Tensor])
            assert_type(seen.pred, Tensor)
            evaluated = seen.loss(F.cross_entropy(seen.pred, seen.yb))
            assert_type(evaluated, Evaluated)
            assert_type(evaluated.value, Tensor)

# A validation outside of any fit.
with loop.validation(epoch=3) as scope:
    assert_type(scope, ValidationScope[Tensor, Tensor, Tensor])
    for held_out in scope.validate(batches):
        seen = held_out.pred(model(held_out.xb))
        assert_type(seen.loss(F.cross_entropy(seen.pred, seen.yb)).value, Tensor)
    predictions = [held_out.pred(model(held_out.xb)).pred for held_out in scope.predict(batches)]
    assert_type(predictions, list[Tensor])

# The payload is inferred from the callbacks, or stated.
inferred = Loop([DropKeys()])
assert_type(inferred, Loop[Text, Tensor, Tensor])
with inferred.fit(1) as text_fit:
    for epoch_of_text in text_fit.epochs():
        for text in epoch_of_text.train(text_batches):
            assert_type(text.xb, Text)
            prediction: Tensor = model(text.xb["ids"])
            given = text.pred(prediction)
            given.loss(F.cross_entropy(given.pred, given.yb)).backward().step(opt)


class TwoOptimizers:
    """What step needs of an optimizer: any object with these two methods."""

    def step(self) -> None:
        opt.step()

    def zero_grad(self) -> None:
        opt.zero_grad()


def train(loop: Loop[Tensor, Tensor, Tensor]) -> FitOutcome:
    """A function over loops."""
    with loop.fit(1) as fit:
        for epoch in fit.epochs():
            for batch in epoch.train(batches):
                out = batch.pred(model(batch.xb))
                out.loss(F.cross_entropy(out.pred, out.yb)).backward().step(TwoOptimizers())
    return fit.outcome


assert_type(train(loop), FitOutcome)
