"""The catalogue of faults: 78 things that go wrong while models are trained, and what holds that each does no harm.

The entries stand in `files.py` (writing and reading checkpoints) and `in_fits.py` (data, numbers, callbacks, the
process); `fault.py` says how one is written. `python tests/faults/catalogue.py` writes docs/reliability.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
from fault import Fault, Peers
from files import FILES
from in_fits import RUNNING

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENT: Final = ROOT / "docs" / "reliability.md"

SECTIONS: Final = {
    "A": ("Writing checkpoints", 11),
    "B": ("Reading checkpoints", 18),
    "C": ("Data", 10),
    "D": ("Numbers", 6),
    "E": ("Callbacks", 19),
    "F": ("The process", 14),
}
"""The sections, each with how many faults it has."""

FAULTS: Final = (*FILES, *RUNNING)

NAMES: Final = ("Lightning", "Hugging Face", "Ignite", "Keras", "skorch", "torchtnt", "fastai")


def section(letter: str) -> list[Fault]:
    """The faults of a section."""
    return [fault for fault in FAULTS if fault.id.startswith(letter)]


def _held(fault: Fault) -> str:
    if fault.tests:
        return "<br>".join(f"`{name.removeprefix('tests/')}`" for name in fault.tests)
    return fault.reason


def _ours(letter: str) -> Iterator[str]:
    yield "| | fault | | typedcb | held by |"
    yield "| --- | --- | --- | --- | --- |"
    for fault in section(letter):
        yield f"| {fault.id} | {fault.fault} | {fault.meant} | {fault.here} | {_held(fault)} |"


def _theirs(letter: str) -> Iterator[str]:
    tried = [fault for fault in section(letter) if fault.peers is not None]
    if not tried:
        return
    yield ""
    yield f"| | {' | '.join(NAMES)} |"
    yield f"| --- |{' --- |' * len(NAMES)}"
    for fault in tried:
        answers: tuple[str, ...] = attrs.astuple(fault.peers or Peers(*["-"] * 7))
        yield f"| {fault.id} | {' | '.join(answers)} |"


def document() -> str:
    """The document."""
    tested = sum(bool(fault.tests) for fault in FAULTS)
    parts = [
        f"""# Reliability

What goes wrong while models are trained, {len(FAULTS)} faults in all, and what becomes of each here: *survived*, so
that the fit goes on or ends in order, or *refused*, with an error that says what to do. {tested} of them are held by
tests, which are named beside them (in `tests/` of the repository); where there is nothing to test, it says why.

The second table of a section has what other trainers do in the cases that were tried with them: Lightning 2.6.6,
Hugging Face's Trainer 5.23.0 (accelerate 1.15.0), Ignite 0.5.5, Keras 3.15.1 on torch, skorch 1.4.0 and torchtnt
0.2.4 with torch 2.13.0, and fastai 2.8.12 with torch 2.14.1, each as it is by default. *ok*: it does that, or nearly;
*partly*: it raises, but unclearly or without cleaning up; *wrong*: silent, with data lost, or wrong. Some of it is
otherwise with other settings.
"""
    ]
    for letter, (title, _) in SECTIONS.items():
        lines = "\n".join([*_ours(letter), *_theirs(letter)])
        parts.append(f"## {letter}. {title}\n\n{lines}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
