"""The code of each rule: what to write into `# typedcb: ignore[...]`, or into mypy's `disable_error_code`."""

from __future__ import annotations

from typing import Final, Iterable, Mapping, NamedTuple


class Code(NamedTuple):  # of the standard library: the mypy plugin loads this with each run of mypy
    """The code of a rule."""

    name: str
    """What stands in brackets behind a message, such as `typedcb-unknown-hook`."""

    summary: str
    """What the rule is about, in a few words."""

    default: bool = True
    """Whether the rule is on where nobody says anything of it."""


UNKNOWN_HOOK: Final = Code("typedcb-unknown-hook", "A method that reads as a hook's and is none")
MISPLACED_HOOK: Final = Code("typedcb-misplaced-hook", "A hook that is indented wrongly, and so is none")
UNFILLED: Final = Code("typedcb-unfilled-parameter", "A parameter of a hook that nobody fills")
UNKNOWN_SETTING: Final = Code(
    "typedcb-unknown-setting", "A class attribute of another framework's, which nothing reads"
)
DEFINED_TWICE: Final = Code("typedcb-defined-twice", "A method of which only the last of two is there")
NO_SUPER: Final = Code("typedcb-no-super", "A ready-made callback's hook overridden and not called")
NOT_FROZEN: Final = Code("typedcb-not-frozen", "A callback that is no frozen dataclass")
OWN_INIT: Final = Code("typedcb-own-init", "An __init__ that leaves the fields of a callback unmade")
SELF_ASSIGNMENT: Final = Code("typedcb-self-assignment", "An attribute of a callback set in one of its methods")
EVENT_ASSIGNMENT: Final = Code("typedcb-event-assignment", "An attribute of an event set in a hook")
SHARED_STATE: Final = Code("typedcb-shared-state", "State outside of the callback, which no fit resets")
MUTABLE_FIELD: Final = Code("typedcb-mutable-field", "A field or class attribute that can change in place")
ILLEGAL_CANCEL: Final = Code(
    "typedcb-illegal-cancel", "A Cancel where there is nothing that it could end, or an error in its place"
)
ILLEGAL_ANSWER: Final = Code("typedcb-illegal-answer", "An answer that this hook may not give")
UNUSED_ANSWER: Final = Code("typedcb-unused-answer", "A Cancel or a Skip that is made and not handed back")
UNUSED_WITH: Final = Code("typedcb-unused-with", "A changed event that is not handed back")
TOO_EARLY: Final = Code("typedcb-too-early", "A field of an event that first exists at a later one")
TOO_LATE: Final = Code("typedcb-too-late", "A field of an earlier event, which this one does not have")
UNKNOWN_FIELD: Final = Code("typedcb-unknown-field", "A field that no event has")
DEAD_CONDITION: Final = Code("typedcb-dead-condition", "A condition that is always true, or never")
GRAPH_IN_CELL: Final = Code("typedcb-graph-in-cell", "A loss or prediction kept together with its graph")
GRAPH_LOST: Final = Code("typedcb-graph-lost", "A loss or prediction answered without its graph")
LIVE_WEIGHTS: Final = Code("typedcb-live-weights", "Weights kept that training goes on changing")
NEW_WEIGHTS: Final = Code("typedcb-new-weights", "A part of the model that the optimizer does not know")
GRADIENTS: Final = Code("typedcb-gradients", "Gradients asked for where there are none, or changed in vain")
DEAD_SETTING: Final = Code("typedcb-dead-setting", "A setting of the optimizer that it no longer looks at")
AGAINST_THE_LOOP: Final = Code("typedcb-against-the-loop", "What the loop does as well, or undone behind its back")
UNDECLARED: Final = Code("typedcb-undeclared-dependency", "Another callback, or the learner, that is no field")
BOTH_PHASES: Final = Code("typedcb-both-phases", "A count over training and validation batches together")
DEVICE_SYNC: Final = Code("typedcb-device-sync", "A wait for the device at every batch", default=False)

CODES: Final[Mapping[str, Code]] = {
    code.name: code
    for code in (
        UNKNOWN_HOOK,
        MISPLACED_HOOK,
        UNFILLED,
        UNKNOWN_SETTING,
        DEFINED_TWICE,
        NO_SUPER,
        NOT_FROZEN,
        OWN_INIT,
        SELF_ASSIGNMENT,
        EVENT_ASSIGNMENT,
        SHARED_STATE,
        MUTABLE_FIELD,
        ILLEGAL_CANCEL,
        ILLEGAL_ANSWER,
        UNUSED_ANSWER,
        UNUSED_WITH,
        TOO_EARLY,
        TOO_LATE,
        UNKNOWN_FIELD,
        DEAD_CONDITION,
        GRAPH_IN_CELL,
        GRAPH_LOST,
        LIVE_WEIGHTS,
        NEW_WEIGHTS,
        GRADIENTS,
        DEAD_SETTING,
        AGAINST_THE_LOOP,
        UNDECLARED,
        BOTH_PHASES,
        DEVICE_SYNC,
    )
}
"""Every code by its name."""

_PREFIX: Final = "typedcb-"


def chosen(select: Iterable[str] = (), ignore: Iterable[str] = ()) -> frozenset[str]:
    """The names of the codes that are to be reported.

    Args:
        select: Names of codes, with or without `typedcb-` before them, or `all`; those that are on by default, where
            there are none.
        ignore: Names of codes to leave out of these.

    Raises:
        ValueError: There is no such code.
    """
    on = {full for name in select for full in _named(name)}
    off = {full for name in ignore for full in _named(name)}
    return frozenset((on or {name for name, code in CODES.items() if code.default}) - off)


def _named(name: str) -> frozenset[str]:
    if name == "all":
        return frozenset(CODES)
    full = name if name.startswith(_PREFIX) else _PREFIX + name
    if full not in CODES:
        raise ValueError(f"there is no code {name}; the codes are {', '.join(CODES)}.")
    return frozenset((full,))
