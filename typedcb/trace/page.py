"""A trace as one HTML page, which needs nothing but itself: no server, no network, no other file."""

from __future__ import annotations

import html
from importlib.resources import files
from pathlib import Path
from typing import Final, Iterator

import msgspec

from .packing import packed
from .reading import TraceFile

_SCRIPTS: Final = ("dom", "run", "selection", "timeline", "events", "details", "curves", "costs", "about", "app")
"""The page's scripts, in the order in which they are run."""


def page(trace: TraceFile) -> str:
    """The page of a trace.

    Its scripts and its data are in it, and its policy forbids it to ask anybody for anything.

    Args:
        trace: The trace.

    Raises:
        TraceError: The trace has no run with an event in it.
    """
    runs = [packed(run) for run in trace.whole_runs()]
    overview = {"file": trace.path.name, "cut": trace.cut, "runs": [run.overview for run in runs]}
    chunks = [
        f'<script type="text/plain" id="chunk-{which}-{place}">{chunk}</script>'
        for which, run in enumerate(runs)
        for place, chunk in enumerate(run.chunks)
    ]
    text = _asset("page.html")
    for name, part in {
        "title": html.escape(trace.path.name),
        "style": _asset("page.css"),
        "overview": _inside_script(msgspec.json.encode(overview).decode()),
        "chunks": "\n".join(chunks),
        "script": "\n".join(_scripts()),
    }.items():
        before, after = text.split(f"<!-- {name} -->", 1)
        text = before + part + after
    return text


def write_page(trace: TraceFile, target: Path) -> None:
    """Writes the page of a trace.

    Args:
        trace: The trace.
        target: The HTML file; what is there is replaced.

    Raises:
        TraceError: The trace has no run with an event in it.
        OSError: It cannot be written.
    """
    target.write_text(page(trace), encoding="utf-8")


def _scripts() -> Iterator[str]:
    for name in _SCRIPTS:
        yield _asset(f"{name}.js")


def _asset(name: str) -> str:
    return (files("typedcb.trace") / "html" / name).read_text(encoding="utf-8")


def _inside_script(json: str) -> str:
    """JSON that can stand in a script element: nothing in it ends the element."""
    return json.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
