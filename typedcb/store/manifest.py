"""What a checkpoint consists of: its files by name, and the manifest that has the size and the checksum of each."""

from __future__ import annotations

import hashlib
import platform
import re
from pathlib import Path
from typing import Any, Final, Mapping, Union

import msgspec
import torch
from msgspec import UNSET, UnsetType

from ..errors import CheckpointError, CorruptCheckpointError

FORMAT: Final = 2
"""The version of the format that is written, and the newest that is read."""

_CHECKSUMS: Final[Mapping[int, str]] = {1: "sha256", 2: "blake3"}
"""What the checksum of a file is called in each version."""

MANIFEST: Final = "manifest.json"
STATE: Final = "state.json"
TENSORS: Final = "tensors.safetensors"

MAX_MANIFEST: Final = 1 << 24
"""How many bytes a manifest may have: room for the shards of 100,000 processes."""

SHARD: Final = re.compile(r"shard-\d{5,9}-model-\d{5}-of-\d{5}\.safetensors")


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a checkpoint: its size, and one checksum."""

    size: int
    sha256: Union[str, UnsetType] = UNSET
    blake3: Union[str, UnsetType] = UNSET

    @property
    def checksums(self) -> dict[str, str]:
        """Its checksums, by what they are called."""
        both = {"sha256": self.sha256, "blake3": self.blake3}
        return {name: text for name, text in both.items() if isinstance(text, str)}


class Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a manifest says."""

    format: int
    versions: dict[str, str]
    files: dict[str, File]


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A manifest, and the sha256 of what it says."""

    sha256: str
    contents: Contents


class _AnyManifest(msgspec.Struct, frozen=True):
    """As much of a manifest as every version of the format has."""

    contents: dict[str, Any]  # Any: of another version, perhaps


def encoded(files: dict[str, File]) -> bytes:
    """A manifest as it stands in its file.

    Args:
        files: What a checkpoint consists of besides.
    """
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    contents = Contents(FORMAT, versions, files)
    return msgspec.json.encode(_Manifest(_digest(contents), contents))


def _digest(contents: Contents) -> str:
    return hashlib.sha256(msgspec.json.encode(contents)).hexdigest()


def decoded(text: bytes, place: Path) -> Contents:
    """What a manifest says.

    Args:
        text: What is in its file.
        place: Its file.

    Raises:
        CorruptCheckpointError: It is not what was written.
        CheckpointError: It is of another version of the format.
    """
    try:
        version: object = msgspec.json.decode(text, type=_AnyManifest).contents.get("format")
        if not isinstance(version, int) or version not in _CHECKSUMS:
            raise CheckpointError(
                f"{place} is of format {str(version)[:40]!r}, and this typedcb reads formats up to {FORMAT}: was it "
                f"written by a newer release? Install that one."
            )
        manifest = msgspec.json.decode(text, type=_Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptCheckpointError(f"{place} is no manifest: {error}.") from None
    if manifest.sha256 != _digest(manifest.contents) or msgspec.json.encode(manifest) != text:
        raise CorruptCheckpointError(f"{place} is not what was written: its checksum differs.")
    for name, file in manifest.contents.files.items():
        if list(file.checksums) != [_CHECKSUMS[version]]:
            raise CorruptCheckpointError(f"{place} has not the one checksum of {name[:80]!r} that its format has.")
        if name not in (STATE, TENSORS) and not SHARD.fullmatch(name):
            raise CorruptCheckpointError(f"{place} names {name[:80]!r}, which is no file of a checkpoint.")
    return manifest.contents
