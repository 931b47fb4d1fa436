"""What other libraries' loops cost on the same task: the same model and batches, through the loop that each documents.

Each runs in processes of its own, in turns with the bare loop, from a virtual environment of its own in .bench-venv:
what one of them brings along (such as torchvision) would change another's imports.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import statistics
import subprocess
import sys
import venv
import warnings
from pathlib import Path
from time import perf_counter
from typing import Any, Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from .task import (
    LR,
    ROOT,
    Arm,
    Batches,
    Weights,
    bare,
    digits,
    in_processes,
    measure,
    middle,
    mlp,
    ratios,
    sgd,
    slopes,
    table,
    weights_of,
)

N_EPOCHS, ROUNDS, PROCESSES, MANY = 5, 6, 3, 25
ENVS = ROOT / ".bench-venv"
REQUIREMENTS = ROOT / "benchmarks" / "peers-requirements.txt"

# Any: these libraries take batches of any kind.
Peer = Callable[[Batches, int, str], Arm]
"""Makes the loop of a library with n callbacks that do `"nothing"` or `"read"` the loss and the batch's number."""


def ignite(batches: Batches, n: int, kind: str) -> Arm:
    """`create_supervised_trainer` and handlers of ITERATION_COMPLETED."""
    from ignite.engine import Events, create_supervised_trainer  # noqa: PLC0415

    def nothing(engine: Any) -> None:
        pass

    def read(engine: Any) -> None:
        _ = engine.state.output, engine.state.iteration

    def run(n_epochs: int) -> Weights:
        model = mlp()
        trainer = create_supervised_trainer(model, sgd(model.parameters()), F.cross_entropy)
        for _ in range(n):
            trainer.add_event_handler(Events.ITERATION_COMPLETED, read if kind == "read" else nothing)
        trainer.run(batches, max_epochs=n_epochs)
        return weights_of(model)

    return run


def skorch(batches: Batches, n: int, kind: str) -> Arm:
    """`NeuralNet.fit` with its default callbacks, and more with `on_batch_end`."""
    from skorch import NeuralNet  # noqa: PLC0415
    from skorch.callbacks import Callback  # noqa: PLC0415

    class Nothing(Callback):
        @override
        def on_batch_end(self, net: NeuralNet, batch: Any = None, training: bool | None = None, **kwargs: Any) -> None:
            pass

    class Read(Callback):
        @override
        def on_batch_end(self, net: NeuralNet, batch: Any = None, training: bool | None = None, **kwargs: Any) -> None:
            _ = kwargs["loss"], len(net.history[-1]["batches"])

    def run(n_epochs: int) -> Weights:
        net = NeuralNet(
            mlp(), nn.CrossEntropyLoss, optimizer=torch.optim.SGD, lr=LR, max_epochs=n_epochs, train_split=None,
            iterator_train=lambda dataset, **kwargs: batches, verbose=0,
            callbacks=[(Read if kind == "read" else Nothing)() for _ in range(n)],
        )  # fmt: skip
        net.fit(torch.cat([xb for xb, _ in batches.pairs]), torch.cat([yb for _, yb in batches.pairs]))
        return weights_of(net.module_)

    return run


def lightning(batches: Batches, n: int, kind: str) -> Arm:
    """`Trainer(barebones=True).fit`, and callbacks with `on_train_batch_end`."""
    import lightning as L  # noqa: PLC0415

    class Module(L.LightningModule):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.model = mlp()

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            xb, yb = batch
            return F.cross_entropy(self.model(xb), yb)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return sgd(self.model.parameters())

    class Nothing(L.Callback):  # type: ignore[misc, unused-ignore]
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            pass

    class Read(L.Callback):  # type: ignore[misc, unused-ignore]
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            _ = outputs["loss"], batch_idx

    def run(n_epochs: int) -> Weights:
        callbacks: list[L.Callback] = [(Read if kind == "read" else Nothing)() for _ in range(n)]
        trainer = L.Trainer(accelerator="cpu", max_epochs=n_epochs, barebones=True, callbacks=callbacks)
        module = Module()
        trainer.fit(module, batches)
        return weights_of(module.model)

    return run


