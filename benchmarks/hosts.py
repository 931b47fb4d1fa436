"""What an adapter costs in its trainer, over the trainer's own callback that does the same.

Both read each training batch's loss. They run in turns in one process, each in a fit of its own, on the batches of
`task.py`. A figure is the processor's time for a batch in the quickest epoch: what else the machine does adds to it.

    python -m benchmarks.hosts lightning ignite skorch transformers keras
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import tempfile
import warnings
from functools import partial
from itertools import pairwise
from time import process_time
from typing import Any, Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from .listeners import Reads
from .task import LR, Batches, Pair, digits, mlp, sgd, table

N_EPOCHS, ROUNDS = 12, 16

Run = Callable[[], object]
"""A fit, from making the model to its end."""

# Any: these libraries are not installed where types are checked.


def ignite(batches: Batches) -> tuple[Run, Run]:
    """Ignite's own trainer with a handler, and ours with a callback."""
    from ignite.engine import Events, create_supervised_trainer  # noqa: PLC0415

    from typedcb.interop.ignite import host  # noqa: PLC0415

    def read(engine: Any) -> None:
        _ = engine.state.output, engine.state.iteration

    def own() -> object:
        model = mlp()
        trainer = create_supervised_trainer(model, sgd(model.parameters()), F.cross_entropy)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, read)
        return trainer.run(batches, max_epochs=N_EPOCHS)

    def ours() -> object:
        model = mlp()
        trainer = host(Reads()).trainer(model, sgd(model.parameters()), F.cross_entropy)
        return trainer.run(batches, max_epochs=N_EPOCHS)

    return own, ours


def skorch(batches: Batches) -> tuple[Run, Run]:
    """The net of skorch's own with a callback, and one with the mixin and a typed callback."""
    from skorch import NeuralNet  # noqa: PLC0415
    from skorch.callbacks import Callback  # noqa: PLC0415

    from typedcb.interop.skorch import TypedNet, host  # noqa: PLC0415

    class Read(Callback):
        def on_batch_end(self, net: Any, loss: Any = None, **kwargs: Any) -> None:
            _ = loss, len(net.history[-1]["batches"])

    def fit(kind: Any, callback: Any) -> object:
        net = kind(
            mlp(), nn.CrossEntropyLoss, optimizer=torch.optim.SGD, lr=LR, max_epochs=N_EPOCHS, train_split=None,
            iterator_train=lambda dataset, **kwargs: batches, verbose=0, callbacks=[callback],
        )  # fmt: skip
        return net.fit(torch.cat([xb for xb, _ in batches.pairs]), torch.cat([yb for _, yb in batches.pairs]))

    return lambda: fit(NeuralNet, Read()), lambda: fit(TypedNet, host(Reads()))


def lightning(batches: Batches) -> tuple[Run, Run]:
    """A callback of Lightning's own, and a hosted one."""
    from . import hosts_lightning  # noqa: PLC0415

    return hosts_lightning.reads(batches, N_EPOCHS)


def lightning_both_ends(batches: Batches) -> tuple[Run, Run]:
    """The same for callbacks that hear where a batch begins and ends."""
    from . import hosts_lightning  # noqa: PLC0415

    return hosts_lightning.both_ends(batches, N_EPOCHS)


def lightning_five(batches: Batches) -> tuple[Run, Run]:
    """The same for five callbacks that train by what they hear."""
    from . import hosts_lightning  # noqa: PLC0415

    return hosts_lightning.five(batches, N_EPOCHS)


class ByName(nn.Module):
    """The model as Hugging Face's Trainer calls it."""

    def __init__(self) -> None:
        """Makes the model."""
        super().__init__()
        self.model = mlp()

    @override
    def forward(self, xb: Tensor, labels: Any = None) -> Any:
        """Predicts."""
        return self.model(xb)


def transformers(batches: Batches) -> tuple[Run, Run]:
    """A Trainer that reads its loss, with a callback that does nothing, and a hosted one."""
    from transformers import Trainer, TrainerCallback, TrainingArguments  # noqa: PLC0415

    from typedcb.interop.hosting import BatchFormat  # noqa: PLC0415
    from typedcb.interop.transformers import TypedTrainer, host  # noqa: PLC0415

    class Named:
        dataset = batches.pairs

        def __len__(self) -> int:
            return len(batches)

        def __iter__(self) -> Iterator[dict[str, Tensor]]:
            return ({"xb": xb, "labels": yb} for xb, yb in batches)

    class Reading(Trainer):  # a callback of the Trainer's has no loss: this is how it is read there
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(*args, **kwargs)
            _ = loss, self.state.global_step
            return loss

    paired: BatchFormat[Tensor, Tensor] = BatchFormat(
        lambda batch: (batch["xb"], batch["labels"]), lambda xb, yb: {"xb": xb, "labels": yb}
    )

    def fit(kind: Any, callback: Any) -> object:
        class Quiet(kind):  # type: ignore[misc]
            def get_train_dataloader(self) -> Any:
                return Named()

        settings = TrainingArguments(
            tempfile.gettempdir(), num_train_epochs=N_EPOCHS, logging_strategy="no", save_strategy="no",
            report_to="none", disable_tqdm=True, use_cpu=True, max_grad_norm=0.0, lr_scheduler_type="constant",
        )  # fmt: skip
        model = ByName()
        return Quiet(
            model, settings, train_dataset=batches.pairs, callbacks=[callback],
            optimizers=(sgd(model.parameters()), None),
            compute_loss_func=lambda pred, yb, num_items_in_batch=None: F.cross_entropy(pred, yb),
        ).train()  # fmt: skip

    return lambda: fit(Reading, TrainerCallback()), lambda: fit(TypedTrainer, host(Reads(), batches=paired))


