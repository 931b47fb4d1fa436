"""Recorded things as people read them."""

from __future__ import annotations

from .records import Event, ItemsValue, NamedValues, TensorValue, TextValue, Value, WeightValue


def place_of(event: Event) -> str:
    """Where an event is in its run: `after_loss, epoch 0, batch 3, train`."""
    words = [event.hook]
    if event.epoch is not None:
        words.append(f"epoch {event.epoch}")
    if event.index is not None:
        words.append(f"batch {event.index}")
    if event.phase is not None:
        words.append(event.phase)
    return ", ".join(words)


def shown(value: Value) -> str:
    """A value, on one line."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, (int, str)):
        return str(value)
    return _shown_struct(value)


def _shown_struct(value: TensorValue | WeightValue | TextValue | ItemsValue | NamedValues) -> str:
    if isinstance(value, TensorValue):
        return _shown_tensor(value)
    if isinstance(value, WeightValue):
        return f"norm {number(value.norm)} #{value.hash.hex()}"
    if isinstance(value, TextValue):
        return (
            f"{value.kind} {value.text}".strip()
            if value.text and value.kind not in ("str", "function")
            else (value.text or value.kind)
        )
    if isinstance(value, ItemsValue):
        inside = ", ".join(shown(item) for item in value.items[:4])
        if value.kind == "Series":
            return f"{value.length} items, the last one {inside}" if value.items else "no items"
        return f"({inside}{', …' if value.length > 4 else ''})" if value.kind == "tuple" else f"{value.kind} [{inside}]"
    inside = ", ".join(f"{name}={shown(item)}" for name, item in list(value.entries.items())[:6])
    return f"{value.kind}({inside})"


def _shown_tensor(value: TensorValue) -> str:
    """A tensor: its shape, type and device, and what was computed of it."""
    sizes = ", ".join(map(str, value.shape))
    words = [f"{value.dtype}[{sizes}]" if value.shape else value.dtype]
    if value.device != "cpu":
        words.append(value.device)
    if value.mean is not None and value.std is not None:
        single = not value.shape
        words.append(number(value.mean) if single else f"mean {number(value.mean)} std {number(value.std)}")
    if value.hash is not None:
        words.append(f"#{value.hash.hex()}")
    return " ".join(words)


def number(value: float) -> str:
    """A number with as many digits as tell it from its neighbours in single precision."""
    return f"{value:.9g}"


def duration(seconds: float) -> str:
    """A time span, such as `12.3 ms`."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