def transformers(batches: Batches, n: int, kind: str) -> Arm:
    """`Trainer.train` without logging and clipping, and callbacks with `on_step_end`, which is given no loss."""
    from transformers import Trainer, TrainerCallback, TrainingArguments  # noqa: PLC0415

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = mlp()

        def forward(self, xb: Tensor, labels: Tensor) -> dict[str, Tensor]:
            pred = self.model(xb)
            return {"loss": F.cross_entropy(pred, labels), "logits": pred}

    class Nothing(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            pass

    class Read(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            _ = state.global_step

    class AsDicts:
        def __len__(self) -> int:
            return len(batches)

        def __iter__(self) -> Iterator[dict[str, Tensor]]:
            return ({"xb": xb, "labels": yb} for xb, yb in batches)

    class OurTrainer(Trainer):  # type: ignore[misc, unused-ignore]
        def get_train_dataloader(self) -> AsDicts:
            return AsDicts()

    def run(n_epochs: int) -> Weights:
        model = Model()
        args = TrainingArguments(
            output_dir=str(ENVS / "hf"), num_train_epochs=n_epochs, use_cpu=True, report_to="none", save_strategy="no",
            logging_strategy="no", disable_tqdm=True, max_grad_norm=0.0, per_device_train_batch_size=32,
        )  # fmt: skip
        opt = sgd(model.parameters())
        schedule = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: 1.0)
        callbacks = [(Read if kind == "read" else Nothing)() for _ in range(n)]
        OurTrainer(
            model, args, train_dataset=batches.pairs, optimizers=(opt, schedule), callbacks=callbacks
        ).train()  # fmt: skip
        return weights_of(model.model)

    return run


def fastai(batches: Batches, n: int, kind: str) -> Arm:
    """`Learner.fit` without its progress bar and recorder, no validation data, and callbacks with `after_loss`."""
    from fastai.callback.core import Callback  # noqa: PLC0415
    from fastai.callback.progress import ProgressCallback  # noqa: PLC0415
    from fastai.data.core import DataLoaders  # noqa: PLC0415
    from fastai.learner import Learner, Recorder  # noqa: PLC0415
    from fastai.optimizer import OptimWrapper  # noqa: PLC0415

    class Nothing(Callback):
        def after_loss(self) -> None:
            pass

    class Read(Callback):
        def after_loss(self) -> None:
            _ = self.loss, self.iter

    def opt_func(params: Any, **kwargs: Any) -> OptimWrapper:
        return OptimWrapper(params, torch.optim.SGD, lr=LR)

    def run(n_epochs: int) -> Weights:
        model = mlp()
        callbacks = [(Read if kind == "read" else Nothing)() for _ in range(n)]
        dls = DataLoaders(batches, [], device=torch.device("cpu"))
        learn = Learner(dls, model, F.cross_entropy, opt_func=opt_func, lr=LR, cbs=callbacks)
        learn.remove_cbs([callback for callback in learn.cbs if isinstance(callback, (ProgressCallback, Recorder))])
        with learn.no_bar():
            learn.fit(n_epochs)
        return weights_of(model)

    return run


def keras(batches: Batches, n: int, kind: str) -> Arm:
    """`Model.fit` of Keras's own layers on torch, and callbacks with `on_train_batch_end`; the weights are its own."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras  # noqa: PLC0415

    class Nothing(keras.callbacks.Callback):
        @override
        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            pass

    class Read(keras.callbacks.Callback):
        @override
        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            _ = (logs or {})["loss"], batch

    class Passes(keras.utils.PyDataset):
        def __len__(self) -> int:
            return len(batches)

        @override
        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            if not index:
                batches.begun.append(perf_counter())
            return batches.pairs[index]

    def run(n_epochs: int) -> Weights:
        layers = [keras.layers.Dense(32, activation="relu"), keras.layers.Dense(10)]
        model = keras.Sequential([keras.layers.Input((64,)), *layers])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=keras.optimizers.SGD(LR), loss=loss)
        callbacks = [(Read if kind == "read" else Nothing)() for _ in range(n)]
        model.fit(Passes(), epochs=n_epochs, verbose=0, shuffle=False, callbacks=callbacks)
        return []

    return run


PEERS: dict[str, tuple[Peer, tuple[str, ...]]] = {
    "Ignite": (ignite, ("pytorch-ignite",)),
    "skorch": (skorch, ("skorch",)),
    "fastai": (fastai, ("fastai",)),
    "Lightning, barebones": (lightning, ("lightning",)),
    "Hugging Face Trainer": (transformers, ("transformers", "accelerate")),
    "Keras, own layers": (keras, ("keras",)),
}
"""Each library's loop, and the packages that it needs."""


def requirements() -> dict[str, str]:
    """The lines of the requirements file by the package that they name."""
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    return {line.split("==")[0]: line for line in lines}


def installed(python: Path, packages: tuple[str, ...]) -> bool:
    """Whether pip can install packages beside the torch that is pinned, into a virtual environment of their own."""
    pins = requirements()
    if not python.exists():
        venv.create(python.parent.parent, with_pip=True)
    wanted = [pins[name] for name in ("torch", "scikit-learn", *packages)]
    command = [str(python), "-m", "pip", "install", "--quiet", *wanted]
    return subprocess.run(command, check=False, stdout=sys.stderr).returncode == 0


def row(name: str) -> list[str]:
    """A library's line of the table."""
    packages = PEERS[name][1]
    version = requirements()[packages[0]].split("==")[1]
    python = ENVS / packages[0] / "bin" / "python"
    if not installed(python, packages):
        return [f"{name} {version}", "cannot be installed beside this torch", "", "", "", ""]
    try:
        results = in_processes("benchmarks.peers", PROCESSES, name, python=str(python))
    except subprocess.CalledProcessError:
        return [f"{name} {version}", "failed", "", "", "", ""]
    more = [
        f"{statistics.median(slopes(results, f'5 {kind}', f'{MANY} {kind}', MANY - 5)):,.0f}"
        for kind in ("nothing", "read")
    ]
    return [f"{name} {version}", *(middle(ratios(results, n), ".2f") for n in ("0", "5 nothing", "5 read")), *more]


def main() -> None:
    """Prints the table."""
    head = ["loop", "no callback", "5 that do nothing", "5 that read", "ns for one more", "ns for one more that reads"]
    print(table(head, [row(name) for name in PEERS]))


def work(name: str) -> None:
    """Measures one library, and prints its figures as JSON."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    batches = digits()
    peer = PEERS[name][0]

    def arm(n: int, kind: str) -> Arm:
        def run(n_epochs: int) -> Weights:
            with contextlib.redirect_stdout(io.StringIO()):
                return peer(batches, n, kind)(n_epochs)

        return run

    arms = {f"{n} {kind}": arm(n, kind) for n in (5, MANY) for kind in ("nothing", "read")}
    arms |= {"bare": bare(batches), "0": arm(0, "nothing")}
    print(json.dumps(measure(arms, batches, N_EPOCHS, ROUNDS, unequal=peer is keras)))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        work(sys.argv[1])
    else:
        main()
