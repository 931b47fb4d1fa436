"""A method that reads as a hook's and is none."""

from dataclasses import dataclass

from typing_extensions import override

from typedcb import AnyCallback, BatchEvent, Callback


@dataclass(frozen=True)
class Misspelt(AnyCallback):
    def after_bacward(self, event: BatchEvent) -> None: ...  # typedcb-unknown-hook

    def on_train_batch_end(self, event: BatchEvent) -> None: ...  # typedcb-unknown-hook

    def begin_bach(self, event: BatchEvent) -> None: ...  # typedcb-unknown-hook

    def before_fit(self) -> None: ...  # typedcb-unknown-hook

    async def on_epoch_end(self) -> None: ...  # typedcb-unknown-hook

    @staticmethod
    def on_exception(error: BaseException) -> None: ...  # typedcb-unknown-hook


@dataclass(frozen=True)
class Own(Callback):
    def after_backward(self, event: BatchEvent) -> None: ...

    def _on_everything(self) -> None: ...

    def decide(self) -> None: ...

    def plot(self) -> None: ...

    @override
    def after_los(self) -> None: ...  # every type checker reports it itself

    def after_pass(self) -> None: ...  # typedcb: ignore[typedcb-unknown-hook]

    def after_fits(self) -> None: ...  # typedcb: ignore


@dataclass(frozen=True)
class Settings(AnyCallback):
    run_after = Own  # typedcb-unknown-setting
    toward_end = True  # typedcb-unknown-setting
    order = 3
    run_valid: bool = False


class NoCallback:
    def on_train_batch_end(self) -> None: ...


def inside() -> None:
    @dataclass(frozen=True)
    class Base(AnyCallback):
        def on_epoch_begin(self) -> None: ...  # typedcb-unknown-hook

    @dataclass(frozen=True)
    class Child(Base):
        def on_fit_end(self) -> None: ...  # typedcb-unknown-hook
