"""Checkpoints on the disk: a directory each, written whole or not at all, and verified before anything in it is used.

    step-00000042/
        tensors.safetensors     all tensors
        shard-*.safetensors     the shards of tensors that no process has whole, where there are such
        state.json              everything else, as `tree` writes it
        manifest.json           the format's version, who wrote it, and the size and the checksum of each file

A checkpoint is written under a temporary name beside its place, forced to the disk, and renamed: whoever is killed
meanwhile leaves what was there before, and a temporary directory that the next save removes. Nothing in it is code, and
nothing is ever unpickled.
"""

from .drafts import Draft as Draft
from .drafts import draft as draft
from .keeping import clean as clean
from .keeping import found as found
from .keeping import latest as latest
from .manifest import MANIFEST as MANIFEST
from .manifest import STATE as STATE
from .manifest import TENSORS as TENSORS
from .names import AnyPath as AnyPath
from .names import next_name as next_name
from .names import steps as steps
from .reading import Stored as Stored
from .reading import read as read
from .reading import verify as verify
from .writing import Written as Written
from .writing import probe as probe
from .writing import write as write
