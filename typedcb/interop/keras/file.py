"""The cells of callbacks in the files that Keras writes of a model: `.weights.h5`, and `.keras` with such a one inside.

They stand beside what is Keras's own, at the root of the file, so that a model without typed callbacks reads it too.
Nothing in them is code: a string, and tensors as safetensors has them.
"""

from __future__ import annotations

from typing import Any, Final, Mapping, Optional, cast

import attrs
import numpy as np
from torch import Tensor

from ...extras import require

require("safetensors", extra="checkpoint")

import safetensors.torch  # noqa: E402

_GROUP: Final = "typedcb"
_TEXT: Final = "text"
_TENSORS: Final = "tensors"
_INSIDE: Final = "inside"

LOADED: Final = "_typedcb_loaded"
"""The attribute of a model that holds what the last file that was loaded had of callbacks."""

# Any: h5py has no types.


@attrs.frozen
class Loaded:
    """What a file of Keras's held of callbacks."""

    state: Mapping[str, object]
    """What `Hosting.state_dict` gave."""

    inside: str
    """Where it was saved, if that was in the middle of an epoch, in words; else empty."""


def put_cells(store: Any, state: Mapping[str, object], inside: str) -> None:
    """Puts what `Hosting.state_dict` gave into the file that Keras writes; nothing where it gave nothing.

    Args:
        store: What Keras hands over, to write the variables of one layer in.
        state: What it gave.
        inside: Where it was saved, if that was in the middle of an epoch, in words.
    """
    file: Any = getattr(store, "h5_file", None)  # Keras's other kinds of files are none that a fit is taken up from
    if file is None or not state or _GROUP in file:
        return
    tensors = {name: value.contiguous() for name, value in cast("Mapping[str, Tensor]", state["tensors"]).items()}
    group: Any = file.create_group(_GROUP)
    group.attrs[_INSIDE] = inside
    blobs = {_TEXT: cast(str, state["typedcb"]).encode(), _TENSORS: safetensors.torch.save(tensors)}
    for name, blob in blobs.items():
        group.create_dataset(name, data=np.frombuffer(blob, np.uint8))


def taken_cells(store: Any) -> Optional[Loaded]:
    """What `put_cells` has put into the file that Keras reads; None where there is nothing.

    Args:
        store: What Keras hands over, to read the variables of one layer from.
    """
    file: Any = getattr(store, "h5_file", None)
    if file is None or _GROUP not in file:
        return None
    group: Any = file[_GROUP]
    text, tensors = (bytes(group[name][()].tobytes()) for name in (_TEXT, _TENSORS))
    return Loaded({"typedcb": text.decode(), "tensors": safetensors.torch.load(tensors)}, str(group.attrs[_INSIDE]))
