"""Measures completion in all servers, and writes docs/completion.md: python tests/ide/measure.py.

The tests use the same measurement, and compare the page with it; the times are of the machine that wrote it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles
from typing import Final, Mapping, Sequence

import attrs
from completing import Result, copy_files, measure
from marks import PLAIN, Mark, all_marks, marks_of
from servers import SERVERS
from shortfalls import SHORTFALLS

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "completion.md"
FIRST_MARK: Final = "events.Everything.after_loss: doubled = event.|"

_ASK_JEDI: Final = """
import sys, jedi
script = jedi.Script(sys.stdin.read(), project=jedi.Project(sys.argv[1]))
assert any(name.name == "loss" for name in script.complete(int(sys.argv[2]), int(sys.argv[3])))
"""

WAYS: Final = """\
## What was tried

Other spellings of the same in plain code, without the package: how many of the wanted names pyright 1.1.414, ty 0.0.107
and pyrefly 1.4.1 offer, and in brackets how many of them with their documentation.

| what is completed | the spelling | pyright | ty | pyrefly |
| --- | --- | --- | --- | --- |
| keywords of what a function is handed | `*args: PS.args, **kwargs: PS.kwargs`, as `learn.add` | 2 of 2 (0) | 0 of 2 | 0 of 2 |
| | the same in `__call__` of a Protocol, by a property | 2 of 2 (0) | 0 of 2 | 0 of 2 |
| | the same by a descriptor | 2 of 2 (0) | 0 of 2 | 0 of 2 |
| | the same with an overload for any keyword beside it | 2 of 2 (0) | 0 of 2 | 0 of 2 |
| | the factory as a Protocol with `__call__` | 2 of 2 (0) | 0 of 2 | 0 of 2 |
| | the factory not positional-only | 2 of 2 (0) | 0 of 2 | 0 of 2 |
| | `add(GradientClip)(clip=0.1)`, in two calls | 2 of 2 (0) | 2 of 2 (2) | 2 of 2 (0) |
| | an overload for each class, `**kwargs: Unpack[...]` | 2 of 2 (2) | 2 of 2 (2) | 2 of 2 (0) |
| keywords of `partial(...)` | `functools.partial` | 0 of 2 | 0 of 2 | 0 of 2 |
| | a function of one's own with a ParamSpec | 2 of 2 (0) | 0 of 2 | 0 of 2 |
| | a function for one class, its keywords written out | 2 of 2 (2) | 2 of 2 (2) | 2 of 2 (2) |
| a method after `def` | of a dataclass, of a plain or an abstract class, of a Protocol | 1 of 1 (1) | 0 of 1 | 1 of 1 (1) |
| | with `@override` above it | 1 of 1 (1) | 0 of 1 | 1 of 1 (1) |
| | of a field that is a Callable | 0 of 1 | 0 of 1 | 1 of 1 (1) |
| keywords of `case AfterPred(` | of a dataclass, of a class with `__match_args__`, of a NamedTuple | 0 of 1 | 0 of 1 | 0 of 1 |
| | of properties; of `__match_args__` as Literals, with an `__init__` | 0 of 1 | 0 of 1 | 0 of 1 |
| keywords of a generic function | a function | 2 of 2 (2) | 2 of 2 (2) | 0 of 2 |
| | a function with overloads; an instance with `__call__` | 2 of 2 (2) | 2 of 2 (2) | 2 of 2 (0) |
| | a class | 2 of 2 (2) | 2 of 2 (2) | 2 of 2 (2) |
| the documentation of a dataclass's keyword | a string below the field | 1 of 1 (1) | 1 of 1 (1) | 1 of 1 (0) |
| | `Annotated[..., Doc("...")]` | 1 of 1 (0) | 1 of 1 (0) | 1 of 1 (0) |
| | `Args:` or `Attributes:` in the class's docstring | 1 of 1 (1) | 1 of 1 (0) | 1 of 1 (1) |
| | an `__init__` of one's own, with `Args:` | 1 of 1 (1) | 1 of 1 (1) | 1 of 1 (1) |
| the documentation of a field | of a generic class that is final; with the field once more in it | 1 of 1 (1) | 1 of 1 (0) | 1 of 1 (1) |
| | of one that is not final, or not generic | 1 of 1 (1) | 1 of 1 (1) | 1 of 1 (1) |

