"""A mypy plugin that reports the rules of `typedcb.check`, each with its own error code.

    [mypy]
    plugins = typedcb.mypy

mypy says which classes are callbacks, whatever way their bases have come; the rules read their source. Nothing here
changes a type: whoever uses another type checker misses none, and runs `typedcb check` for the same rules.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Final, Optional

from mypy.errorcodes import ErrorCode
from mypy.nodes import ClassDef, Context, TypeAlias, TypeInfo
from mypy.options import Options
from mypy.plugin import ClassDefContext, Plugin, ReportConfigContext, SemanticAnalyzerPluginInterface
from mypy.types import Instance, get_proper_type
from typing_extensions import override

from . import __version__
from .codes import CODES

if TYPE_CHECKING:
    from .check.findings import Finding
    from .check.source import Module

_INSTALLED: Final = re.compile(r"[\\/](site|dist)-packages[\\/]")
_CALLBACK: Final = "typedcb.callback.Callback"

ALL: Final = ErrorCode("typedcb", "Mistakes in training callbacks", "typedcb")
"""The code above all others: to disable it disables them all."""

ERROR_CODES: Final = {
    code.name: ErrorCode(code.name, code.summary, "typedcb", default_enabled=code.default, sub_code_of=ALL)
    for code in CODES.values()
}
"""mypy's codes by their names."""


class TypedcbPlugin(Plugin):
    """Looks at each class that has a callback among its bases."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._mixins: set[tuple[str, int]] = set()
        self._inner: set[str] = set()  # callbacks inside functions, which mypy finds by no name
        self._read: dict[tuple[str, str], Optional[Module]] = {}

    @override
    def get_base_class_hook(self, fullname: str) -> Optional[Callable[[ClassDefContext], None]]:
        """What to call for a class with this base; mypy asks for every base of every class."""
        return self._check if self._is_callback(fullname) else None

    @override
    def report_config_data(self, ctx: ReportConfigContext) -> Any:  # Any: mypy takes whatever JSON can say
        """What makes mypy check a module again when it changes."""
        return {"typedcb": __version__, "codes": sorted(CODES)}

    def _is_callback(self, fullname: str) -> bool:
        if fullname in self._inner:
            return True
        symbol = self.lookup_fully_qualified(fullname)
        node = symbol.node if symbol else None
        if isinstance(node, TypeAlias):
            target = get_proper_type(node.target)
            node = target.type if isinstance(target, Instance) else None
        return isinstance(node, TypeInfo) and node.has_base(_CALLBACK)

    def _check(self, ctx: ClassDefContext) -> None:
        from .check.run import check_class  # noqa: PLC0415  # a run that finds nothing changed needs no rules
        from .check.source import Definition, Sources  # noqa: PLC0415  # as said

        api, defn = ctx.api, ctx.cls
        if defn.info.fullname.startswith("typedcb.callback."):
            return
        self._inner.add(defn.info.fullname)
        module = self._module(api, api.cur_mod_id)
        node = None if module is None else _class_at(module, defn)
        if module is None or node is None:
            return  # the source is not to be had: a snippet on the command line, say
        sources = Sources(lambda name: self._near(api, name))
        definition = Definition(module, node)
        self._report(api, check_class(definition, sources, frozenset(CODES)))
        for mixin in sources.mixins(definition):
            where = (api.cur_mod_id, mixin.node.lineno)
            if (
                mixin.module is module and where not in self._mixins
            ):  # one of another file, `typedcb check` reports there
                self._mixins.add(where)
                self._report(api, check_class(mixin, sources, frozenset(CODES), definition))

    def _report(self, api: SemanticAnalyzerPluginInterface, findings: list[Finding]) -> None:
        for found in findings:
            place = Context(found.line, found.column)
            place.end_line = found.line
            api.fail(found.message, place, code=ERROR_CODES[found.code])

    def _near(self, api: SemanticAnalyzerPluginInterface, name: str) -> Optional[Module]:
        """A module of typedcb, or one that is not installed: other packages have no callbacks to look into."""
        file = api.modules.get(name)
        is_own = name.partition(".")[0] == "typedcb"
        if file is None or not (is_own or (file.path.endswith(".py") and not _INSTALLED.search(file.path))):
            return None
        return self._module(api, name)

    def _module(self, api: SemanticAnalyzerPluginInterface, name: str) -> Optional[Module]:
        file = api.modules.get(name)
        if file is None or not file.path:
            return None
        path = _shadow(api.options, file.path)
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, ValueError):
            return None
        if (name, text) not in self._read:
            self._read[name, text] = _parsed(name, text, is_package=file.is_package_init_file())
        return self._read[name, text]


def _parsed(name: str, text: str, *, is_package: bool) -> Optional[Module]:
    from .check.source import Module  # noqa: PLC0415  # as above

    try:
        return Module(name, text, is_package=is_package)
    except SyntaxError:  # mypy says so itself
        return None


def _shadow(options: Options, path: str) -> str:
    """The file that stands for a path: editors hand over their unsaved text so."""
    return next((shadow for original, shadow in options.shadow_file or () if original == path), path)


def _class_at(module: Module, defn: ClassDef) -> Optional[ast.ClassDef]:
    named = module.classes.get(defn.name, [])
    return min(named, key=lambda node: abs(node.lineno - defn.line), default=None)


def plugin(version: str) -> type[Plugin]:
    """Where mypy starts.

    Args:
        version: mypy's version.
    """
    return TypedcbPlugin
