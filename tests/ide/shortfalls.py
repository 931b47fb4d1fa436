"""Where language servers fall short, each with its reason: what the tests hold to the word.

A limit of pyright, ty or pyrefly names a mark of `plain.py` at which the server falls short in the same way, in code
without the package. One that goes away fails the tests, so that this list stays true. Jedi's are its own.
"""

from __future__ import annotations

from typing import Final, Mapping

import attrs
from marks import all_marks


@attrs.frozen
class Limit:
    """A kind of place at which a server falls short."""

    why: str
    """What the server does, and what helps where something does."""

    shortfall: str
    """What is not as it should be."""

    marks: Mapping[str, tuple[str, ...]]
    """The names that it happens to, by mark."""

    plain: str = ""
    """The mark of `plain.py` that shows that it is the server; none for jedi."""


THROUGH_A_PARAM_SPEC: Final[Mapping[str, tuple[str, ...]]] = {
    "constructing.add: learn.add(GradientClip, |": ("clip=", "by="),
    "constructing.add: learn.add(GradientClip, c|": ("clip=",),
}
THROUGH_PARTIAL: Final[Mapping[str, tuple[str, ...]]] = {
    mark.id: mark.wanted for mark in all_marks() if mark.before.endswith("partial(GradientClip, ")
}
IN_A_PATTERN: Final[Mapping[str, tuple[str, ...]]] = {"matching.HowFar.after_batch: case AfterPred(|": ("pred=",)}
"""Places at which several servers fall short alike."""

