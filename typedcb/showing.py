"""What things show of themselves: a table on a terminal by rich, the same table as HTML in a notebook."""

from __future__ import annotations

import html
import io
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Iterator, Optional, Union

import attrs
import msgspec
from typing_extensions import TypeIs

if TYPE_CHECKING:
    from rich.console import RenderableType
    from torch import Tensor

_STYLE = "text-align: left; vertical-align: top; white-space: pre-wrap"


@attrs.frozen
class Sheet:
    """A table with a title."""

    title: str
    """What it is of."""

    head: tuple[str, ...]
    """The names of its columns."""

    rows: tuple[tuple[str, ...], ...]
    """Its rows."""

    def __rich__(self) -> RenderableType:
        """What rich shows of it."""
        from rich.box import SIMPLE_HEAD  # noqa: PLC0415  # rich is an extra; whoever calls this has it
        from rich.table import Table  # noqa: PLC0415  # as said
        from rich.text import Text  # noqa: PLC0415  # as said

        table = Table(title=Text(self.title, "bold"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for name in self.head:
            table.add_column(Text(name))
        for row in self.rows:
            table.add_row(*map(Text, row))  # as it is: nothing in it is markup
        return table

    def html(self) -> str:
        """The table as HTML, in the notebook's own style."""
        head = "".join(f'<th style="{_STYLE}">{html.escape(name)}</th>' for name in self.head)
        rows = "".join(f"<tr>{''.join(_cells(row))}</tr>" for row in self.rows)
        title = html.escape(self.title)
        return f"<p><b>{title}</b></p><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


@attrs.frozen
class Sheets:
    """Several tables, one below another."""

    sheets: tuple[Sheet, ...]
    """The tables."""

    def __rich__(self) -> RenderableType:
        """What rich shows of them."""
        from rich.console import Group  # noqa: PLC0415  # rich is an extra; whoever calls this has it

        return Group(*self.sheets)

    def html(self) -> str:
        """The tables as HTML."""
        return "".join(sheet.html() for sheet in self.sheets)


def _cells(row: tuple[str, ...]) -> Iterator[str]:
    for text in row:
        yield f'<td style="{_STYLE}">{html.escape(text)}</td>'


def html_of(renderable: RenderableType) -> Optional[str]:
    """What rich draws, as HTML for a notebook; None where rich is not installed.

    Args:
        renderable: What rich can draw.
    """
    if find_spec("rich") is None:
        return None
    from rich.console import Console  # noqa: PLC0415  # rich is an extra

    console = Console(file=io.StringIO(), record=True, width=120, force_jupyter=False)
    console.print(renderable)
    return console.export_html(inline_styles=True, code_format='<pre style="line-height: 1.3">{code}</pre>')


def brief(value: object, longest: int = 80) -> str:
    """A value on one line: a tensor as its type and shape, or as its number; anything else as its repr, cut.

    Args:
        value: The value.
        longest: How many characters it may take.
    """
    if _is_tensor(value):
        return _brief_tensor(value)
    if isinstance(value, msgspec.Struct):
        fields = ", ".join(f"{name}={brief(getattr(value, name))}" for name in value.__struct_fields__)
        return _cut(f"{type(value).__name__}({fields})", longest)
    if _is_items(value):
        inside = ", ".join(brief(item) for item in value[:6]) + (", …" if len(value) > 6 else "")
        return _cut(f"({inside})" if isinstance(value, tuple) else f"[{inside}]", longest)
    if _is_dict(value):
        return _cut("{" + ", ".join(f"{name!r}: {brief(item)}" for name, item in value.items()) + "}", longest)
    return _cut(" ".join(repr(value).split()), longest)  # a module's is of many lines


def _brief_tensor(tensor: Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    where = "" if tensor.device.type == "cpu" else f" on {tensor.device}"
    if tensor.dim() == 0 and tensor.device.type != "meta":
        return f"{tensor.item():.6g} ({kind}{where})"
    return f"{kind}[{', '.join(map(str, tensor.shape))}]{where}"


def _is_tensor(value: object) -> TypeIs[Tensor]:
    torch = sys.modules.get("torch")  # who has a tensor has loaded it
    return torch is not None and isinstance(value, torch.Tensor)


def _is_items(value: object) -> TypeIs[Union[tuple[object, ...], list[object]]]:
    return isinstance(value, (tuple, list))


def _is_dict(value: object) -> TypeIs[dict[object, object]]:
    return isinstance(value, dict)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
