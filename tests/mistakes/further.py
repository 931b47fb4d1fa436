"""Kinds of mistakes that further threads show, and what becomes of each with typedcb.

The evidence stands as for the sixty: the lines of `cases/` below `# -- ID`, and the tests of `test_further.py`.
"""

from __future__ import annotations

from typing import Final

from mistake import Mistake

FURTHER: Final = (
    # Lightning-AI/pytorch-lightning#5906
    Mistake(
        "FU-01",
        "Lightning",
        "sets up in a method that no version calls",
        "silent",
        "checkers",
        "`@override` on no hook; without it, the plugin reports a `setup` that nobody calls",
    ),
    # mosaicml/composer#11
    Mistake(
        "FU-02",
        "Composer",
        "a hook's words in another order",
        "silent",
        "checkers",
        "`@override` on no hook; without it, the class is refused: `did you mean after_epoch?`",
    ),
    # skorch-dev/skorch#533
    Mistake(
        "FU-03",
        "skorch",
        "a parameter with a default that nobody fills",
        "silent",
        "class",
        "refused: a hook is handed one event and nothing else",
    ),
    # huggingface/transformers#9872
    Mistake(
        "FU-04", "transformers", "`kwargs.get` of what is not in it", "silent", "plugin", "`typedcb-unfilled-parameter`"
    ),
    # keras-team/keras#17376, Lightning-AI/pytorch-lightning#12005
    Mistake(
        "FU-05",
        "Keras, Lightning",
        "an `__init__` that does not call the base's",
        "late",
        "class",
        "refused: it takes the place of the dataclass's own, which makes the fields",
    ),
    # huggingface/transformers#7339
    Mistake("FU-06", "transformers", "indented too far, or not enough", "silent", "plugin", "`typedcb-misplaced-hook`"),
    # keras-team/keras#9655
    Mistake("FU-07", "Keras", "a class without the base", "late", "checkers", "no callback for `cbs`"),
    # fastai/fastai_dev#121
    Mistake(
        "FU-08",
        "fastai",
        "the learner outside, and not `self.learn`",
        "silent",
        "plugin",
        "`typedcb-undeclared-dependency`",
    ),
    # Lightning-AI/pytorch-lightning#17131
    Mistake(
        "FU-09",
        "Lightning",
        "reads what another hook has not written yet",
        "silent",
        "plugin",
        "a figure is another callback's field, which runs before; one known by its name in the file is reported",
    ),
    # keras-team/keras#10472, tensorflow/tensorflow#27318
    Mistake(
        "FU-10",
        "Keras",
        "`self.validation_data` is None",
        "late",
        "checkers",
        "no such attribute; `self.learn.data.valid_dl` is there",
    ),
    # ray-project/ray#3854
    Mistake(
        "FU-11",
        "Ray",
        "changes what it was handed, when it was written down already",
        "silent",
        "plugin",
        "`typedcb-event-assignment`, also by another name for the batch",
    ),
    # fastai/fastai_dev#226
    Mistake(
        "FU-12",
        "fastai, Catalyst",
        "a field whose name is a setting of the trainer's",
        "late",
        "checkers",
        "`order` is a ClassVar, and no field may take its place",
    ),
    # keras-team/keras#5724
    Mistake(
        "FU-13", "Keras", "sets the rate by an attribute that is none", "late", "checkers", "an optimizer has no `lr`"
    ),
    # keras-team/keras#13589
    Mistake("FU-14", "Keras", "reads the rate where it does not change", "silent", "plugin", "`typedcb-dead-setting`"),
    # mosaicml/composer#43, Lightning-AI/pytorch-lightning#5744
    Mistake(
        "FU-15",
        "Composer, Lightning",
        "replaces a layer when the optimizer is made",
        "silent",
        "plugin",
        "`typedcb-new-weights`",
    ),
    # Lightning-AI/pytorch-lightning#4481
    Mistake(
        "FU-16",
        "Lightning",
        "`return -1`, which leaves validation out too",
        "silent",
        "checkers",
        "no legal answer; `CancelEpoch` ends one pass alone",
    ),
    # skorch-dev/skorch#399
    Mistake(
        "FU-17",
        "skorch",
        "the truth of a monitored value",
        "silent",
        "plugin",
        "`typedcb-dead-condition`; a cell has no truth, and raises an error that says so",
    ),
    # Lightning-AI/pytorch-lightning#1988
    Mistake(
        "FU-18",
        "Lightning",
        "`raise KeyboardInterrupt` to stop",
        "late",
        "plugin",
        "`typedcb-illegal-cancel`: what is legal there is a `CancelTrain`",
    ),
    # tensorflow/tensorflow#41174
    Mistake(
        "FU-19",
        "TensorFlow",
        "`model.stop_training = True`",
        "silent",
        "checkers",
        "a module takes tensors and modules",
    ),
    # jrzaurin/pytorch-widedeep#175, aqlaboratory/openfold#90
    Mistake(
        "FU-20",
        "widedeep, OpenFold",
        "keeps the best weights by reference",
        "silent",
        "plugin",
        "`typedcb-live-weights`, also in a comprehension and by another name",
    ),
    # pytorch/ignite#677
    Mistake(
        "FU-21",
        "Ignite",
        "the last batch's output as the epoch's score",
        "silent",
        "checkers",
        "a series of losses is no figure",
    ),
    # Lightning-AI/pytorch-lightning#6117
    Mistake("FU-22", "Lightning", "monitors what nobody logs", "silent", "checkers", "a monitor is no string"),
    # skorch-dev/skorch#175
    Mistake("FU-23", "skorch", "an unknown setting is set without a word", "silent", "attach", "a callback is frozen"),
    # ThilinaRajapakse/simpletransformers#941
    Mistake("FU-24", "simpletransformers", "`eval()` and not back", "silent", "plugin", "`typedcb-against-the-loop`"),
    # asyml/texar-pytorch#310
    Mistake(
        "FU-25",
        "texar",
        "the model called in training mode between epochs",
        "silent",
        "plugin",
        "`typedcb-against-the-loop`",
    ),
    # pytorch/vision#1261
    Mistake("FU-26", "torchvision", "a scheduler stepped twice", "silent", "plugin", "`typedcb-against-the-loop`"),
    # Lightning-AI/pytorch-lightning#6665
    Mistake(
        "FU-27",
        "Lightning, Catalyst",
        "gradients read or clipped at the wrong time",
        "silent",
        "plugin",
        "`typedcb-gradients`",
    ),
    # fastai/fastai#876
    Mistake("FU-28", "fastai", "answers a loss without its graph", "late", "plugin", "`typedcb-graph-lost`"),
    # FluxML/FluxTraining.jl#159
    Mistake(
        "FU-29",
        "FluxTraining",
        "a Cancel that an `except Exception` catches",
        "silent",
        "plugin",
        "`typedcb-unused-answer`",
    ),
    # neulab/prompt2model#150
    Mistake(
        "FU-30",
        "transformers",
        "evaluates from within a hook",
        "late",
        "plugin",
        "`typedcb-against-the-loop`; the learner refuses it",
    ),
    # Lightning-AI/pytorch-lightning#15634
    Mistake(
        "FU-31",
        "Lightning",
        "two callbacks of one class overwrite each other's state",
        "silent",
        "design",
        "each callback's cells are its own",
    ),
    # Lightning-AI/pytorch-lightning#3378, #6699
    Mistake(
        "FU-32",
        "Lightning",
        "a stop that is not heard until `min_epochs`",
        "silent",
        "design",
        "a `CancelTrain` ends the fit",
    ),
    # ultralytics/ultralytics#18735
    Mistake(
        "FU-33",
        "Ultralytics",
        "the epoch's end comes once more for the last evaluation",
        "silent",
        "design",
        "`validate` is no epoch",
    ),
    # Lightning-AI/pytorch-lightning#9151, keras-team/keras#13239
    Mistake(
        "FU-34",
        "Lightning, Keras",
        "patience runs out over epochs without a validation",
        "silent",
        "design",
        "an epoch that measures nothing does not count",
    ),
    # fastai/fastai#3508, #3454
    Mistake(
        "FU-35",
        "fastai",
        "what a cancelled fit leaves behind",
        "silent",
        "design",
        "`after_fit` comes after a cancel, too",
    ),
    # Lightning-AI/pytorch-lightning#21296
    Mistake(
        "FU-36",
        "Lightning",
        "no step of the schedule after an epoch that was cut short",
        "silent",
        "design",
        "it steps once for each epoch in which the optimizer stepped",
    ),
)
