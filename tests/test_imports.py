"""What importing typedcb costs: no torch for the package itself, and none of the optional packages for any name."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import typedcb

PACKAGE = Path(typedcb.__file__).parent
OPTIONAL = (
    "rich",
    "matplotlib",
    "torchmetrics",
    "mlxtend",
    "sklearn",
    "pandas",
    "tensorboard",
    "IPython",
    "hypothesis",
    "safetensors",
    "cattrs",
)


def in_a_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def exported() -> set[str]:
    """The names that `typedcb/__init__.py` re-exports, by its source."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    return {alias.asname for node in imports for alias in node.names if alias.asname}


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, typedcb; print([name for name in sys.modules if name.split('.')[0] in ('torch', 'numpy')])"
    assert in_a_fresh_process(code) == "[]"


def test_a_callback_can_be_written_without_torch() -> None:
    code = """
import sys
from dataclasses import dataclass
from typedcb import AnyCallback, Cell, CancelTrain, cell

@dataclass(frozen=True)
class Stops(AnyCallback):
    n: Cell[int] = cell(0)
    def after_batch(self, event): return CancelTrain()

Stops()
print("torch" in sys.modules)
"""
    assert in_a_fresh_process(code) == "False"


def test_no_name_needs_an_optional_package() -> None:
    code = f"""
import sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {OPTIONAL!r}:
            raise ImportError(name + " is not installed here")

sys.meta_path.insert(0, Refuses())
import typedcb, typedcb.callbacks
for name in {sorted(exported())!r}:
    getattr(typedcb, name)
for name in dir(typedcb.callbacks):
    getattr(typedcb.callbacks, name)
print([name for name in {OPTIONAL!r} if name in sys.modules])
"""
    assert in_a_fresh_process(code) == "[]"


@pytest.mark.parametrize("name", sorted(exported()))
def test_every_name_that_is_shown_to_a_checker_is_there_at_run_time(name: str) -> None:
    assert getattr(typedcb, name) is not None
    assert name in dir(typedcb)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'typedcb' has no attribute 'Runner'"):
        _ = typedcb.Runner  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        from typedcb import Runner  # type: ignore[attr-defined]  # noqa: F401, PLC0415


def test_a_lazy_name_is_the_modules_own() -> None:
    assert typedcb.Learner is importlib.import_module("typedcb.learner").Learner
    assert vars(typedcb)["Learner"] is typedcb.Learner, "the next look-up finds it by itself"


def test_the_package_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_every_name_of_the_package_is_loaded_from_where_checkers_read_it() -> None:
    source = ast.parse(Path(typedcb.__file__).read_text(encoding="utf-8"))
    read = {
        alias.name: node.module
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom) and node.level and node.module != "cell"
        for alias in node.names
    }
    assert read == {name: home for home, names in typedcb._HOMES.items() for name in names}
    assert all(getattr(typedcb, name) is not None for name in dir(typedcb))
    assert inspect.isfunction(typedcb.cell), "the function, and not the module of that name"


TRAINERS = ("lightning", "ignite", "skorch", "transformers", "fastai", "keras")


@pytest.mark.parametrize("trainer", TRAINERS)
def test_an_adapter_says_which_extra_brings_its_trainer(trainer: str) -> None:
    code = f"""
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {trainer!r} else found(name, *rest)
import typedcb.extras
typedcb.extras.find_spec = importlib.util.find_spec
try:
    import typedcb.interop.{trainer}
except ModuleNotFoundError as error:
    print(error)
"""
    assert in_a_fresh_process(code) == f"this needs {trainer}: pip install 'typedcb[{trainer}]'"


def test_no_trainer_is_imported_but_by_its_adapter() -> None:
    code = f"""
import sys
import typedcb, typedcb.callbacks, typedcb.hosted, typedcb.interop.hosting, typedcb.interop.hosts
for name in {sorted(exported())!r}:
    getattr(typedcb, name)
print([name for name in {TRAINERS!r} if name in sys.modules])
"""
    assert in_a_fresh_process(code) == "[]"
