"""What each trainer can do for typed callbacks. No trainer is imported here.

The tests in tests/interop/hosting hold each of these against what happens when the trainer runs, and write the table in
docs/hosts.md from what they have measured.
"""

from __future__ import annotations

from typing import Final

import attrs

from ..events import AfterPred
from ..hosted import ALL_ANSWERS, Host
from ..outcomes import CancelBatch, CancelEpoch, CancelTrain, SkipBackward, SkipStep, SkipValidate, SkipZeroGrad

LIGHTNING: Final = Host("Lightning's Trainer.fit", ALL_ANSWERS)
"""Lightning on one device: every hook, and whatever it may answer."""

_DECISIONS: Final = frozenset[type](
    {CancelBatch, CancelEpoch, CancelTrain, SkipBackward, SkipStep, SkipZeroGrad, SkipValidate}
)

LIGHTNING_SEVERAL: Final = Host(
    "Lightning's Trainer.fit over several processes",
    {name: answers - _DECISIONS for name, answers in ALL_ANSWERS.items()},
    dict.fromkeys(ALL_ANSWERS, "The other processes would not hear of it, and would wait for ever."),
)
"""Lightning over several processes: what one process decides alone, the others do not hear of."""

LIGHTNING_SCALED: Final = Host(
    "Lightning's Trainer.fit in half precision with a GradScaler",
    {**ALL_ANSWERS, "after_backward": frozenset()},
    {"after_backward": 'Its scaler has no way back from there: train in another precision, such as "bf16-mixed".'},
)
"""Lightning with precision="16-mixed" on a GPU: once the gradients are unscaled, the step has to be taken."""

IGNITE: Final = Host("Ignite's engine with the step function of hosted.trainer", ALL_ANSWERS)
"""Ignite with our step functions: every hook, and whatever it may answer."""

_INSIDE: Final = "It happens inside the engine's own step function: make the engine by hosted.trainer(...)."

IGNITE_ENGINE: Final = Host(
    "Ignite's engine with a step function of its own",
    {
        name: answers - {CancelBatch}
        for name, answers in ALL_ANSWERS.items()
        if name not in ("after_pred", "after_loss", "after_backward", "after_step", "after_cancel_batch")
    },
    dict.fromkeys(
        ("begin_batch", "after_pred", "after_loss", "after_backward", "after_step", "after_cancel_batch"), _INSIDE
    ),
)
"""Ignite with a step function of the user's: what happens inside it, no callback hears of."""

SKORCH: Final = Host("skorch's NeuralNet with TypedNet", ALL_ANSWERS)
"""skorch with our mixin: every hook, and whatever it may answer."""

TRANSFORMERS: Final = Host("Hugging Face's Trainer with TypedTrainer", ALL_ANSWERS)
"""Hugging Face's Trainer with our mixin and a `compute_loss_func`: every hook, and whatever it may answer."""

TRANSFORMERS_OWN_LOSS: Final = Host(
    "Hugging Face's Trainer with TypedTrainer, whose model computes the loss",
    {**ALL_ANSWERS, "after_pred": ALL_ANSWERS["after_pred"] - {AfterPred}},
    {"after_pred": "The loss is there before: give the Trainer compute_loss_func, so that the loss comes after it."},
)
"""The same where the model returns its loss beside its prediction: another prediction would not change the loss."""

TRANSFORMERS_METRIC: Final = Host(
    "Hugging Face's Trainer with TypedTrainer, which goes by what it measures",
    {**ALL_ANSWERS, "begin_validate": frozenset()},
    {"begin_validate": "It needs what is measured there, for metric_for_best_model or for a schedule."},
)
"""The same where the Trainer itself needs what a validation measures."""

TRANSFORMERS_SEVERAL: Final = Host(
    "Hugging Face's Trainer with TypedTrainer over several processes",
    LIGHTNING_SEVERAL.answers,
    LIGHTNING_SEVERAL.advice,
)
"""The same over several processes: what one process decides alone, the others do not hear of."""

_TYPED_TRAINER: Final = "Train by TypedTrainer, a mixin for Trainers."

TRANSFORMERS_CALLBACK: Final = Host(
    "Hugging Face's Trainer without TypedTrainer",
    {
        "begin_fit": frozenset(),
        "begin_epoch": frozenset(),
        "after_epoch": frozenset({CancelTrain}),
        "after_cancel_train": frozenset(),
    },
    dict.fromkeys(ALL_ANSWERS, _TYPED_TRAINER),
)
"""A Trainer without our mixin: of a batch its callbacks see nothing, and of an error they do not hear."""


def both(*hosts: Host) -> Host:
    """What trainers can do that are several things at once: what all of them can.

    Args:
        *hosts: At least one of them; the last one's name is the name.
    """
    answers = {
        name: frozenset(one for one in legal if all(one in host.answers[name] for host in hosts))
        for name, legal in ALL_ANSWERS.items()
        if all(name in host.answers for host in hosts)
    }
    advice = {
        name: " ".join(host.advice[name] for host in hosts if name in host.advice)
        for name in ALL_ANSWERS
        if any(name in host.advice for host in hosts)
    }
    return Host(hosts[-1].name, answers, advice)


FASTAI: Final = Host("fastai's Learner.fit", ALL_ANSWERS)
"""fastai v2: every hook, and whatever it may answer."""

FASTAI_SEVERAL: Final = Host(
    "fastai's Learner.fit over several processes", LIGHTNING_SEVERAL.answers, LIGHTNING_SEVERAL.advice
)
"""fastai over several processes: what one process decides alone, the others do not hear of."""

KERAS: Final = Host("Keras's fit with TypedModel", ALL_ANSWERS)
"""Keras on torch with our mixin: every hook, and whatever it may answer."""

KERAS_CALLBACK: Final = Host(
    "Keras's fit without TypedModel",
    TRANSFORMERS_CALLBACK.answers,
    dict.fromkeys(ALL_ANSWERS, "Derive the model from TypedModel, a mixin for Keras's models."),
)
"""A model without our mixin: of a batch its callbacks see numbers alone, and of an error they do not hear."""

IGNITE_SEVERAL: Final = Host(
    "Ignite's engine over several processes", LIGHTNING_SEVERAL.answers, LIGHTNING_SEVERAL.advice
)
"""Ignite over several processes: what one process decides alone, the others do not hear of."""

IGNITE_ENGINE_SEVERAL: Final = both(
    IGNITE_ENGINE, attrs.evolve(IGNITE_SEVERAL, name="Ignite's engine with a step function of its own, over processes")
)
"""The same with a step function of the user's."""

SKORCH_SEVERAL: Final = Host(
    "skorch's NeuralNet with TypedNet over several processes", LIGHTNING_SEVERAL.answers, LIGHTNING_SEVERAL.advice
)
"""skorch over several processes: what one process decides alone, the others do not hear of."""