SHORTFALLS: Final[Mapping[str, tuple[Limit, ...]]] = {
    "pyright": (
        Limit(
            "For a keyword that a ParamSpec stands for it shows the documentation of the function called, `learn.add`.",
            "documented by its class alone",
            THROUGH_A_PARAM_SPEC,
            plain="plain.through_a_param_spec: return call(Settings, |",
        ),
        Limit(
            "In the signature of a dataclass it shows the class's documentation; a field's own is shown on hover.",
            "documented by its class alone",
            {
                "constructing.by_hand: return GradientClip(| (signature)": ("learn", "clip", "by"),
            },
            plain="plain.of_a_dataclass: return Settings(| (signature)",
        ),
        Limit(
            "It does not look through functools.partial: `lambda learn: GradientClip(learn, ` is offered its keywords.",
            "not offered",
            THROUGH_PARTIAL,
            plain="plain.through_partial: return partial(Settings, |",
        ),
        Limit(
            "In the call of a generic dataclass it takes what is not known so far for Unknown.",
            "untyped",
            {
                "constructing.watching: stats = AvgStats(|": ("metrics=",),
            },
            plain="plain.in_a_generic_dataclass: return Box(|",
        ),
        Limit(
            "It offers no keywords in a class pattern: `case AfterPred() as event` is offered what `event.` has.",
            "not offered",
            IN_A_PATTERN,
            plain="plain.in_a_pattern: case Settings(|",
        ),
    ),
    "ty": (
        Limit(
            "It does not look through a ParamSpec: what the factory takes is offered after `learn.add(lambda learn: GradientClip(learn, `.",
            "not offered",
            THROUGH_A_PARAM_SPEC,
            plain="plain.through_a_param_spec: return call(Settings, |",
        ),
        Limit(
            "It does not look through functools.partial: `lambda learn: GradientClip(learn, ` is offered its keywords.",
            "not offered",
            THROUGH_PARTIAL,
            plain="plain.through_partial: return partial(Settings, |",
        ),
        Limit(
            "After `def` it offers nothing at all: `self.after_` in a hook is offered them all.",
            "not offered",
            {mark.id: mark.wanted for mark in all_marks() if mark.kind == "override"},
            plain="plain.Derived: def afte|",
        ),
        Limit(
            "It offers no keywords in a class pattern: `case AfterPred() as event` is offered what `event.` has.",
            "not offered",
            IN_A_PATTERN,
            plain="plain.in_a_pattern: case Settings(|",
        ),
        Limit(
            "On hover it finds no documentation of the fields of a generic class that is final.",
            "no documentation",
            {
                "matching.HowFar.after_batch: assert begun.|": ("xb", "yb", "epoch", "index"),
            },
            plain="plain.of_a_final_class: return sealed.|",
        ),
    ),
    "pyrefly": (
        Limit(
            "It does not look through a ParamSpec: what the factory takes is offered after `learn.add(lambda learn: GradientClip(learn, `.",
            "not offered",
            THROUGH_A_PARAM_SPEC,
            plain="plain.through_a_param_spec: return call(Settings, |",
        ),
        Limit(
            "For a keyword of a dataclass it shows the class's documentation; a field's own is shown where it is read.",
            "documented by its class alone",
            {
                "constructing.add: learn.add(lambda learn: GradientClip(learn, |": ("clip=", "by="),
                "constructing.add: learn.add(lambda learn: GradientClip(learn, c|": ("clip=",),
                "constructing.add: learn.fit(n_epochs=1, cbs=[EveryNth(|": ("n=", "first=", "seen="),
                "constructing.by_hand: return GradientClip(|": ("learn=", "clip=", "by="),
                "constructing.factories: cb_funcs=[lambda learn: GradientClip(learn, |": ("clip=", "by="),
                "constructing.parts: loop = Loop[Tensor, Tensor, Tensor](callbacks=[GradientClip(Parts(model, opt), |": (
                    "by=",
                    "clip=",
                ),
                "constructing.watching: stats = AvgStats(|": ("metrics=",),
                "constructing.watching: stopping = EarlyStopping(|": ("monitor=", "mode=", "patience=", "min_delta="),
                'constructing.watching: stopping = EarlyStopping(monitor=stats.valid_loss, mode="min", |': (
                    "patience=",
                    "min_delta=",
                ),
                "constructing.watching: best = SaveBest(learn, stats.valid_loss, m|": ("mode=",),
                "constructing.watching: smooth = SmoothLoss(|": ("beta=",),
                "constructing.watching: limit = StopAfterNBatches(|": ("n_batches=",),
                "constructing.schedules: scheduler = ParamScheduler(learn, |": ("schedule=", "param="),
                "constructing.schedules: checkpoint = Checkpoint(learn, |": ("folder=",),
            },
            plain="plain.of_a_dataclass: return Settings(|",
        ),
        Limit(
            "In the signature of a dataclass it shows the class's documentation; a field's own is shown where it is read.",
            "documented by its class alone",
            {
                "constructing.by_hand: return GradientClip(| (signature)": ("learn", "clip", "by"),
            },
            plain="plain.of_a_dataclass: return Settings(| (signature)",
        ),
        Limit(
            "It does not look through functools.partial: `lambda learn: GradientClip(learn, ` is offered its keywords.",
            "not offered",
            THROUGH_PARTIAL,
            plain="plain.through_partial: return partial(Settings, |",
        ),
        Limit(
            "It shows no documentation in the call of a class whose type arguments are given.",
            "no documentation",
            {
                "constructing.parts: loop = Loop[Tensor, Tensor, Tensor](|": ("callbacks=",),
            },
            plain="plain.of_what_is_subscripted: return Shelf[int](|",
        ),
        Limit(
            "It offers no keywords of a generic function.",
            "not offered",
            {
                'fields.Counts: lowest: Cell[float] = cell(float("inf"), |': ("reset=", "saved="),
                "fields.Counts: losses: Series[float] = series(|": ("reset=", "saved="),
            },
            plain="plain.of_a_generic_function: return generic(|",
        ),
        Limit(
            "It offers no keywords in a class pattern: `case AfterPred() as event` is offered what `event.` has.",
            "not offered",
            IN_A_PATTERN,
            plain="plain.in_a_pattern: case Settings(|",
        ),
    ),
    "jedi": (
        Limit(
            "It shows the documentation of the call, and there the class's in place of the constructor's.",
            "documented by its class alone",
            {
                "constructing.data: return DataBunch(|": ("train_dl=", "valid_dl="),
                "constructing.data: return DataBunch(| (signature)": ("train_dl", "valid_dl"),
                "constructing.learner: return Learner(|": (
                    "loss_func=",
                    "opt_func=",
                    "cbs=",
                    "cb_funcs=",
                    "splitter=",
                    "device=",
                ),
                "constructing.learner: return Learner(| (signature)": (
                    "data",
                    "loss_func",
                    "opt_func",
                    "cbs",
                    "cb_funcs",
                ),
                "constructing.learner: return Learner(model=model, data=data(), |": (
                    "loss_func=",
                    "opt_func=",
                    "cbs=",
                    "cb_funcs=",
                ),
                "constructing.learner: return Learner(model=model, data=data(), l|": ("loss_func=",),
                "constructing.learner: return Learner(model=model, data=data(), loss_func=F.cross_entropy, o|": (
                    "opt_func=",
                ),
                "constructing.learner: return Learner(model=model, data=data(), loss_func=F.cross_entropy, opt_func=sgd, |": (
                    "cbs=",
                    "cb_funcs=",
                ),
                "constructing.add: learn.add(lambda learn: GradientClip(learn, |": ("clip=", "by="),
                "constructing.add: learn.add(lambda learn: GradientClip(learn, c|": ("clip=",),
                "constructing.add: learn.fit(n_epochs=1, cbs=[EveryNth(|": ("n=", "first=", "seen="),
                "constructing.by_hand: return GradientClip(|": ("learn=", "clip=", "by="),
                "constructing.by_hand: return GradientClip(| (signature)": ("learn", "clip", "by"),
                "constructing.factories: cb_funcs=[lambda learn: GradientClip(learn, |": ("clip=", "by="),
                "constructing.parts: loop = Loop[Tensor, Tensor, Tensor](callbacks=[GradientClip(Parts(model, opt), |": (
                    "by=",
                    "clip=",
                ),
                "constructing.watching: stats = AvgStats(|": ("metrics=",),
                "constructing.watching: stopping = EarlyStopping(|": ("monitor=", "mode=", "patience=", "min_delta="),
                'constructing.watching: stopping = EarlyStopping(monitor=stats.valid_loss, mode="min", |': (
                    "patience=",
                    "min_delta=",
                ),
                "constructing.watching: best = SaveBest(learn, stats.valid_loss, m|": ("mode=",),
                "constructing.watching: smooth = SmoothLoss(|": ("beta=",),
                "constructing.watching: limit = StopAfterNBatches(|": ("n_batches=",),
                "constructing.schedules: scheduler = ParamScheduler(learn, |": ("schedule=", "param="),
                "constructing.schedules: checkpoint = Checkpoint(learn, |": ("folder=",),
                "hooks.OfAnything.begin_epoch: return CancelEpoch(|": ("reason=",),
                "matching.Answers.after_loss: return CancelTrain(|": ("reason=",),
            },
        ),
        Limit(
            "It puts keywords behind all other names that begin alike.",
            "not among the first five after a letter",
            {
                "constructing.learner: return Learner(|": ("model=", "loss_func=", "splitter="),
                "constructing.watching: stopping = EarlyStopping(|": ("monitor=", "mode="),
                "constructing.schedules: up = cosine(|": ("start=",),
                "own_loop.train: with loop.fit(|": ("start_epoch=",),
            },
        ),
        Limit(
            "It does not look through a ParamSpec: what the factory takes is offered after `learn.add(lambda learn: GradientClip(learn, `.",
            "not offered",
            THROUGH_A_PARAM_SPEC,
        ),
        Limit(
            "It does not look through functools.partial: `lambda learn: GradientClip(learn, ` is offered its keywords.",
            "not offered",
            THROUGH_PARTIAL,
        ),
        Limit(
            "It offers no keywords where type arguments are given.",
            "not offered",
            {
                "constructing.parts: loop = Loop[Tensor, Tensor, Tensor](|": ("callbacks=",),
            },
        ),
        Limit(
            "It shows none where a field that is declared is also set in `__init__`.",
            "no documentation",
            {
                "events.Everything.after_cancel_batch: assert event.cancel.|": ("reason",),
                "fields.Counts.after_loss: self.count.|": ("value", "initial", "reset"),
                "fields.Counts.after_loss: self.count.v|": ("value",),
                "fields.Counts.after_loss: self.losses.|": ("value", "reset"),
                "fields.OfNet.after_epoch: assert self.learn.|": ("opt",),
                "fields.OfNet.after_epoch: assert self.learn.model.|": ("body", "depth", "head"),
                "fields.OfNet.after_epoch: assert self.learn.model.b|": ("body",),
                "fields.OfNet.after_epoch: assert self.learn.model.d|": ("depth",),
                "fields.OfNet.after_epoch: assert self.learn.model.h|": ("head",),
                "fields.OfNet.after_epoch: self.learn.|": ("opt",),
                "fields.NoBrackets.after_fit: assert self.learn.|": ("opt",),
                "fields.NoBrackets.after_fit: assert self.learn.o|": ("opt",),
                "fields.view_of: assert view.|": ("source",),
                "fields.ask: learn.|": ("opt",),
                "fields.ask: learn.get(AvgStats).valid_loss.|": ("value",),
                "own_loop.train: for epoch in fit.|": ("n_epochs", "start_epoch"),
                "own_loop.train: for batch in epoch.|": ("epoch",),
                "own_loop.train: for held_out in scope.|": ("epoch",),
            },
        ),
        Limit(
            "It does not look through a generic alias of a union.",
            "not offered",
            {
                "events.Everything.after_batch: assert event.reached.|": (
                    "epoch",
                    "index",
                    "n_batches",
                    "phase",
                    "step",
                    "xb",
                    "yb",
                ),
                "matching.HowFar.after_batch: assert event.reached.|": ("loss", "pred"),
            },
        ),
        Limit(
            "On hover it shows a class or a call, and little of the type of a field.",
            "not offered",
            {
                "events.OfTexts.after_pred: assert event.x| (hover)": ("dict[str",),
                "events.OfTexts.after_pred: start, _ = event.| (hover)": ("tuple[", "Tensor"),
                "fields.OfNet.after_epoch: assert self.learn.model.h| (hover)": ("Makes classes of the features",),
            },
        ),
        Limit(
            "It cannot read the match statement.",
            "not offered",
            {
                "matching.say: case Com|": ("Completed",),
                "matching.say: case Cancel|": ("Cancelled",),
                "matching.say: return cancel.|": ("reason",),
                "matching.say: case F|": ("Failed",),
                "matching.say: return str(failed.|": ("error",),
                "matching.say_qualified: return cancelled.|": ("cancel",),
                "matching.HowFar.after_batch: case AfterS|": ("AfterStep",),
                "matching.HowFar.after_batch: assert stepped.|": ("loss", "pred", "xb", "yb", "step"),
                "matching.HowFar.after_batch: case AfterB|": ("AfterBackward",),
                "matching.HowFar.after_batch: case AfterP|": ("AfterPred",),
                "matching.HowFar.after_batch: case AfterPred(|": ("pred=",),
                "matching.HowFar.after_batch: case O|": ("OnlyBegun",),
                "matching.HowFar.after_batch: assert begun.|": ("xb", "yb", "epoch", "index"),
            },
        ),
    ),
}
