"""A loop of one's own: each scope offers what may come next."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, int64, nn, no_grad, zeros
from torch.optim import SGD

from typedcb import Loop
from typedcb.callbacks import SmoothLoss
from typedcb.needs import Parts


def train(batches: list[tuple[Tensor, Tensor]]) -> float:
    """A fit and what it hands out."""
    model = nn.Linear(4, 3)
    opt = SGD(model.parameters(), lr=0.1)
    smooth = SmoothLoss()
    loop = Loop[Tensor, Tensor, Tensor]([smooth])
    with loop.fit(n_epochs=2) as fit:
        #     ^ complete: fit, validation, cbs, add, remove
        #         ^ complete: n_epochs=, start_epoch=, resume=
        for epoch in fit.epochs():
            #            ^ complete: epochs, n_epochs, start_epoch, cancelled, steps, outcome, position
            #             ^ complete: epochs
            for batch in epoch.train(dl=batches):
                #              ^ complete: train, validate, epoch
                #                    ^ complete: dl=
                out = batch.pred(model(batch.xb))
                #           ^ complete: pred, xb, yb
                #            ^ complete: pred
                #                            ^ complete: xb
                loss = out.loss(F.cross_entropy(out.pred, out.yb))
                #          ^ complete: loss, pred, xb, yb, cancelled
                #           ^ complete: loss
                #                                    ^ complete: pred
                assert loss.value.ndim == 0
                #           ^ complete: backward, value, cancelled
                done = loss.backward()
                #           ^ complete: backward
                #            ^ hover: backward, BackwardDone, Computes the gradients
                done.step(opt)
                #    ^ complete: step, cancelled
                #    ^ hover: step, Steps
            with no_grad():
                for held_out in epoch.validate(batches):
                    #                  ^ complete: validate
                    seen = held_out.pred(model(held_out.xb))
                    #               ^ complete: pred, xb, yb
                    assert seen.loss(F.cross_entropy(seen.pred, seen.yb)).value.ndim == 0
                    #           ^ complete: loss, pred, xb, yb, cancelled
                    #                                                     ^ complete: value, cancelled
    assert str(fit.outcome)
    #              ^ complete: outcome
    with loop.validation() as scope:
        for held_out in scope.validate(batches):
            #                 ^ complete: validate, predict, epoch
            assert held_out.xb.ndim
    return smooth.value
    #             ^ complete: value


parts = Parts(nn.Linear(4, 3), SGD([zeros(1, requires_grad=True)], lr=0.1))
assert parts.model.in_features == 4
#            ^ complete: model, opt
assert train([(zeros(2, 4), zeros(2, dtype=int64))]) > 0
