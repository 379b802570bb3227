"""The IDX reader on right files, on a table of nasty ones, and on whatever hypothesis thinks of."""

import gzip
import os
import struct
import tracemalloc
import zlib
from contextlib import suppress
from math import prod

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scratch.datasets import DatasetError, DatasetMissing, find_files, read_idx
from scratch.datasets.idx import MAX_BYTES


def zipped(content: bytes, **options: int) -> bytes:
    """Without the time of day, which would make a test's name another in each process."""
    return gzip.compress(content, mtime=0, **options)



def header(*shape: int, code: int = 0x08) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape)


def body(*shape: int) -> bytes:
    return bytes(i % 251 for i in range(prod(shape)))


def idx(*shape: int) -> bytes:
    return header(*shape) + body(*shape)


@pytest.fixture
def written(tmp_path):
    def write(content: bytes):
        path = tmp_path / "some-file"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (2, 3, 4), (1, 1, 1), (300, 28, 28)])
@pytest.mark.parametrize("pack", [bytes, zipped])
def test_whole_files_of_each_rank(written, shape, pack):
    array = read_idx(written(pack(idx(*shape))))
    assert array.dtype == np.uint8
    assert array.shape == shape
    assert array.tobytes() == body(*shape)
    array[0] = 0  # the caller's own


def test_content_decides_not_the_name(tmp_path):
    (tmp_path / "plain.gz").write_bytes(idx(3, 5))
    (tmp_path / "zipped").write_bytes(zipped(idx(3, 5)))
    np.testing.assert_array_equal(read_idx(tmp_path / "plain.gz"), read_idx(str(tmp_path / "zipped")))


def test_gzip_in_several_members_is_legal(written):
    data = idx(3, 5)
    assert read_idx(written(zipped(data[:9]) + zipped(data[9:]))).shape == (3, 5)


