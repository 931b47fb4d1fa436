"""Mistakes with checkpoints.

Every line marked `# error` must be reported by every type checker, and no other line.
"""

from __future__ import annotations

from pathlib import Path

from good_checkpoint import critic, gan, learn, loop, objective_parts, parts, stats

from typedcb import LoopParts, ObjectiveParts
from typedcb.callbacks import Checkpoint

folder = Path("run")

learn.add(Checkpoint)  # error
learn.add(Checkpoint, "run")  # error
learn.add(Checkpoint, folder, every_epochs="1")  # error
learn.add(Checkpoint, folder, keep_best=stats.valid_loss)  # error
learn.add(Checkpoint, folder, keep_best=(stats.valid_loss, "less"))  # error
learn.add(Checkpoint, folder, keep_best=(stats.train_metrics, "min"))  # error
learn.add(Checkpoint, folder, on_error="ignore")  # error
learn.fit(1, resume=3)  # error
learn.fit(1, resume=folder, on_mismatch="reset")  # error
learn.fit(1, resume=folder, on_mismatch={"EarlyStopping": "drop"})  # error
learn.load()  # error
learn.save(3)  # error
learn.position.epoch  # error
learn.add(Checkpoint, folder, exact="yes")  # error
LoopParts(loop, learn.model, learn.opt)  # error
LoopParts(loop, learn.opt, learn.opt, learn.data)  # error
LoopParts(loop, learn.model, learn.opt, [(1, 2)])  # error
Checkpoint(folder)  # error
Checkpoint(parts.model, folder)  # error
loop.fit(1, resume=folder)  # error
parts.resumption()  # error
parts.load(3)  # error
ObjectiveParts(gan)  # error
ObjectiveParts(gan, [(1, 2)])  # error
ObjectiveParts([critic], learn.data)  # error
Checkpoint(critic, folder)  # error
Checkpoint(gan, folder)  # error
gan.fit(1, resume=objective_parts)  # error
objective_parts.model  # error
objective_parts.load(folder, {"critic": "drop"})  # error
