"""Sixty mistakes that people make with the callbacks of other trainers, and what becomes of each with typedcb.

The evidence stands beside this file: the lines of `cases/` below `# -- ID`, and the tests of `test_mistakes.py` whose
names begin with the id. `python tests/mistakes/sixty.py` writes the table into docs/mistakes.md.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final, Sequence

from further import FURTHER
from mistake import CAUGHT, Mistake

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENT: Final = ROOT / "docs" / "mistakes.md"

MISTAKES: Final = (
    # A. The name and the signature of a hook
    Mistake("PL-01", "Lightning", "a misspelt hook", "silent", "checkers", "`@override` on no hook; without it, the class is refused: `did you mean after_epoch?`"),  # noqa: E501
    Mistake("FA-01", "fastai v2", "a hook's old name", "silent", "checkers", "`@override` on no hook; without it, the class is refused: `did you mean begin_fit?`"),  # noqa: E501
    Mistake("CO-01", "Composer", "`on_epoch_end` for `epoch_end`", "silent", "checkers", "`@override` on no hook; without it, the class is refused: `did you mean after_epoch?`"),  # noqa: E501
    Mistake("PL-02", "Lightning", "one parameter too many", "late", "checkers", "the override's signature does not fit; the class is refused as well"),  # noqa: E501
    Mistake("SK-02", "skorch", "no `**kwargs`", "late", "checkers", "a hook takes one event, and nothing by keyword: one without it does not fit"),  # noqa: E501
    Mistake("HF-03", "transformers", "a keyword that was renamed", "late", "checkers", "an event has fields: one that is gone is no attribute"),  # noqa: E501
    Mistake("KE-01", "Keras", "forgot `epoch`", "late", "checkers", "the parameter is the event, and a dict of logs is none"),  # noqa: E501
    Mistake("IG-01", "Ignite", "an event misspelt, a handler of wrong arity", "start", "checkers", "no such name; the override's signature does not fit"),  # noqa: E501
    Mistake("F1-01", "fastai v1", "takes `last_loss` alone", "late", "checkers", "the parameter is the event, and a tensor is none"),  # noqa: E501
    # B. A field that is not there, or not yet
    Mistake("FA-03", "fastai v2", "reads the loss after a cancelled batch", "silent", "checkers", "`AfterBatch` has no `loss`, only `reached`, the furthest event of this very batch"),  # noqa: E501
    Mistake("FA-05", "fastai", "an attribute that one code path never sets", "late", "checkers", "a learner has no attributes that come and go"),  # noqa: E501
    Mistake("PL-03", "Lightning", "a metric read before it was logged", "late", "checkers", "no dict of metrics: a cell of that name exists (nan at first), or is no attribute"),  # noqa: E501
    Mistake("PL-05", "Lightning", "the sanity check counts as a validation", "silent", "design", "nothing is validated before the first epoch has trained"),  # noqa: E501
    Mistake("HF-05", "transformers", "the loss where there is none", "late", "checkers", "`BeginBatch` and `AfterPred` have no `loss`; `AfterStep` has"),  # noqa: E501
    Mistake("HF-07", "transformers", "gradients read after the step are zeroed", "late", "design", "they are zeroed after `after_step`"),  # noqa: E501
    Mistake("KE-03", "Keras", '`logs.get("acc")` is None', "late", "checkers", "a figure is a typed field of its callback, and `acc` is none"),  # noqa: E501
    Mistake("KE-05", "Keras", "`logs` is empty in `*_begin`", "silent", "checkers", "`BeginEpoch` has no `loss`"),
    Mistake("IG-03", "Ignite", "attached before the metric that it reads", "silent", "design", "what a callback reads is its field, and runs before it, however they were attached"),  # noqa: E501
    Mistake("TT-02", "torchtnt", "the step's output at the start", "late", "checkers", "`BeginFit` has no `pred`; where there is one, it is never None"),  # noqa: E501
    Mistake("CO-03", "Composer", "a `return` forgotten", "silent", "checkers", "an answer that is promised and not returned"),  # noqa: E501
    # C. Writing in the wrong place
    Mistake("FA-07", "fastai v2", "`self.x = ...` in a callback that delegates to the learner", "silent", "checkers", "a callback is frozen; a field that is not declared is reported by the plugin, and refused when it is set"),  # noqa: E501
    Mistake("F1-02", "fastai v1", "a misspelt field of one's own falls through `__getattr__`", "late", "checkers", "there is no `__getattr__`: no such attribute"),  # noqa: E501
    Mistake("PL-25", "Lightning", "a field named `log` is overwritten by the trainer", "late", "design", "nobody writes to a callback: any name is free"),  # noqa: E501
    Mistake("IG-05", "Ignite", "a misspelt ad-hoc field of the state", "silent", "checkers", "state is declared: a misspelt cell, or its value, is no attribute"),  # noqa: E501
    # D. Answers
    Mistake("PL-09", "Lightning", "returns state where it is ignored", "silent", "checkers", "no legal answer of that hook"),  # noqa: E501
    Mistake("HF-10", "transformers", "returns True", "late", "checkers", "no legal answer of that hook"),
    Mistake("F1-03", "fastai v1", "a flag that this event ignores", "silent", "checkers", "`after_epoch` may not answer `SkipStep`"),  # noqa: E501
    Mistake("FA-10", "fastai v2", "forgot to return the batch", "late", "checkers", "the promised event is not returned; where None is promised, the plugin reports the event thrown away"),  # noqa: E501
    Mistake("V3-03", "course-v3", "`return True` skips nothing", "silent", "checkers", "no legal answer: `SkipValidate()` is"),  # noqa: E501
    # E. Control flow
    Mistake("FA-11", "fastai v2", "a Cancel raised where nothing catches it", "late", "plugin", "reported where it is raised; at run time an error that says what is legal there. As an answer it is a type error"),  # noqa: E501
    Mistake("HF-13", "transformers", "asks to stop too early to be heard", "silent", "design", "`CancelTrain` from `begin_fit` ends the fit before its first batch"),  # noqa: E501
    Mistake("HF-17", "transformers", "a misspelt flag", "silent", "checkers", "there are no flags: no such attribute of the learner; the plugin reports one on an event, which is immutable"),  # noqa: E501
    Mistake("F1-04", "fastai v1", "stops one batch late", "silent", "design", "`CancelEpoch` from `after_batch`: no further batch begins"),  # noqa: E501
    Mistake("IG-07", "Ignite", "early stopping sees the training set too", "silent", "design", "`valid_loss` and `train_loss` are two cells"),  # noqa: E501
    # F. Order
    Mistake("FA-12", "fastai v2", "`run_after`, which nothing reads", "silent", "class", "refused, with what to write: a field"),  # noqa: E501
    Mistake("KE-07", "Keras", "a reader before the one that writes", "silent", "design", "a dependency is a field, and runs first"),  # noqa: E501
    # G. State shared, or not reset
    Mistake("PL-13", "Lightning", "one instance in two trainers", "silent", "attach", "refused while it is attached elsewhere; its cells are reset by each fit"),  # noqa: E501
    Mistake("ANY-01", "any", "a mutable class attribute", "silent", "class", "refused, with what to write: `series()`"),
    Mistake("SK-05", "skorch", "the best value is forgotten when training goes on", "silent", "design", '`reset="never"` stands where the cell is declared, and its value stays over fits'),  # noqa: E501
    # H. Checkpoint and resume
    Mistake("PL-14", "Lightning", "a field that no checkpoint has", "silent", "checkers", "a field cannot change; what can is a cell, and all cells of a callback are known"),  # noqa: E501
    Mistake("PL-16", "Lightning", "resumed amid an epoch", "silent", "checkers", "no parameter says at which batch to begin: `resume` knows, and takes the fit up there to the bit"),  # noqa: E501
    # I. Metrics
    Mistake("PL-17", "Lightning", "a mean of batch means, with a short last batch", "silent", "design", "`AvgStats` weighs each batch by its samples"),  # noqa: E501
    Mistake("KE-09", "Keras", "the batch's loss is a running mean", "silent", "design", "`event.loss` is this batch's; a smoothed one is a callback of its own"),  # noqa: E501
    Mistake("PL-19", "Lightning", "a value logged on one rank alone is monitored", "late", "checkers", "no logging by name, and no rank to log on: a monitor is an object of the same process"),  # noqa: E501
    # J. Monitors
    Mistake("PL-21", "Lightning", '`mode="min"` by default, on an accuracy', "silent", "checkers", "`mode` has no default, and is a Literal"),  # noqa: E501
    Mistake("IG-09", "Ignite", "forgot the minus", "silent", "checkers", "`mode` has to be said; nothing is negated"),
    Mistake("FA-15", "fastai v2", "a monitor's name misspelt", "start", "checkers", "a monitor is no string: `stats.val_loss` is no attribute"),  # noqa: E501
    # K. Gradients, steps, schedulers
    Mistake("PL-23", "Lightning", "a scheduler's interval at the wrong place", "silent", "checkers", "`every` has to be stated, and is a Literal; `ParamScheduler` always goes by batch"),  # noqa: E501
    Mistake("PL-24", "Lightning", "the step counter counts all optimizers", "silent", "design", "`event.step` counts the batches that were stepped on"),  # noqa: E501
    Mistake("FA-16", "fastai v2", "`n_acc` counts samples", "silent", "design", "`GradientAccumulation.n` counts batches"),  # noqa: E501
    # L. Instances, classes, duplicates
    Mistake("V3-04", "course-v3, fastai v1", "a class among instances, an instance among factories", "start", "checkers", "a type error, and an error that says which list it belongs in"),  # noqa: E501
    Mistake("HF-18", "transformers, Lightning, Ignite", "attached twice", "silent", "attach", "refused: each hook would run twice"),  # noqa: E501
    Mistake("V3-05", "course-v3", "a generator of callbacks stays attached", "silent", "checkers", "`cbs` is a Sequence; a generator works at run time, and is detached after the fit"),  # noqa: E501
    # M. Training or validation?
    Mistake("FA-19", "fastai v2", "counts validation batches too", "silent", "plugin", "`typedcb-both-phases`: the class says which it is for by `phases`; `after_step` comes in training alone, and every batch event has its `phase`"),  # noqa: E501
    # N. Memory and speed
    Mistake("PL-28", "any", "keeps the loss with its graph", "silent", "plugin", "reported; from `after_backward` on, losses and predictions are detached"),  # noqa: E501
    Mistake("ANY-02", "any", "`.item()` at every batch", "silent", "plugin", "`typedcb-device-sync`, which is optional; the ready-made callbacks keep tensors and read them once an epoch"),  # noqa: E501
    # O. Several processes
    Mistake("PL-30", "Lightning", "reads a callback that ran in another process", "silent", "design", "`fit` runs in the process that calls it"),  # noqa: E501
    # P. Errors and cleaning up
    Mistake("HF-20", "transformers, Keras, skorch", "no `on_train_end` after an error", "silent", "design", "`after_fit` comes in any case, with how the fit ended"),  # noqa: E501
    Mistake("IG-11", "Ignite", "a handler swallows the exception", "silent", "design", "a hook is told of it and cannot stop it"),  # noqa: E501
    Mistake("TT-03", "torchtnt", "Ctrl-C is no exception", "silent", "design", "`after_fit` is told of a KeyboardInterrupt too"),  # noqa: E501
)  # fmt: skip


def _counted(mistakes: Sequence[Mistake]) -> str:
    counts = Counter(mistake.caught for mistake in mistakes)
    return "\n".join(f"| {name} | {words} | {counts[name]} |" for name, words in CAUGHT.items())


def _rows(mistakes: Sequence[Mistake]) -> str:
    rows = "\n".join(f"| {m.id} | {m.peer} | {m.mistake} | {m.symptom} | **{m.caught}**: {m.here} |" for m in mistakes)
    return f"| | made with | mistake | there | here |\n| --- | --- | --- | --- | --- |\n{rows}"


def document() -> str:
    """The document."""
    silent = sum(mistake.symptom == "silent" for mistake in MISTAKES)
    return f"""# Sixty mistakes, and further ones

Mistakes that people have made with the callbacks of other trainers, each from an issue, a question or a trainer's own
source, and what becomes of the same mistake here. There, {silent} of the {len(MISTAKES)} are *silent*: a wrong
result and no error. *Late* is an error in the midst of training, *start* one before the first batch.

| here | what it means | mistakes |
| --- | --- | --- |
{_counted(MISTAKES)}

Each line has a test in `tests/mistakes`, which also writes these tables.

{_rows(MISTAKES)}

## Further kinds

More threads, with kinds of mistakes that are not among the sixty:

| here | what it means | mistakes |
| --- | --- | --- |
{_counted(FURTHER)}

{_rows(FURTHER)}
"""


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
