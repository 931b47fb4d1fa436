"""Mistakes with a learner: what it is made of, what it takes, and what it gives back.

Every line marked `# error` must be reported by every type checker, and no other line.
"""

from __future__ import annotations

from functools import partial
from typing import Iterable

import torch
import torch.nn.functional as F
from good_callbacks import (
    Depth,
    DropKeys,
    EarlyStopping,
    Every,
    GradientClip,
    KeepLast,
    LRFinder,
    Net,
    NoBrackets,
    SmoothLoss,
    Text,
    Unsqueeze,
)
from good_learner import batches, data, learn, make_clamp, net_learn, smooth, text_batches, text_learn, text_loss
from good_payloads import Noise, Sentences, TwoNet, two_data, two_learn, two_loss
from torch import Tensor, nn
from torch.optim import SGD, AdamW
from torch.utils.data import DataLoader
from typing_extensions import assert_never

from typedcb import AnyCallback, Cancelled, Completed, DataBunch, Learner

net = Net()

# Data.
DataBunch()  # error
DataBunch(3)  # error
DataBunch(torch.zeros(3), 3)  # error
DataBunch([torch.zeros(3)])  # error
DataBunch([(torch.zeros(3), torch.zeros(3), torch.zeros(3))])  # error
DataBunch(batches, batches, batches)  # error
DataBunch(train=batches)  # error
DataBunch[Tensor, Tensor](text_batches)  # error
DataBunch[Text, Tensor](batches)  # error
DataBunch[Text, Tensor](text_batches, batches)  # error
DataBunch[Tensor, Text](Noise())  # error
data.train  # error
data.train_dl = batches  # error
text_data: DataBunch[Text, Tensor] = DataBunch(batches)  # error
tensor_data: DataBunch = DataBunch(text_batches)  # error
of_texts: DataBunch[Text, Text] = DataBunch[Tensor, Text](DataLoader(Sentences()))  # error
for xb, yb in DataBunch(text_batches).train_dl:
    print(xb.shape)  # error


# The parts of a learner.


def no_tensor(pred: Tensor, target: Tensor) -> float:
    return float(pred.mean())


def one_parameter(pred: Tensor) -> Tensor:
    return pred