def fastai(batches: Batches) -> tuple[Run, Run]:
    """A callback of fastai's own, and a hosted one."""
    from fastai.callback.core import Callback  # noqa: PLC0415
    from fastai.data.core import DataLoaders  # noqa: PLC0415
    from fastai.learner import Learner  # noqa: PLC0415
    from fastai.optimizer import OptimWrapper  # noqa: PLC0415

    from typedcb.interop.fastai import host  # noqa: PLC0415

    class Read(Callback):
        def after_loss(self) -> None:
            _ = self.learn.loss, self.learn.iter

    def fit(callback: Any) -> object:
        made = partial(OptimWrapper, opt=torch.optim.SGD)
        learn = Learner(DataLoaders(batches, []), mlp(), loss_func=F.cross_entropy, opt_func=made, lr=LR, cbs=callback)
        learn.logger = lambda *args: None
        return learn.fit(N_EPOCHS)

    return lambda: fit(Read()), lambda: fit(host(Reads()))


def keras(batches: Batches) -> tuple[Run, Run]:
    """A model of Keras's own layers that reads its loss, with a callback, and one with the mixin and a hosted one."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras  # noqa: PLC0415

    from typedcb.interop.keras import TypedModel, host  # noqa: PLC0415

    class Reading(keras.Sequential):  # a callback of Keras's has the mean so far: this is how a loss is read there
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(*args, **kwargs)
            _ = loss
            return loss

    class Read(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            _ = batch

    class Typed(TypedModel, keras.Sequential): ...

    class Passes(keras.utils.PyDataset):
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, index: int) -> Pair:
            if not index:
                iter(batches)
            return batches.pairs[index]

    def fit(kind: Any, callback: Any) -> object:
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(32, activation="relu"), keras.layers.Dense(10)]
        model = kind([keras.layers.Input((64,)), *layers])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=keras.optimizers.SGD(LR), loss=loss, jit_compile=False)
        return model.fit(Passes(), epochs=N_EPOCHS, verbose=0, shuffle=False, callbacks=[callback])

    return lambda: fit(Reading, Read()), lambda: fit(Typed, host(Reads()))


class Timed(Batches):
    """Batches that remember the processor's time at the begin of each pass: others at work cost less of it."""

    def __iter__(self) -> Iterator[Pair]:
        """The batches."""
        self.begun.append(process_time())
        return iter(self.pairs)


HOSTS: dict[str, Callable[[Batches], tuple[Run, Run]]] = {
    "lightning": lightning, "lightning-both-ends": lightning_both_ends, "lightning-five": lightning_five,
    "ignite": ignite, "skorch": skorch, "transformers": transformers, "fastai": fastai, "keras": keras,
}  # fmt: skip


def per_batch(run: Run, batches: Batches) -> list[float]:
    """The processor's time of each epoch but the first and the last, in µs a batch."""
    batches.begun.clear()
    gc.collect()
    run()
    times = [after - before for before, after in pairwise(batches.begun[1:])]
    return [time / len(batches) * 1e6 for time in times]


def measured(name: str) -> list[str]:
    """A trainer's line of the table."""
    torch.set_num_threads(1)
    batches = Timed(digits().pairs)
    own, ours = HOSTS[name](batches)
    quickest = [float("inf"), float("inf")]
    differences: list[float] = []
    for number in range(ROUNDS + 1):
        order = (0, 1) if number % 2 else (1, 0)
        pair = [0.0, 0.0]
        for which in order:
            pair[which] = min(per_batch((own, ours)[which], batches))
        if number:  # the first of them warms up
            quickest = [min(best, new) for best, new in zip(quickest, pair, strict=True)]
            differences.append(pair[1] - pair[0])
    low, middle, high = statistics.quantiles(differences, n=4)
    return [
        name, f"{quickest[0]:.0f}", f"{quickest[1]:.0f}", f"{quickest[1] - quickest[0]:+.1f}",
        f"{middle:+.1f} ({low:+.1f} to {high:+.1f})",
    ]  # fmt: skip


def main() -> None:
    """Prints the table."""
    warnings.simplefilter("ignore")
    head = ["trainer", "its own callback, µs a batch", "hosted, µs", "difference", "by pairs, the middle half"]
    print(table(head, [measured(name) for name in sys.argv[1:] or HOSTS]))


if __name__ == "__main__":
    main()
