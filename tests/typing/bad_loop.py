"""Mistakes in a loop of one's own: calls out of turn, in training and in validation.

Every line marked `# error` must be reported by every type checker, and no other line.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from good_callbacks import DropKeys, GradientClip, SmoothLoss, Text, Unsqueeze
from good_learner import learn, text_batches
from good_loop import batches, loop, model, opt
from torch import Tensor

from typedcb import Loop

Loop([Unsqueeze])  # error
Loop(SmoothLoss())  # error
Loop([GradientClip])  # error
Loop[Tensor, Tensor, Tensor]([DropKeys()])  # error
Loop[Text, Tensor, Tensor]([Unsqueeze()])  # error
loop.add(GradientClip)  # error
loop.add(DropKeys())  # error
loop.add([Unsqueeze()])  # error
loop.remove(Unsqueeze)  # error
loop.fit()  # error
loop.fit("3")  # error
loop.fit(3, 1)  # error
loop.fit(3, cbs=[SmoothLoss()])  # error
loop.epochs()  # error
loop.train(batches)  # error
loop.running = True  # error
loop.validation("first")  # error

for epoch in loop.fit(1):  # error
    pass

with loop.epochs() as epochs:  # error
    pass

with loop.fit(1) as fit:
    fit.train(batches)  # error
    fit.outcome.error  # error
    fit.outcome = None  # error
    for number in range(fit.epochs()):  # error
        pass
    for epoch in fit.epochs():
        epoch.epochs()  # error
        epoch.fit(1)  # error
        print(epoch.index)  # error
        for batch in epoch.train():  # error
            pass
        for batch in epoch.train(text_batches):  # error
            pass
        for text in epoch.validate(text_batches):  # error
            pass
        for xb, yb in epoch.train(batches):  # error
            pass
        for batch in epoch.train(batches):
            batch.loss(batch.xb.mean())  # error
            batch.backward()  # error
            batch.step(opt)  # error
            print(batch.value)  # error
            batch.pred()  # error
            batch.pred("prediction")  # error
            batch.pred({"logits": model(batch.xb)})  # error
            out = batch.pred(batch.xb)
            out.pred(model(out.xb))  # error
            out.backward()  # error
            out.step(opt)  # error
            print(out.value)  # error
            print(out.loss.item())  # error
            print(out.logits)  # error
            out.loss(0.5)  # error
            out.loss("loss")  # error
            out.loss()  # error
            loss = out.loss(F.cross_entropy(out.pred, out.yb))
            loss.step(opt)  # error
            loss.loss(loss.value)  # error
            print(loss.item())  # error
            print(loss.pred)  # error
            loss.value = torch.zeros(())  # error
            loss.backward(retain_graph=True)  # error
            print(loss.value.lss)  # error
            done = loss.backward()
            done.backward()  # error
            print(done.value)  # error
            done.step()  # error
            done.step(model)  # error
            done.step(learn)  # error
            done.step(torch.optim.SGD)  # error
            done.step(opt).step(opt)  # error
        for held_out in epoch.validate(batches):
            held_out.backward()  # error
            held_out.loss(held_out.xb.mean())  # error
            held_out.pred("prediction")  # error
            seen = held_out.pred(held_out.xb)
            seen.backward()  # error
            seen.step(opt)  # error
            seen.loss(0.5)  # error
            print(seen.value)  # error
            seen.loss(F.cross_entropy(seen.pred, seen.yb)).backward()  # error
            evaluated = seen.loss(F.cross_entropy(seen.pred, seen.yb))
            evaluated.step(opt)  # error
            evaluated.loss(evaluated.value)  # error
            print(evaluated.item())  # error
            evaluated.value = torch.zeros(())  # error

with loop.validation() as scope:
    scope.train(batches)  # error
    scope.epochs()  # error
    scope.outcome  # error
    for held_out in scope.validate(text_batches):  # error
        pass
    for held_out in scope.predict(batches):
        held_out.pred(held_out.xb).backward()  # error
    print(scope.predict(batches).shape)  # error
