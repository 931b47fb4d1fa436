"""The file of a trace: whole up to wherever it was cut, and never taken for more."""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec
import pytest
from many import header, write_many

from typedcb import TraceError
from typedcb.trace import End, Event, read
from typedcb.trace.framing import MAGIC, Writer


def written(path: Path, n: int, block: int = 1 << 16, append: bool = False) -> Path:
    writer = Writer(path, block=block, append=append)
    writer.write(header())
    for number in range(n):
        writer.write(Event(number, "after_loss", 0.5, 0.1, 0, "train", number, number))
    writer.write(End("Completed", 1.0))
    writer.close()
    return path


@pytest.mark.parametrize("block", [0, 200, 1 << 16])
def test_what_is_written_is_read(block: int, tmp_path: Path) -> None:
    [run] = read(written(tmp_path / "t", 100, block)).runs

    assert [event.number for event in run.events] == list(range(100))
    assert run.end == End("Completed", 1.0)


def test_records_are_in_the_file_as_soon_as_they_are_written(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "t")
    writer.write(header())
    for number in range(3):
        writer.write(Event(number, "after_step", 0.0, 0.0))
        assert len(read(tmp_path / "t").runs[0].events) == number + 1
    writer.close()


def test_wherever_a_file_is_cut_the_rest_is_read(tmp_path: Path) -> None:
    content = written(tmp_path / "t", 40, block=300).read_bytes()
    counts = []
    for size in range(len(MAGIC), len(content), 5):
        (tmp_path / "cut").write_bytes(content[:size])
        trace = read(tmp_path / "cut")
        events = trace.runs[0].events if trace.runs else ()
        assert [event.number for event in events] == list(range(len(events)))
        counts.append(len(events))
    assert counts == sorted(counts)
    assert counts[-1] >= 30


def test_a_flipped_byte_ends_it_there(tmp_path: Path) -> None:
    content = bytearray(written(tmp_path / "t", 40, block=0).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "t").write_bytes(content)

    trace = read(tmp_path / "t")
    assert trace.cut > 0
    assert 5 < len(trace.runs[0].events) < 40


def test_rubbish_behind_a_block_is_no_record(tmp_path: Path) -> None:
    """A process that is killed between writing a block and cutting the file off leaves the old frames' rest."""
    path = tmp_path / "t"
    writer = Writer(path)
    for number in range(50):
        writer.write(Event(number, "after_step", 0.0, 0.0))
    single = path.read_bytes()
    writer.close()
    packed = path.read_bytes()
    assert len(packed) < len(single)
    frames = [MAGIC]
    head = struct.Struct("<BIII")
    at = len(MAGIC)
    while at < len(single):
        size = head.size + head.unpack_from(single, at)[2]
        frames.append(single[at : at + size])
        at += size
    for frame in frames[1:]:  # whichever frame the rest happens to begin with
        path.write_bytes(packed + frame)
        writer = Writer(path, append=True)
        assert writer._number == 50
        writer.close()


def test_a_cut_file_is_gone_on_with_where_it_is_sound(tmp_path: Path) -> None:
    content = written(tmp_path / "t", 30, block=0).read_bytes()
    (tmp_path / "t").write_bytes(content[:-40])

    written(tmp_path / "t", 2, append=True)

    first, second = read(tmp_path / "t").runs
    assert (first.end, len(second.events)) == (None, 2)


@pytest.mark.parametrize("content", [b"", b"typedcb trac", b"PK\x03\x04 something else"])
def test_what_is_no_trace_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(TraceError, match="is no trace"):
        read(tmp_path / "t")


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read"):
        read(tmp_path / "none")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "t")
    writer.write(msgspec.structs.replace(header(), format=99))
    writer.close()
    with pytest.raises(TraceError, match="newer typedcb"):
        read(tmp_path / "t")


def test_a_long_one_is_small_and_whole(tmp_path: Path) -> None:
    path = write_many(tmp_path / "t", 3000)
    assert path.stat().st_size < 3000 * 120
    assert len(read(path).runs[0].events) == 3000