A ParamSpec in one call is what checks any factory, of any project, with one signature; an overload for each class would
serve those that it names, and answer every mistake with a list of overloads. A string below the field is the one
documentation that pyright, ty and jedi show where a field is read; `Attributes:` beside it would say everything twice.
`OnlyBegun` is final so that a checker can tell it from the events that go further."""  # noqa: E501  # rows of a table
"""What servers make of other spellings, in plain code."""

_SOURCES: Final = ("list", "choice", "call", "hover", "class")


@attrs.frozen
class Measured:
    """What was measured of a server."""

    results: Sequence[Result]
    """At the marks of the package."""

    plain: Sequence[Result]
    """At the marks of plain code."""

    first: float
    """How many seconds a new process took for its first completion, its start included."""


def measured(at_once: int = 1) -> Mapping[str, Measured]:
    """All servers, measured.

    Args:
        at_once: How many at the same time, each in a process of its own; with more than one the times are longer.
    """
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn")) as pool:
        return dict(zip(SERVERS, pool.map(_measure, SERVERS), strict=True))


def _measure(name: str) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        root = copy_files(Path(folder).resolve())
        first = _first(name, root)
        with SERVERS[name](root) as server:
            return Measured(measure(server, all_marks()), measure(server, marks_of(PLAIN)), first)


def _first(name: str, root: Path) -> float:
    """The time to the first completion in a new process."""
    mark = next(mark for mark in all_marks() if mark.id == FIRST_MARK)
    began = time.perf_counter()
    if name == "jedi":
        place = [str(root), str(mark.line + 1), str(mark.column)]
        subprocess.run([sys.executable, "-c", _ASK_JEDI, *place], input=mark.text(), text=True, check=True, cwd=root)
        return time.perf_counter() - began
    with SERVERS[name](root) as server:
        offered = server.offers(mark)
        took = time.perf_counter() - began
    assert any(offer.name == "loss" for offer in offered)
    return took


def firsts(name: str, times: int = 5) -> list[float]:
    """The times to the first completion, each in a new process and with nothing else going on."""
    with tempfile.TemporaryDirectory() as folder:
        root = copy_files(Path(folder).resolve())
        return [_first(name, root) for _ in range(times)]


# ------------------------------------------------------------------------------------------------------- the page


def counts_table(measured: Mapping[str, Measured]) -> str:
    """What each server offers, in a table without times."""
    rows = [
        "| | names offered | in the first five at once | after a letter | documented | no `Any` or `Unknown` |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, of in measured.items():
        found = [one for result in of.results for one in result.found]
        offered = [one for one in found if one.place is not None]
        typed = sum("untyped" not in one.shortfalls for one in offered)
        documented = sum(one.documented not in ("", "class") for one in offered)
        letters = Counter(one.letters for one in offered)
        rows.append(
            f"| {name} | {len(offered)} of {len(found)} | {letters[0]} | {letters[0] + letters[1]} "
            f"| {documented} | {typed} |"
        )
    return "\n".join(rows)


def sources_table(measured: Mapping[str, Measured]) -> str:
    """Where documentation is shown, in a table without times."""
    rows = [
        "| | in the list | for the choice | in the open call | on hover | its class's alone | nowhere |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, of in measured.items():
        where = Counter(one.documented for result in of.results for one in result.found if one.place is not None)
        rows.append(f"| {name} | " + " | ".join(str(where[source]) for source in (*_SOURCES, "")) + " |")
    return "\n".join(rows)


def shortfalls_table() -> str:
    """The limits of the servers."""
    rows = ["| | places | what is not as it should be | why, and what helps |", "| --- | --- | --- | --- |"]
    for name, limits in SHORTFALLS.items():
        for limit in limits:
            names = sum(map(len, limit.marks.values()))
            rows.append(f"| {name} | {names} | {limit.shortfall} | {limit.why} |")
    return "\n".join(rows)


def _times_table(measured: Mapping[str, Measured]) -> str:
    rows = [
        "| | version | first completion in a new process, s | a completion, ms: median | 95 of 100 within |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, of in measured.items():
        first = firsts(name)
        answers = [1000 * result.seconds for result in of.results]
        rows.append(
            f"| {name} | {version(name)} | {median(first):.2f} ({min(first):.2f} to {max(first):.2f}) "
            f"| {median(answers):.0f} | {quantiles(answers, n=20)[-1]:.0f} |"
        )
    return "\n".join(rows)


def _kinds(marks: Sequence[Mark]) -> str:
    kinds = Counter(mark.kind for mark in marks)
    return (
        f"{kinds['complete']} completions, {kinds['override']} hooks to override, {kinds['hover']} hovers and "
        f"{kinds['signature']} signatures"
    )


def document(measured: Mapping[str, Measured]) -> str:
    """The page."""
    marks = all_marks()
    return f"""# What an editor completes