def no_optimizer(params: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return list(params)


def split_texts(model: nn.Embedding) -> list[Iterable[nn.Parameter]]:
    return [model.parameters()]


def whole(model: Net) -> nn.Module:
    return model.body


Learner()  # error
Learner(net, data, F.cross_entropy)  # error
Learner(Net, data, F.cross_entropy, AdamW)  # error
Learner(net.forward, data, F.cross_entropy, AdamW)  # error
Learner(net, batches, F.cross_entropy, AdamW)  # error
Learner(net, (batches, batches), F.cross_entropy, AdamW)  # error
Learner(net, data, "cross_entropy", AdamW)  # error
Learner(net, data, no_tensor, AdamW)  # error
Learner(net, data, one_parameter, AdamW)  # error
Learner(net, data, F.cross_entropy, AdamW(net.parameters()))  # error
Learner(net, data, F.cross_entropy, "adam")  # error
Learner(net, data, F.cross_entropy, no_optimizer)  # error
Learner(net, data, F.cross_entropy, Every)  # error
Learner(net, data, F.cross_entropy, AdamW, device=0.5)  # error
Learner(net, data, F.cross_entropy, AdamW, device=("cpu", 0))  # error
Learner(net, data, F.cross_entropy, AdamW, splitter=split_texts)  # error
Learner(net, data, F.cross_entropy, AdamW, splitter=whole)  # error
Learner(net, data, F.cross_entropy, AdamW, splitter=lambda model: model.tail)  # error
Learner(net, data, F.cross_entropy, AdamW, splitter=[net.body, net.head])  # error
Learner(net, data, F.cross_entropy, AdamW, callbacks=[smooth])  # error
Learner(net, data, nn.CrossEntropyLoss, AdamW)  # error
Learner(net, data, nn.CrossEntropyLoss(), SGD, splitter=split_texts)  # error
Learner(net, DataBunch(text_batches), F.cross_entropy, AdamW, cbs=[Unsqueeze()])  # error
Learner[Text, Tensor, Tensor, Net](net, data, text_loss, AdamW)  # error
Learner[Tensor, Tensor, Tensor, nn.Linear](net, data, F.cross_entropy, AdamW)  # error
Learner[Tensor, Tensor, Text, Net](net, data, F.cross_entropy, AdamW)  # error

# cbs are instances, cb_funcs are called with the learner.
Learner(net, data, F.cross_entropy, AdamW, cbs=[SmoothLoss])  # error
Learner(net, data, F.cross_entropy, AdamW, cbs=SmoothLoss())  # error
Learner(net, data, F.cross_entropy, AdamW, cbs=[partial(GradientClip, clip=0.1)])  # error
Learner(net, data, F.cross_entropy, AdamW, cbs=[print])  # error
Learner(net, data, F.cross_entropy, AdamW, cbs=[smooth, None])  # error
Learner(net, data, F.cross_entropy, AdamW, cb_funcs=[SmoothLoss()])  # error
Learner(net, data, F.cross_entropy, AdamW, cb_funcs=[lambda learn: None])  # error
Learner(net, data, F.cross_entropy, AdamW, cb_funcs=GradientClip)  # error
Learner(net, data, F.cross_entropy, AdamW, cb_funcs=[GradientClip])  # error
Learner(net, data, nn.CrossEntropyLoss(), AdamW, cbs=[SmoothLoss])  # error
Learner(net, data, nn.CrossEntropyLoss(), AdamW, cb_funcs=[SmoothLoss()])  # error
Learner(net, data, nn.CrossEntropyLoss(), AdamW, cbs=[DropKeys()])  # error
Learner(TwoNet(), two_data, two_loss, AdamW, cbs=[Unsqueeze()])  # error
Learner(nn.Linear(2, 2), data, F.cross_entropy, AdamW, cb_funcs=[Depth])  # error

# add takes a factory and what it takes besides the learner.
learn.add(GradientClip)  # error
learn.add(GradientClip, clp=0.1)  # error
learn.add(GradientClip, clip="0.1")  # error
learn.add(GradientClip, 0.1, 0.2)  # error
learn.add(GradientClip(learn, 0.1))  # error
learn.add(LRFinder, loss=Unsqueeze())  # error
learn.add(LRFinder, smooth, max_iter="10")  # error
learn.add(smooth)  # error
learn.add(Every, 2)  # error
learn.add(make_clamp)  # error
learn.add(make_clamp, "low")  # error
learn.add(lambda learn: 3)  # error
learn.add(Depth)  # error
learn.add(GradientClip, clip=0.1).clp  # error
learn.add(NoBrackets, clip=1.0).learn.model.depth.bit_length()  # error
text_learn.add(NoBrackets, clip=1.0)  # error
text_learn.add(make_clamp, 0.1)  # error

# get, remove, added.
learn.get(smooth)  # error
learn.get("GradientClip")  # error
learn.get(GradientClip).clp  # error
learn.get(nn.Linear)  # error
learn.remove(GradientClip)  # error
learn.remove(DropKeys())  # error
learn.remove([smooth])  # error
text_learn.remove(Unsqueeze())  # error
with learn.added(GradientClip):  # error
    pass
with learn.added([smooth]):  # error
    pass
with text_learn.added(Unsqueeze()):  # error
    pass

# fit.
learn.fit()  # error
learn.fit("3")  # error
learn.fit(3, [Unsqueeze])  # error
learn.fit(3, cbs=[Unsqueeze(), partial(GradientClip, clip=0.1)])  # error
learn.fit(3, cbs=Unsqueeze())  # error
learn.fit(3, callbacks=[Unsqueeze()])  # error
learn.fit(1, cbs=[Every(2), DropKeys()])  # error
learn.fit(1, cb_funcs=[Unsqueeze()])  # error
learn.fit(1, cb_funcs=[Depth])  # error
learn.fit(1, cbs=[KeepLast[Text]()])  # error
net_learn.fit(1, cbs=[DropKeys()])  # error
text_learn.fit(1, cbs=[Unsqueeze()])  # error
text_learn.fit(1, cbs=[NoBrackets(text_learn, clip=1.0)])  # error
two_learn.fit(1, cbs=[Unsqueeze()])  # error
learn.fit(1, cbs=[EarlyStopping(smooth.smoth)])  # error
learn.fit(1).cancel  # error
learn.fit(1).error  # error
match learn.fit(1):
    case Completed():
        pass
    case Cancelled(cancel=cancel):
        print(cancel.why)  # error
    case _ as rest:
        assert_never(rest)  # error

# validate and predict.
learn.validate("valid")  # error
learn.validate(text_batches)  # error
learn.validate(cbs=[DropKeys()])  # error
learn.validate(cb_funcs=[GradientClip])  # error
learn.validate().loss  # error
learn.predict(text_batches)  # error
learn.predict(cbs=[DropKeys()])  # error
learn.predict().argmax()  # error
text_learn.predict(batches)  # error
for prediction in two_learn.predict():
    print(prediction.shape)  # error

# What a learner holds.
learn.modle  # error
learn.opt.lr  # error
learn.opt = AdamW  # error
learn.model = nn.Linear(2, 2)  # error
learn.data = data  # error
learn.cbs.append(smooth)  # error
learn.cbs = []  # error
learn.device = "cuda"  # error
learn.loss  # error
learn.model.depth.bit_length()  # error
text_learn.loss_func({"ids": torch.zeros(3)}, torch.zeros(3))  # error
net_learner: Learner[Tensor, Tensor, Tensor, Net] = learn  # error
text_learner: Learner[Text, Tensor, Tensor] = learn  # error
any_cbs: tuple[AnyCallback, ...] = learn.cbs  # error
