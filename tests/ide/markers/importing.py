"""Finding what there is."""

from __future__ import annotations

import typedcb
import typedcb.callbacks as tc
from typedcb import AfterBackward, Callback, DataBunch, Learner, Loop

#                   ^ complete: AfterBackward, Callback, DataBunch, Learner, SkipStep
#                         ^ complete: AfterBackward, AfterBatch
#                                   ^ complete: Callback, Cell
#                                             ^ complete: DataBunch
#                                                        ^ complete: Learner, LossEvent, Loop
from typedcb.callbacks import AvgStats, EarlyStopping, GradientClip, Recorder
#                             ^ complete: AvgStats, EarlyStopping, GradientClip, Recorder, Progress, SaveBest
#                              ^ complete: AvgStats, ActivationStats
#                                        ^ complete: EarlyStopping, EMA
#                                                        ^ complete: GradientClip, GradientAccumulation

print(tc.OneCycle)
#        ^ complete: OneCycle, Checkpoint, SmoothLoss
#         ^ complete: OneCycle
print(typedcb.BeginBatch)
#             ^ complete: BeginBatch, Learner, cell, series
#                  ^ complete: BeginBatch, BeginEpoch, BeginFit, BeginValidate
print(DataBunch, AfterBackward, Callback, Learner, Loop)
#       ^ hover: DataBunch, The loaders of a fit
#                                           ^ hover: Learner, A model with all that it takes to train it
print(GradientClip, AvgStats, EarlyStopping, Recorder)
#       ^ hover: GradientClip, Keeps the gradients small
