"""Runs Ignite."""

from __future__ import annotations

import importlib
from typing import Any

from driving import Driver, Loader, Ran, Task
from typing_extensions import override

from typedcb.interop.hosting import Hosting
from typedcb.interop.hosts import IGNITE, IGNITE_ENGINE


class Ignite(Driver):
    name = "ignite"
    package = "ignite"
    host = IGNITE

    @override
    def hosting(self, *callbacks: Any, **options: Any) -> Hosting[Any, Any, Any]:
        hosted: Hosting[Any, Any, Any] = importlib.import_module("typedcb.interop.ignite").host(*callbacks, **options)
        return hosted

    @override
    def fit(self, task: Task, hosting: Any, **options: Any) -> Ran:
        from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer  # noqa: PLC0415

        losses: list[float] = []
        model = task.model()
        opt = task.opt(model.parameters())
        if hosting is None:
            trainer = create_supervised_trainer(model, opt, task.loss, **options)
            evaluator = create_supervised_evaluator(model)
        else:
            trainer = hosting.trainer(model, opt, task.loss, **options)
            evaluator = hosting.evaluator()
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output))
        if task.valid:
            trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(Loader(task.valid)))
        for engine in (trainer, evaluator):
            engine.logger.disabled = True
        trainer.run(Loader(task.train), max_epochs=task.n_epochs)
        return Ran(model, losses)


class IgniteEngine(Ignite):
    """Ignite with a step function of its own."""

    name = "ignite_engine"
    host = IGNITE_ENGINE

    @override
    def fit(self, task: Task, hosting: Any, **options: Any) -> Ran:
        from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer  # noqa: PLC0415

        losses: list[float] = []
        model = task.model()
        opt = task.opt(model.parameters())
        trainer = create_supervised_trainer(model, opt, task.loss, **options)
        evaluator = create_supervised_evaluator(model)
        hosting.attach(trainer, model, opt)
        hosting.evaluator(evaluator)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output))
        if task.valid:
            trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(Loader(task.valid)))
        for engine in (trainer, evaluator):
            engine.logger.disabled = True
        trainer.run(Loader(task.train), max_epochs=task.n_epochs)
        return Ran(model, losses)


FOUND = (Ignite(), IgniteEngine())
