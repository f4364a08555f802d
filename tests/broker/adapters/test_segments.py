"""Payload files: what was flushed is read back, and what did not survive is named."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from distilmq.errors import JournalError
from distilmq_broker.adapters.segments import Place, Segments


def test_what_was_added_is_read_back_before_and_after_the_flush(tmp_path: Path) -> None:
    segments = Segments(tmp_path, keep=0)
    place = segments.add(b"hello")

    before = segments.read(place)
    segments.flush()
    after = segments.read(place)
    segments.close()

    assert (before, after) == (b"hello", b"hello")


def test_adding_never_touches_the_disk(tmp_path: Path) -> None:
    segments = Segments(tmp_path)

    segments.add(b"hello")

    assert list(tmp_path.iterdir()) == []


def test_a_rotation_leaves_every_payload_where_it_was_said_to_be(tmp_path: Path) -> None:
    segments = Segments(tmp_path, rotate_at=100, keep=0)
    data = [bytes([place]) * (10 + place) for place in range(60)]
    places: list[Place] = []
    for place, chunk in enumerate(data):
        places.append(segments.add(chunk))
        if place % 7 == 0:
            segments.flush()
    segments.flush()

    read = [segments.read(place) for place in places]
    segments.close()

    assert read == data
    assert len(list(tmp_path.iterdir())) > 10
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())


def test_a_second_process_never_writes_to_the_files_of_the_first(tmp_path: Path) -> None:
    first = Segments(tmp_path)
    first.add(b"one")
    first.flush()
    first.close()

    second = Segments(tmp_path)
    place = second.add(b"two")
    second.flush()
    second.close()

    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"one", b"two"]
    assert place.segment == 2


def test_a_file_that_somebody_else_made_meanwhile_is_not_touched(tmp_path: Path) -> None:
    segments = Segments(tmp_path)
    segments.add(b"ours")
    (tmp_path / "000001.seg").write_bytes(b"theirs")

    with pytest.raises(JournalError, match="two coordinators"):
        segments.flush()

    assert (tmp_path / "000001.seg").read_bytes() == b"theirs"
    segments.close()


def test_a_record_cut_at_any_byte_is_found_torn(tmp_path: Path) -> None:
    segments = Segments(tmp_path, keep=0)
    kept = segments.add(b"first record")
    cut = segments.add(b"last record")
    segments.flush()
    path = tmp_path / "000001.seg"
    whole = path.read_bytes()

    for length in range(cut.offset, len(whole)):
        path.write_bytes(whole[:length])
        assert segments.read(kept) == b"first record"
        with pytest.raises(JournalError, match=rf"000001.seg.*{length - cut.offset} of 11 bytes \(a torn tail\)"):
            segments.read(cut)
    segments.close()


def test_a_block_of_zeros_is_named(tmp_path: Path) -> None:
    segments = Segments(tmp_path, keep=0)
    place = segments.add(os.urandom(8192))
    segments.flush()
    with (tmp_path / "000001.seg").open("r+b") as file:
        file.seek(2048)
        file.write(bytes(4096))

    with pytest.raises(JournalError, match="a block of zeros at byte 2048"):
        segments.read(place)
    segments.close()


def test_other_bytes_are_found_by_their_checksum(tmp_path: Path) -> None:
    segments = Segments(tmp_path, keep=0)
    place = segments.add(b"hello")
    segments.flush()
    (tmp_path / "000001.seg").write_bytes(b"hallo")

    with pytest.raises(JournalError, match="checksum"):
        segments.read(place)
    segments.close()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    segments = Segments(tmp_path)

    with pytest.raises(JournalError, match=r"cannot read .*000007.seg: No such file"):
        segments.read(Place(7, 0, 1, 0))


FULL_DISK = """
import resource, sys
from pathlib import Path
from distilmq.errors import JournalError
from distilmq_broker.adapters.segments import Segments

folder = Path(sys.argv[1])
segments = Segments(folder)
chunks = [bytes([place]) * 3000 for place in range(10)]
places = [segments.add(chunk) for chunk in chunks]
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, most))
try:
    segments.flush()
except JournalError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
segments.flush()
print([segments.read(place) for place in places] == chunks, segments.path(1).stat().st_size)
"""


def test_a_flush_that_ran_into_a_full_disk_is_done_again(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY

    ran = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True)

    assert ran.stdout.splitlines() == [f"cannot write {tmp_path}/000001.seg: File too large", "True 30000"]


def test_many_segments_need_few_open_files(tmp_path: Path) -> None:
    segments = Segments(tmp_path, rotate_at=1, keep=0)
    places = [segments.add(str(place).encode()) for place in range(200)]
    segments.flush()

    read = [segments.read(place) for place in places]
    opened = sum("/" + tmp_path.name in os.readlink(f"/proc/self/fd/{fd}") for fd in _descriptors())
    segments.close()

    assert read == [str(place).encode() for place in range(200)]
    assert opened <= 64


def _descriptors() -> list[str]:
    found: list[str] = []
    for name in os.listdir("/proc/self/fd"):
        try:
            os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
        found.append(name)
    return found
