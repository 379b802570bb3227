"""Records from strangers' files: right ones are read, and of hostile ones nothing is believed."""

import io
import json
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from torch import nn
from torch.nn import Linear, ReLU, Tanh

from compare.network.architecture import Architecture
from compare.recording.files import load_records, save_records
from compare.recording.record import Record
from scratch.tensor_file import TensorFileError, read_tensors

NET = "3-2, relu output, mse"
ARRAYS = {"0.weight": np.ones((2, 3), "f4"), "input": np.arange(6.0).reshape(2, 3)}
META = {"network": NET}


def safetensors(header: dict[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("name", ["r.safetensors", "r.npz"])
def test_both_formats_are_read_bit_for_bit(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(npz(**ARRAYS) if name.endswith("npz") else save(ARRAYS, META))
    (record,) = load_records(tmp_path / name, Architecture.of(NET))
    assert {n: (a.dtype.str, a.shape, a.tobytes()) for n, a in record.items()} == {
        n: (a.dtype.str, a.shape, a.tobytes()) for n, a in ARRAYS.items()
    }


@pytest.mark.parametrize(
    "layers",
    [
        (Linear(3, 4), ReLU(), Linear(4, 5), Tanh(), Linear(5, 2)),
        (Linear(3, 4, bias=False), Tanh(), Linear(4, 2)),
        (Linear(3, 4), Tanh(), Linear(4, 2)),
    ],
    ids=["two activations", "a layer without a bias", "what the text says"],
)
def test_any_network_is_read_back_from_its_file_alone(tmp_path: Path, layers: tuple[Any, ...]) -> None:
    network = Architecture.of(nn.Sequential(*layers), nn.MSELoss())
    save_records([Record(network, {"input": np.ones((2, 3))})], tmp_path / "r.safetensors")
    (record,) = load_records(tmp_path / "r.safetensors")
    assert record.network == network


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe"])
def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "r.safetensors", tmp_path / "target"
    if "link" in kind:
        path.symlink_to(target)
    if kind == "link":
        target.write_bytes(b"mine")
    if kind == "folder":
        path.mkdir()
    if kind == "pipe":
        os.mkfifo(path)
    before = path.lstat()
    record = Record(Architecture.of("3-2, relu output, mse"), {"input": np.ones((2, 3))})
    with pytest.raises(OSError, match=r"r\.safetensors: found a link, a folder or a device, expected a new file or a"):
        save_records([record], path)
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert not target.exists() or target.read_bytes() == b"mine"


def one(dtype: str = "F32", shape: Any = (2,), end: int = 8, data: bytes = bytes(8), **more: Any) -> bytes:
    return safetensors({"a": {"dtype": dtype, "shape": list(shape), "data_offsets": [0, end]}, **more}, data)


BOMB = npy(np.zeros(1)).replace(b"(1,)", b"(1,)")[:-8] + bytes(1 << 24)

def said(layers: list[tuple[str, int, int]]) -> str:
    """An architecture as a file's metadata may say it."""
    found = [{"kind": kind, "in": i, "out": o, "bias": True} for kind, i, o in layers]
    return json.dumps({"layers": found, "loss": "mse", "reduction": "mean"})


HOSTILE = [
    ("r.safetensors", b"", "0 bytes with a header of 0"),
    ("r.safetensors", b"\xff" * 8, "8 bytes with a header of 18446744073709551615"),
    ("r.safetensors", safetensors({}, length=1 << 40), "with a header of 1099511627776, expected a whole file"),
    ("r.safetensors", one(end=1 << 40), "not a record"),
    ("r.safetensors", one(shape=(1 << 40,)), "not a record"),
    ("r.safetensors", one(shape=(-1,)), "not a record"),
    ("r.safetensors", one(shape=(1 << 63, 2)), "not a record"),
    ("r.safetensors", one("BF16", shape=(4,)), "'a' is BF16, expected one of F16"),
    ("r.safetensors", one("C64", shape=(1,)), "'a' is C64"),
    ("r.safetensors", save({"a\x1b[2J": np.ones(1)}, META), r"found a tensor named 'a\\x1b\[2J', expected printable"),
    ("r.safetensors", save(ARRAYS, {"network": "9" * 9999}), "r.safetensors: "),
    ("r.safetensors", save(ARRAYS, META | {"step": "0"}), "found step '0', expected a whole number of at least 1"),
    ("r.safetensors", save(ARRAYS, META | {"step": "²"}), "found step"),
    ("r.safetensors", save(ARRAYS, META | {"step": "9" * 5000}), "found step '999"),
    ("r.safetensors", save(ARRAYS, META | {"optimizer": "[]"}), "found an optimizer without a kind"),
    ("r.safetensors", save(ARRAYS, META | {"optimizer": "{"}), "r.safetensors: Expecting property name"),
    ("r.safetensors", save(ARRAYS, META | {"optimizer": "[" * 100000}), "r.safetensors: "),
    ("r.safetensors", save(ARRAYS, META | {"optimizer": '{"kind": "Lion"}'}), "got optimiser 'Lion'"),
    ("r.safetensors", save(ARRAYS, META | {"optimizer": '{"kind": "SGD", "lr": NaN}'}), "found SGD with lr 'nan'"),
    ("r.safetensors", save(ARRAYS, META | {"optimizer": '{"kind": "SGD", "self": 1}'}), r"got SGD\(self=1\), which"),
    ("r.safetensors", save(ARRAYS, META | {"optimizer": '{"kind": "SGD", "\\u001b": 1}'}), r"got SGD\(\\x1b=1\)"),
    ("r.safetensors", save(ARRAYS, META | {"architecture": said([("linear", 3, 3)] * 1001)}), "1001 layers, exp"),
    ("r.safetensors", save(ARRAYS), "the file names no network"),
    ("r.safetensors", save(ARRAYS, META | {"architecture": "[]"}), "found an architecture that is none"),
    ("r.safetensors", save(ARRAYS, META | {"architecture": "[" * 100000}), "r.safetensors: "),
    ("r.safetensors", save(ARRAYS, META | {"architecture": said([("linear", 3, 2), ("linear", 3, 2)])}), "that fit"),
    ("r.safetensors", save(ARRAYS, META | {"architecture": said([("linear", 3, -2)])}), "found the layer"),
    ("r.safetensors", save(ARRAYS, META | {"architecture": said([("maxpool", 0, 0)])}), "found the layer"),
    ("r.npz", b"PK", "unreadable file"),
    ("r.npz", npz(a=np.array([{}], object)), "found an array of object"),
    ("r.npz", npz(a=np.array(["x"])), "found an array of <U1"),
    ("r.npz", archive(a=npy(np.ones(6)).replace(b"(6,)", b"(9999999999,)")), "unreadable file|expected 7999"),
    ("r.npz", archive(a=BOMB), "found 16777216 bytes of data, expected 8"),
]


@pytest.mark.parametrize(("name", "content", "message"), HOSTILE)
def test_hostile_files_are_one_line_and_cost_no_memory(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    given = Architecture.of(NET) if name.endswith("npz") else None
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as caught:
        load_records(tmp_path / name, given)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert str(caught.value).isprintable()
    assert peak < (64 << 20)


@pytest.mark.parametrize(
    ("name", "content"), [("r.npz", npz(a=np.zeros(10000))), ("r.safetensors", save({"a": np.zeros(9999)}))]
)
def test_more_than_the_limit_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert load_records(tmp_path / name, Architecture.of(NET))
    with pytest.raises(ValueError, match=r"more than 9000 bytes|found 80128 bytes under 'a', expected at most 9000"):
        load_records(tmp_path / name, Architecture.of(NET), max_bytes=9000)


def test_entries_that_share_their_bytes_count_each(tmp_path: Path) -> None:
    """A zip file whose table of contents names one member again and again."""
    content = archive(a=npy(np.zeros(1 << 16)))
    start = content.index(b"PK\x01\x02")
    entry, end = content[start:-22], bytearray(content[-22:])
    entries = [entry.replace(b"a.npy", bytes([97 + k]) + b".npy") for k in range(4)]
    end[8:12] = struct.pack("<HH", 4, 4)
    end[12:16] = struct.pack("<I", len(entry) * 4)
    (tmp_path / "r.npz").write_bytes(content[:start] + b"".join(entries) + bytes(end))
    with pytest.raises(ValueError, match="not a record"):
        load_records(tmp_path / "r.npz", Architecture.of(NET), max_bytes=1 << 20)


def test_a_huge_table_of_contents_is_not_read(tmp_path: Path) -> None:
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 1 << 22, 0, 0)
    (tmp_path / "r.npz").write_bytes(bytes(1 << 22) + end)
    with pytest.raises(ValueError, match="found a table of contents of 4194304 bytes, expected at most 2097152"):
        load_records(tmp_path / "r.npz", Architecture.of(NET))


def test_a_file_that_is_cut_while_it_is_read_does_not_kill_the_process(tmp_path: Path) -> None:
    """Mapped memory behind the end of a file is a bus error; here the file is read once, and no longer needed."""
    path = tmp_path / "r.safetensors"
    path.write_bytes(save({"a": np.ones(1 << 16)}))
    tensors, _ = read_tensors(path)
    path.write_bytes(b"")
    assert tensors["a"].sum() == 1 << 16
    with pytest.raises(TensorFileError):
        read_tensors(path)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: __import__("os").mkfifo(path)])
@pytest.mark.parametrize("name", ["r.safetensors", "r.npz"])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, name: str, make: Any) -> None:
    make(tmp_path / name)
    with pytest.raises(ValueError, match="not a regular file"):
        load_records(tmp_path / name, Architecture.of(NET))
