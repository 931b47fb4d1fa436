"""Ways in which a class comes to be a callback, and a decorator to be the one that freezes."""

from __future__ import annotations

import dataclasses
import dataclasses as dc
from typing import TYPE_CHECKING, Generic, TypeVar

import attr
import attrs
from attrs import frozen

import typedcb
import typedcb as t
import typedcb.callbacks
from typedcb import Callback as Base
from typedcb.callback import LearnerCallback
from typedcb.callbacks import EarlyStopping

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

P = TypeVar("P")
Payload: TypeAlias = "Base[object, object, P]"
OfAll = t.AnyCallback


@dataclasses.dataclass(frozen=True)
class A(Base):
    def on_a(self) -> None: ...  # typedcb-unknown-hook


@dc.dataclass(frozen=True)
class B(typedcb.Callback):
    def on_b(self) -> None: ...  # typedcb-unknown-hook


@attrs.frozen
class C(t.AnyCallback):
    def on_c(self) -> None: ...  # typedcb-unknown-hook


@attr.s(auto_attribs=True, frozen=True)
class D(LearnerCallback[object, object, object]):
    def on_d(self) -> None: ...  # typedcb-unknown-hook


@frozen(kw_only=True)
class E(A):
    def on_e(self) -> None: ...  # typedcb-unknown-hook


@dataclasses.dataclass(frozen=True)
class F(EarlyStopping):
    def on_f(self) -> None: ...  # typedcb-unknown-hook


@dataclasses.dataclass(frozen=True)
class G(typedcb.callbacks.AvgStats[object, object]):
    def on_g(self) -> None: ...  # typedcb-unknown-hook


@attrs.define(frozen=True)
class H(OfAll):
    def on_h(self) -> None: ...  # typedcb-unknown-hook


@dataclasses.dataclass(frozen=True)
class I(Base[object, object, P], Generic[P]):
    def on_i(self) -> None: ...  # typedcb-unknown-hook


@dataclasses.dataclass(frozen=True)
class J(I[int]):
    def on_j(self) -> None: ...  # typedcb-unknown-hook