Everything that a callback can use is a typed field with a documentation of its own, so an editor offers it, says what
it is, and knows its type. That is measured: {len(marks)} cursors stand in sound programs, where somebody is in the
midst of typing, and the language servers of three type checkers and jedi, which completes in Jupyter, are asked what
they offer there: {_kinds(marks)}.
The line ends at the cursor, its brackets closed as an editor closes them.

{counts_table(measured)}

*In the first five* counts places as an editor shows them: names that begin with what has been typed, those of the same
case first, then in the server's order. *At once* is without a further letter; *after a letter*, with at most one more
than those that all wanted names share. An event has up to ten names that are wanted, so that not all can be among the
first five at once. *Documented* is a name for which its own documentation is shown, and not that of its type:

{sources_table(measured)}

*The choice* is the line of the list that is chosen; *the open call*, the help that is shown between the brackets of a
call.

## Time

{_times_table(measured)}

A new process has its start and torch's types to get through; the time is the median of five, and in brackets are the
least and the most. 2 cores, CPython {sys.version.split()[0]}, torch {version("torch").split("+")[0]}; the machine was
not idle.

## Where a server falls short

Of pyright, ty and pyrefly these are limits of the servers: each is shown in the tests by code without the package, a
plain dataclass or function. Jedi's are its own.

{shortfalls_table()}

{WAYS}

## Other trainers

The same question in callbacks of other trainers: of the names that one wants at a place, how many are offered.

| where | pyright | jedi |
| --- | --- | --- |
| fastai, `self.` (xb, yb, pred, loss, model, opt, epoch, train_iter) | 0 of 8 | 0 of 8 |
| fastai, `self.learn.` | 0 of 6 | 0 of 6 |
| Lightning, `trainer.` | 5 of 5 | 0 of 5 |
| Lightning, `outputs.` | 2 of 3 | 0 of 3 |
| Lightning, `batch.` | 0 of 3 | 0 of 3 |
| Hugging Face, `state.` | 4 of 4, the first answer after 20 s | 0 of 4 |
| Hugging Face, `kwargs["model"].` | 0 of 3 | 0 of 3 |
| Ignite, `engine.state.` | 5 of 5, all of them Any | 5 of 5 |
| Keras, `self.model.` | 0 of 3 | 0 of 3 |
| skorch, `net.` | 0 of 3 | 0 of 3 |
| torchtnt, `state.train_state.` | 3 of 3 | 3 of 3 |

## In your editor

- ty reads the packages of the environment that `VIRTUAL_ENV` names, or of `.venv` in the project: without one, every
  tensor is Unknown to it.
- A string under a field is its documentation in all four: write one under each field of your own callbacks, and under
  the fields of your model.
- `learn.add(lambda learn: GradientClip(learn, clip=0.1))` is `learn.add(GradientClip, clip=0.1)` in the spelling whose
  keywords every server offers; `cb_funcs` take the same lambda.
"""


if __name__ == "__main__":
    DOCUMENT.write_text(document(measured()), encoding="utf-8")
