"""What an adapter costs in its trainer, over the trainer's own callback that does the same.

Both read each training batch's loss. They run in turns in one process, each in a fit of its own, on the batches of
`task.py`, and the trainer's own twice, which shows what the noise comes to. A figure is the processor's time for a
batch at the 20th percentile of the epochs, and a table gives the median over several fresh processes.

    python -m benchmarks.hosts lightning ignite skorch transformers keras
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import random
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
from .task import LR, Batches, Pair, digits, in_processes, middle, mlp, sgd, table

N_EPOCHS, ROUNDS, PROCESSES = 12, 10, 5

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


def measured(name: str) -> dict[str, float]:
    """What a batch takes in this process, in µs: by the trainer's own callback, by the same again, and hosted."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    batches = Timed(digits().pairs)
    own, ours = HOSTS[name](batches)
    arms = {"own": own, "own again": own, "hosted": ours}
    times: dict[str, list[float]] = {arm: [] for arm in arms}
    order = list(arms)
    for turn in range(ROUNDS + 1):
        random.shuffle(order)
        for arm in order:
            took = per_batch(arms[arm], batches)
            if turn:  # the first of them warms up
                times[arm] += took
    return {arm: sorted(values)[len(values) // 5] for arm, values in times.items()}


def row(name: str) -> list[str]:
    """A trainer's line of the table."""
    results = in_processes("benchmarks.hosts", PROCESSES, "--one", name)
    own = statistics.median(result["own"] for result in results)
    over = [[result[arm] - result["own"] for result in results] for arm in ("hosted", "own again")]
    return [name, f"{own:.0f}", *(middle(values, "+.1f") for values in over)]


def main(names: list[str]) -> None:
    """Prints the table."""
    head = ["trainer", "its own callback, µs a batch", "hosted, µs more", "its own again, µs more"]
    print(table(head, [row(name) for name in names or HOSTS]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        with contextlib.redirect_stdout(io.StringIO()):  # trainers print
            found = measured(sys.argv[2])
        print(json.dumps(found))
    else:
        main(sys.argv[1:])
