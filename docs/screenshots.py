"""Takes the pictures of pages in docs/img, in a real Chromium: python docs/screenshots.py.

The trace is that of a small fit of the demo's network.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

import torch
from playwright.sync_api import sync_playwright
from torch import nn
from torch.optim import AdamW

from typedcb import Learner
from typedcb.callbacks import LR, AvgStats, GradientClip, ParamScheduler, Recorder, SmoothLoss, accuracy, one_cycle
from typedcb.demo import RandomShift, Standardize, digits, small_cnn
from typedcb.trace import Trace, read
from typedcb.trace.page import write_page

FOLDER: Final = Path(__file__).resolve().parent / "img"


def traced_fit(path: Path) -> None:
    """Trains for two epochs, and writes a trace."""
    torch.manual_seed(0)
    data, mean, std = digits()
    learn = Learner(
        small_cnn(),
        data,
        nn.CrossEntropyLoss(),
        partial(AdamW, lr=0.01),
        cbs=[RandomShift(), Standardize(mean, std), SmoothLoss(beta=0.9), AvgStats(accuracy)],
        cb_funcs=[
            partial(GradientClip, clip=1.0),
            partial(ParamScheduler, param=LR, schedule=one_cycle(0.01)),
            Recorder,
            partial(Trace, path=path),
        ],
    )
    learn.fit(2)


def main() -> None:
    """Takes them."""
    folder = Path(tempfile.mkdtemp())
    traced_fit(folder / "fit.trace")
    write_page(read(folder / "fit.trace"), folder / "page.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.goto((folder / "page.html").as_uri())
        page.wait_for_selector("html[data-ready]")
        page.fill("#query", "after_loss epoch:0 train")
        for key in ("Enter", "j", "j", "j", "j"):
            page.keyboard.press(key)
        for _ in range(6):
            page.keyboard.press("+")
        page.wait_for_selector("#details table")
        page.wait_for_timeout(300)  # the window's last picture
        page.screenshot(path=FOLDER / "trace-page.png")
        browser.close()


if __name__ == "__main__":
    main()