GOOD = idx(4, 5, 3)
ZIPPED = zipped(GOOD)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found 0 bytes, expected an IDX header"),
        (GOOD[:3], "found 3 bytes, expected an IDX header"),
        (GOOD[:4], "found 0 bytes of sizes, expected 12"),
        (GOOD[:15], "found 11 bytes of sizes, expected 12"),
        (GOOD[:16], r"found 0 bytes after the header, expected 60 \(4 x 5 x 3\)"),
        (GOOD[:-1], "found 59 bytes after the header, expected 60"),
        (GOOD + b"\0", "found more than 60 bytes after the header, expected 60"),
        (header(4, 5, 3, code=0x0D) + bytes(240), "found data type code 0x0d, expected 0x08"),
        (header(4, 5, 3, code=0x09) + bytes(60), "found data type code 0x09"),
        (header() + b"\0", "found 0 dimensions, expected 1 to 3"),
        (header(1, 1, 1, 1) + b"\0", "found 4 dimensions, expected 1 to 3"),
        (b"\x00\x00\x08\xff" + bytes(2000), "found 255 dimensions"),
        (b"\x08\x03" + GOOD, "found magic number 0x08030000, expected 0x000008"),
        (b"<html>404 not found</html>", "found magic number 0x3c68746d"),
        (b"PK\x03\x04" + GOOD, "found magic number 0x504b0304"),
        (struct.pack("<HBB3I", 0, 8, 3, 4, 5, 3) + body(4, 5, 3), "expected 1 to 1073741824 bytes"),
        (header(0), r"found sizes \(0,\), expected 1 to"),
        (header(0, 2**32 - 1, 2**32 - 1), "found sizes"),
        (header(2**32 - 1, 2**32 - 1, 2**32 - 1) + b"\0", "found sizes"),
        (header(2**16, 2**15, 2) + b"\0", "found sizes"),
        (header(2**30) + b"\0", "found 1 bytes after the header, expected 1073741824"),
        (ZIPPED[:2], "unreadable file"),
        (ZIPPED[:10], "unreadable file"),
        (ZIPPED[:-1], "unreadable file"),
        (ZIPPED[:-9], "unreadable file"),
        (ZIPPED[:-8] + bytes(4) + ZIPPED[-4:], "unreadable file .*CRC"),
        (ZIPPED[:-4] + b"\xff\xff\xff\xff", "unreadable file .*length"),
        (ZIPPED[:12] + b"\xff\xff\xff" + ZIPPED[15:], "unreadable file"),
        (ZIPPED[:2] + b"\x07" + ZIPPED[3:], "unreadable file .*compression method"),
        (ZIPPED + b"rubbish", "unreadable file"),
        (zipped(ZIPPED), "found magic number 0x1f8b"),
        (zipped(GOOD[:-1]), "found 59 bytes after the header, expected 60"),
        (zipped(GOOD + b"\0"), "found more than 60 bytes"),
        (zipped(b""), "found 0 bytes, expected an IDX header"),
        (zlib.compress(GOOD), "found magic number 0x78"),
    ],
)
def test_nasty_files(written, content, message):
    path = written(content)
    with pytest.raises(DatasetError, match=message) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: found ")
    assert ", expected " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("size", "promise"),
    [
        (1 << 28, 100),  # far more than the header promised
        (100, MAX_BYTES),  # far less
    ],
)
def test_a_bomb_and_a_false_promise_cost_no_memory(written, size, promise):
    path = written(zipped(header(promise) + bytes(size), compresslevel=1))
    tracemalloc.start()
    with pytest.raises(DatasetError, match=f"bytes after the header, expected {promise}"):
        read_idx(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize(
    ("name", "message"),
    [("pipe", "not a regular file"), ("", "not a regular file"), ("none", "No such file")],
)
def test_what_is_no_regular_file(tmp_path, name, message):
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    with pytest.raises(DatasetError, match=rf"found an unreadable file \({message}"):
        read_idx(tmp_path / name)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_give_the_array_or_a_dataset_error(written, data):
    """Random bytes, and right files with a piece replaced, cut or repeated, plain and gzipped."""
    content = data.draw(st.one_of(st.binary(max_size=80), st.sampled_from([GOOD, ZIPPED, idx(9), idx(2, 3)])))
    start = data.draw(st.integers(0, len(content)))
    stop = data.draw(st.integers(start, min(len(content), start + 4)))
    content = content[:start] + data.draw(st.binary(max_size=4)) + content[stop:]
    if data.draw(st.booleans()):
        content = zipped(content)
    path = written(content)
    with suppress(DatasetError):
        array = read_idx(path)
        assert array.dtype == np.uint8
        assert 1 <= array.ndim <= 3


# The four files of a folder

NAMES = tuple(
    f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
KEYS = ("train_images", "train_labels", "test_images", "test_labels")


def make_folder(root, names):
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("mark", ["-idx", ".idx"])
def test_four_files_by_any_of_their_names(tmp_path, mark, end):
    names = [name.replace("-idx", mark) + end for name in NAMES]
    folder = make_folder(tmp_path, names)
    assert find_files(tmp_path, "MNIST") == {
        key: folder / name for key, name in zip(KEYS, names, strict=True)
    }


def test_of_several_names_the_one_that_torchvision_reads(tmp_path):
    folder = make_folder(tmp_path, [*NAMES, *(f"{name}.gz" for name in NAMES)])
    assert find_files(str(tmp_path), "MNIST")["test_labels"] == folder / NAMES[3]


def test_a_folder_with_the_name_of_a_file_is_no_file(tmp_path):
    folder = make_folder(tmp_path, ["train-images.idx3-ubyte", *NAMES[1:]])
    (folder / NAMES[0]).mkdir()
    assert find_files(tmp_path, "MNIST")["train_images"] == folder / "train-images.idx3-ubyte"


def test_nothing_there_is_missing(tmp_path):
    with pytest.raises(DatasetMissing, match="MNIST/raw: found no file of MNIST, expected train-images-idx3"):
        find_files(tmp_path, "MNIST")
    make_folder(tmp_path, ["readme.txt"])
    with pytest.raises(DatasetMissing, match="found no file of MNIST"):
        find_files(tmp_path, "MNIST")


@pytest.mark.parametrize("lacking", range(4))
def test_some_there_is_an_error_and_not_missing(tmp_path, lacking):
    make_folder(tmp_path, [f"{name}.gz" for i, name in enumerate(NAMES) if i != lacking])
    with pytest.raises(DatasetError, match=f"found 3 of 4 files, expected also {NAMES[lacking]}") as caught:
        find_files(tmp_path, "MNIST")
    assert not isinstance(caught.value, DatasetMissing)
