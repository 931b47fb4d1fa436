"""Another callback looked up in a hook."""

from dataclasses import dataclass
from typing import Mapping

from typedcb import AnyLearnerCallback, Learner
from typedcb.callbacks import Recorder, SmoothLoss


@dataclass(frozen=True)
class LooksUp(AnyLearnerCallback):
    table: Mapping[str, float]
    smooth: SmoothLoss

    def after_epoch(self, event: object) -> None:
        print(self.learn.get(Recorder))  # typedcb-undeclared-dependency
        learn = self.learn
        print(learn.get(Recorder))  # typedcb-undeclared-dependency
        print(self.table.get("a"), self.smooth.value, {}.get("learn"))
        print(self.learn.model)

    def helper(self) -> None:
        print(self.learn.get(SmoothLoss))  # typedcb-undeclared-dependency


def after_the_fit(learn: Learner) -> None:
    print(learn.get(Recorder))
