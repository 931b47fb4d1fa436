"""Types are tested as code is: what must pass every type checker, and what every one must report.

The files `good*.py` beside this one must pass without one complaint, as must the package, the examples and the Python
code of the documents. In the files `bad*.py` each line that ends in `# error` must be reported, and no other line.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import get_args

import pytest
from checkers import BAD, CHECKERS, GOOD, HERE, Project, complaints, copy_project, marked, python_of

from typedcb.events import FitOutcome
from typedcb.hooks import HOOKS
from typedcb.outcomes import InBatch, Skip

NAMES = (
    *HOOKS,
    *(spec.event.__name__ for spec in HOOKS.values()),
    *(kind.__name__ for kind in (*get_args(Skip), *get_args(InBatch), *get_args(FitOutcome))),
)
"""Every hook, every event, everything that a hook may answer, and every outcome of a fit."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy_project(tmp_path_factory.mktemp("project").resolve())


@pytest.mark.parametrize("checker", CHECKERS)
def test_reports_the_marked_lines_and_no_others(checker: str, project: Project) -> None:
    try:
        found = complaints(checker, project)
    except FileNotFoundError as missing:
        pytest.fail(str(missing), pytrace=False)
    expected = project.expected
    wrong = [f"{place}: not reported, and marked as a mistake" for place in sorted(expected - found.keys())]
    wrong += [f"{place}: {found[place]}" for place in sorted(found.keys() - expected)]
    if wrong:
        pytest.fail(f"{checker}: {len(wrong)} lines are not as expected\n" + "\n".join(wrong), pytrace=False)


def test_there_are_many_mistakes() -> None:
    assert marked(BAD) >= 400


def test_what_must_pass_has_no_mistakes() -> None:
    assert not marked(GOOD)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_used_rightly_and_wrongly(name: str) -> None:
    for files in (GOOD, BAD):
        assert any(re.search(rf"\b{name}\b", file.read_text()) for file in files), f"no {files[0].stem[:4]} use of it"


@pytest.mark.parametrize("name", [file.stem for file in GOOD])
def test_what_must_pass_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)
    importlib.import_module(name)
    assert name in sys.modules


@pytest.mark.parametrize("name", [file.stem for file in GOOD if file.stem.startswith("good_corpus")])
def test_the_corpus_does_what_it_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)
    importlib.import_module(name).run()


def test_code_stays_on_its_lines() -> None:
    document = "A title\n\n```python\nx = 1\n```\ntext\n```bash\nls\n```\n~~~python\nif x:\n    y = 2\n~~~\n"
    assert python_of(document) == "\n\n\nx = 1\n\n\n\n\n\n\nif x:\n    y = 2\n\n"
