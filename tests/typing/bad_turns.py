"""Mistakes with several objectives: payloads that are mixed up, calls out of turn, an optimizer that is another's.

Every line marked `# error` must be reported by every type checker, and no other line.
"""

from __future__ import annotations

import torch
from good_callbacks import DropKeys, SmoothLoss, Unsqueeze
from good_learner import learn
from good_turns import Gap, Scores, Shift, batches, critic, critic_net, generator, generator_net, loop
from torch import Tensor
from torch.optim import SGD

from typedcb import Loop, Objective
from typedcb.callbacks import AvgStats, GradientClip

critic_opt, generator_opt = SGD(critic_net.parameters()), SGD(generator_net.parameters())

# Who hears whose turns.
Objective[Tensor, Tensor, Tensor](generator_net, generator_opt, [Gap()])  # error
Objective[Tensor, Tensor, Scores](critic_net, critic_opt, [Shift()])  # error
Objective[Tensor, Tensor, Scores](critic_net, critic_opt, [DropKeys()])  # error
Objective[Tensor, Tensor, Scores](critic_net, critic_opt, [SmoothLoss])  # error
Objective[Tensor, Tensor, Scores](critic_net, critic_opt, SmoothLoss())  # error
Objective[Tensor, Tensor, Scores](critic_net, critic_opt, cb_funcs=[SmoothLoss()])  # error
Objective[Tensor, Tensor, Scores](critic_net, cbs=[Gap()])  # error
Objective[Tensor, Tensor, Scores](critic_opt, critic_net)  # error
Objective[Tensor, Tensor, Scores](critic_net, SGD)  # error
Objective[Tensor, Tensor, Scores](critic_net, critic_opt, name=critic)  # error
Loop[Tensor, Tensor]([Gap()], objectives=[critic])  # error
Loop[Tensor, Tensor]([critic])  # error
Loop[Tensor, Tensor](objectives=[critic_net])  # error
Loop[Tensor, Tensor](objectives=[SmoothLoss()])  # error
Loop[Tensor, Tensor](objectives=critic)  # error
Loop[Tensor, Tensor]([Unsqueeze()], [critic])  # error
loop.add(critic)  # error
AvgStats(critic)  # error
GradientClip(critic)  # error
critic.opt = generator_opt  # error
critic.steps = 0  # error
critic.cbs.append(Gap())  # error
print(critic.loss)  # error
print(generator.model.score.weight, critic.model.scor)  # error

with loop.fit(1) as fit:
    fit.turn(critic, torch.zeros(4, 2), torch.zeros(4, 1))  # error
    for epoch in fit.epochs():
        epoch.turn(critic, torch.zeros(4, 2), torch.zeros(4, 1))  # error
        for batch in epoch.train(batches):
            # A turn of what, on what.
            batch.turn()  # error
            batch.turn(critic)  # error
            batch.turn(critic, batch.xb)  # error
            batch.turn("critic", batch.xb, batch.yb)  # error
            batch.turn(critic_net, batch.xb, batch.yb)  # error
            batch.turn(learn, batch.xb, batch.yb)  # error
            batch.turn(critic, "xb", batch.yb)  # error
            batch.turn(critic, batch.xb, (batch.xb, batch.yb))  # error
            batch.turn(generator, batch.xb, batch.yb)  # error
            turn = batch.turn(critic, batch.xb, batch.yb)

            # Calls out of turn.
            turn.loss(batch.xb.mean())  # error
            turn.backward()  # error
            turn.step()  # error
            turn.turn(critic, batch.xb, batch.yb)  # error
            turn.cancelled = True  # error
            print(turn.value)  # error
            turn.pred()  # error
            turn.pred(turn.xb)  # error
            turn.pred((critic_net(turn.xb), critic_net(turn.xb)))  # error
            out = turn.pred(Scores(critic_net(turn.xb), critic_net(turn.xb)))
            out.backward()  # error
            out.step()  # error
            out.pred(out.pred)  # error
            print(out.pred.made)  # error
            out.loss(out.pred)  # error
            out.loss(0.5)  # error
            loss = out.loss((out.pred.real - out.pred.fake).mean())
            loss.step()  # error
            loss.loss(loss.value)  # error
            print(loss.pred)  # error
            done = loss.backward()
            done.backward()  # error
            done.step(critic_opt)  # error
            done.step(generator.opt)  # error
            done.step().step()  # error

            # One objective's prediction or scope in another's turn.
            second = batch.turn(generator, batch.xb, (batch.xb, batch.yb))
            second.pred(out.pred)  # error
            second.pred(out)  # error
            moved = second.pred(generator_net(second.xb))
            moved.loss(loss)  # error
            moved.loss(out.loss)  # error
            print(moved.pred.fake, moved.yb[1])  # error
            print(moved.yb.mean())  # error
        for held_out in epoch.validate(batches):
            held_out.turn(critic, held_out.xb)  # error
            held_out.turn(generator, held_out.xb, held_out.yb)  # error
            judged = held_out.turn(critic, held_out.xb, held_out.yb)
            judged.loss(held_out.xb.mean())  # error
            judged.pred(judged.xb)  # error
            seen = judged.pred(Scores(critic_net(judged.xb), critic_net(judged.xb)))
            seen.backward()  # error
            seen.loss(seen.pred)  # error
            seen.loss(seen.pred.real.mean()).backward()  # error
            seen.loss(seen.pred.real.mean()).step()  # error
