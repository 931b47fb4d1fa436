"""The page of a trace holds all of it, asks nobody for anything, and runs nothing that the trace says."""

from __future__ import annotations

import base64
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from many import header, write_many

from typedcb import TraceError
from typedcb.cli import main
from typedcb.trace import CallbackInfo, Event, TracedRun, TraceFile, read
from typedcb.trace.curves import MOST_POINTS, curves
from typedcb.trace.page import page, write_page


class Parts(HTMLParser):
    """The elements of a page, and the texts of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self._script = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._script = dict(attrs).get("id") or "code" if tag == "script" else ""

    def handle_endtag(self, tag: str) -> None:
        self._script = "" if tag == "script" else self._script

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data

    @property
    def overview(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.scripts["overview"])
        return parsed

    def chunk(self, run: int, number: int) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(self.scripts[f"chunk-{run}-{number}"])))
        return parsed


def column(text: str, kind: str) -> list[Any]:
    values: list[Any] = np.frombuffer(base64.b64decode(text), kind).tolist()
    return values


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> TraceFile:
    return read(write_many(tmp_path_factory.mktemp("trace") / "long.trace", 2500))


@pytest.fixture(scope="module")
def parts(trace: TraceFile) -> Parts:
    return Parts(page(trace))


def test_the_index_says_of_every_event_what_and_where_it_is(trace: TraceFile, parts: Parts) -> None:
    run, packed = trace.runs[0], parts.overview["runs"][0]
    columns, signatures = packed["columns"], packed["signatures"]
    hooks = [signatures[place][0] for place in column(columns["signature"], "<u4")]
    assert hooks == [event.hook for event in run.events]
    assert column(columns["epoch"], "<i4") == [-1 if event.epoch is None else event.epoch for event in run.events]
    assert column(columns["batch"], "<i4") == [-1 if event.index is None else event.index for event in run.events]
    assert column(columns["number"], "<u4") == [event.number for event in run.events]
    assert column(columns["at"], "<f8") == [event.at for event in run.events]
    assert len(signatures) < 40, "most events are of few kinds"


def test_the_chunks_hold_every_event_once_and_what_was_known_before_each_chunk(trace: TraceFile, parts: Parts) -> None:
    run = trace.runs[0]
    chunks = [parts.chunk(0, number) for number in range(3)]
    assert "chunk-0-3" not in parts.scripts
    events = [event for chunk in chunks for event in chunk["events"]]
    assert [[call["callback"] for call in event["calls"]] for event in events] == [
        [call.callback for call in event.calls] for event in run.events
    ]
    states = [dict(known) for _, known in run.states()]
    for number in (1, 2):
        first = number * 1000
        known = chunks[number]["known"]
        came = {**known, **events[first]["before"], **{f"fields:{k}": v for k, v in events[first]["fields"].items()}}
        assert set(came) >= set(states[first])


def test_a_batch_forgets_what_the_one_before_carried_whatever_events_were_recorded(tmp_path: Path) -> None:
    def event(number: int, hook: str, batch: int, **fields: Any) -> Event:
        return Event(number, hook, 0.1 * number, 0.1, 0, "train", batch, batch, fields)

    events = [event(0, "after_pred", 0, pred="p0"), event(1, "after_loss", 0, loss=0.25)]
    events += [event(2 + place, "after_pred", 1 + place, pred=f"p{1 + place}") for place in range(999)]
    made = Parts(page(TraceFile(tmp_path / "some.trace", (TracedRun(header(), tuple(events), None),), 0)))
    assert made.chunk(0, 1)["known"] == {"fields:pred": "p998"}, "and not the loss of batch 0"


def test_the_costs_are_the_sums_of_the_calls(trace: TraceFile, parts: Parts) -> None:
    run = trace.runs[0]
    costs = parts.overview["runs"][0]["costs"]
    for place, callback in enumerate(run.header.callbacks):
        calls = [call for event in run.events for call in event.calls if call.callback == place]
        assert sum(count for count, _ in costs[place].values()) == len(calls), callback.name
        assert sum(time for _, time in costs[place].values()) == pytest.approx(sum(call.seconds for call in calls))


def test_a_page_asks_nobody_for_anything(parts: Parts) -> None:
    policy = next(attrs["content"] for tag, attrs in parts.elements if attrs.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    for tag, attrs in parts.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base"), tag
        assert not {"src", "href", "action"} & set(attrs), (tag, attrs)
    code = parts.scripts["code"]
    assert not re.search(r"https?://|\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(", code)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", code)


def test_what_a_trace_says_stays_text(tmp_path: Path) -> None:
    wicked = "</script><script>alert(1)</script><!-- script -->"
    named = CallbackInfo(wicked, wicked, 0, ("train",), ("begin_fit",), {"name": wicked}, {})
    told = Event(0, "begin_fit", 0.0, 0.1, fields={"note": wicked})
    made = header()
    changed = {name: getattr(made, name) for name in made.__struct_fields__} | {"callbacks": (named,)}
    text = page(
        TraceFile(tmp_path / f"{wicked.replace('/', '')}", (TracedRun(type(made)(**changed), (told,), None),), 0)
    )
    parts = Parts(text)
    assert wicked not in text
    assert sum(tag == "script" for tag, _ in parts.elements) == 3, "the overview, a chunk, the code"
    assert parts.overview["runs"][0]["callbacks"][0]["name"] == wicked
    assert parts.chunk(0, 0)["events"][0]["fields"]["note"] == wicked


def test_a_trace_without_an_event_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no run with an event"):
        page(TraceFile(tmp_path / "empty.trace", (), 0))


def test_a_page_is_one_file(tmp_path: Path, trace: TraceFile) -> None:
    write_page(trace, tmp_path / "trace.html")
    assert [path.name for path in tmp_path.iterdir()] == ["trace.html"]
    assert (tmp_path / "trace.html").read_text(encoding="utf-8").startswith("<!doctype html>")


# --------------------------------------------------------------------------------------------------------- curves


def losses(values: list[float]) -> TracedRun:
    events = tuple(
        Event(place, "after_loss", float(place), 0.1, 0, "train", place, place, {"loss": value})
        for place, value in enumerate(values)
    )
    return TracedRun(header(), events, None)


def test_a_curve_has_a_point_wherever_its_number_was_set() -> None:
    (curve,) = curves(losses([3.0, 2.0, float("nan"), 1.0]))
    assert (curve.name, curve.phase, curve.events, curve.values) == ("fields:loss", "train", (0, 1, 3), (3.0, 2.0, 1.0))


def test_a_long_curve_is_thinned_and_loses_no_peak() -> None:
    values = [1.0] * 50_000
    values[31_234], values[777] = 100.0, -5.0
    (curve,) = curves(losses(values))
    assert len(curve.events) <= MOST_POINTS
    assert dict(zip(curve.events, curve.values, strict=True))[31_234] == 100.0
    assert dict(zip(curve.events, curve.values, strict=True))[777] == -5.0
    assert list(curve.events) == sorted(set(curve.events))


# --------------------------------------------------------------------------------------------------- command line


def test_show_writes_the_page(tmp_path: Path, trace: TraceFile, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.html"
    assert main(["trace", "show", str(trace.path), "--html", str(target)]) == 0
    assert target.read_text(encoding="utf-8") == page(trace)
    assert str(target) in capsys.readouterr().out


def test_a_page_that_cannot_be_written_is_a_clear_error(
    tmp_path: Path, trace: TraceFile, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "nowhere" / "out.html"
    assert main(["trace", "show", str(trace.path), "--html", str(target)]) == 2
    assert f"{target} cannot be written: No such file or directory." in capsys.readouterr().err
