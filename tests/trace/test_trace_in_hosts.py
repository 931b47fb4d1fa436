"""A trace of a fit in somebody else's trainer tells of the same as a learner's."""

from __future__ import annotations

from pathlib import Path

from test_grammar import Shape
from test_hosted import LR, Pushing
from tiny import learner

from typedcb import Loop
from typedcb.callbacks import SmoothLoss
from typedcb.needs import Parts
from typedcb.trace import Equal, Rules, Trace, diff, read


def test_a_hosted_fit_and_a_learners_are_equal_event_by_event(tmp_path: Path) -> None:
    trainer = Pushing(Loop([SmoothLoss()]))
    trainer.loop.add(Trace(Parts(trainer.model, trainer.opt), tmp_path / "hosted.trace"))
    trainer.fit(Shape(2, 3, 2))
    learn = learner(SmoothLoss(), n_train=3, n_valid=2, lr=LR)
    learn.add(Trace, tmp_path / "learner.trace")
    learn.fit(2)

    found = diff(tmp_path / "hosted.trace", tmp_path / "learner.trace", Rules(ignore=("random:*",)))
    assert isinstance(found, Equal), found
    assert found.events == len(read(tmp_path / "hosted.trace").runs[0].events) > 50
