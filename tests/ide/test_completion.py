"""What an editor offers at each marked cursor: all that is wanted, in the first places, documented and typed.

Where a server cannot, `shortfalls.py` says so, to the word: what is new there fails, and what is gone as well.
"""

from __future__ import annotations

from collections import Counter
from typing import Iterable

import pytest
from completing import Result
from marks import Mark, all_marks
from measure import DOCUMENT, Measured, counts_table, measured, shortfalls_table, sources_table
from servers import SERVERS
from shortfalls import SHORTFALLS, Limit

from typedcb.hooks import HOOKS

MARKS = all_marks()
CHECKERS = ("pyright", "ty", "pyrefly")
LIMITS = [pytest.param(name, limit, id=f"{name}: {limit.plain}") for name in CHECKERS for limit in SHORTFALLS[name]]

Shortfall = tuple[str, str, str]
"""A mark, a name that is wanted there, and what is not as it should be."""


@pytest.fixture(scope="module")
def servers() -> dict[str, Measured]:
    return dict(measured(at_once=len(SERVERS)))


def shortfalls_of(results: Iterable[Result]) -> set[Shortfall]:
    return {
        (result.mark.id, name, shortfall)
        for result in results
        for name, shortfalls in result.shortfalls.items()
        for shortfall in shortfalls
    }


def known(name: str) -> set[Shortfall]:
    return {
        (mark, wanted, limit.shortfall)
        for limit in SHORTFALLS[name]
        for mark, names in limit.marks.items()
        for wanted in names
    }


@pytest.mark.parametrize("name", SERVERS)
def test_all_that_is_wanted_is_offered_first_documented_and_typed(name: str, servers: dict[str, Measured]) -> None:
    found = shortfalls_of(servers[name].results)
    wrong = [f"{mark}  {wanted}: {text}" for mark, wanted, text in sorted(found - known(name))]
    wrong += [
        f"{mark}  {wanted}: no longer {text}; take it from shortfalls.py"
        for mark, wanted, text in sorted(known(name) - found)
    ]
    if wrong:
        pytest.fail(f"{name}: {len(wrong)} names are not as expected\n" + "\n".join(wrong), pytrace=False)


@pytest.mark.parametrize(("name", "limit"), LIMITS)
def test_a_limit_of_a_server_shows_in_plain_code(name: str, limit: Limit, servers: dict[str, Measured]) -> None:
    assert limit.shortfall in {text for mark, _, text in shortfalls_of(servers[name].plain) if mark == limit.plain}


@pytest.mark.parametrize("name", SERVERS)
def test_a_new_process_answers_soon(name: str, servers: dict[str, Measured]) -> None:
    assert servers[name].first < 60  # on a busy machine; the page has what it takes on a quieter one


def test_the_page_says_what_is_measured(servers: dict[str, Measured]) -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    for table in (counts_table(servers), sources_table(servers), shortfalls_table()):
        assert table in page, "python tests/ide/measure.py writes docs/completion.md anew"
    assert f"{len(MARKS)} cursors" in page


# ------------------------------------------------------------------------------------------------------- the marks


def test_there_are_many_marks_each_with_a_name_of_its_own() -> None:
    assert len(MARKS) >= 60
    assert [name for name, times in Counter(mark.id for mark in MARKS).items() if times > 1] == []


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: mark.id)
def test_a_mark_stands_at_a_name_that_is_wanted(mark: Mark) -> None:
    if mark.kind in ("complete", "override"):
        assert mark.name in mark.wanted
    assert mark.name


@pytest.mark.parametrize("hook", HOOKS)
def test_every_field_and_method_of_an_event_is_wanted_somewhere(hook: str) -> None:
    event = HOOKS[hook].event
    in_hook = f"events.Everything.{hook}: "
    wanted = {name for mark in MARKS if mark.id.startswith(in_hook) for name in mark.wanted}
    own = {name for name in vars(event) if name.startswith("with_")}
    assert wanted >= {*event.__struct_fields__, *own}


def test_what_is_typed_leaves_a_program_that_goes_on_where_it_was_cut() -> None:
    mark = next(mark for mark in MARKS if mark.id == "events.Everything.begin_batch: return event.with_batch(|")
    lines = mark.text("xb=").split("\n")
    assert lines[mark.line] == "        return event.with_batch(xb=)"
    assert lines[: mark.line] == list(mark.lines[: mark.line])
    assert "def after_pred(self, event: AfterPred) -> AfterPred:" in mark.text()
