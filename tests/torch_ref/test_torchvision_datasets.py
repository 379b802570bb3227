"""torchvision's data sets from every kind of root, what is said about bad ones, and downloads."""

import gc
import gzip
import hashlib
import os
import shutil
import socket
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST, FashionMNIST
from torchvision.transforms import Compose, ToTensor

from torch_ref import datasets
from torch_ref.datasets import DatasetError, DatasetMissing, load, tensors

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return (2048 + array.ndim).to_bytes(4, "big") + sizes + array.astype(np.uint8).tobytes()


def contents() -> dict[str, bytes]:
    rng = np.random.default_rng(5)
    arrays = [
        rng.integers(256, size=(13, 28, 28)),
        np.arange(13) % 10,
        rng.integers(256, size=(7, 28, 28)),
        np.arange(7) + 3,
    ]
    return {stem: idx(array) for stem, array in zip(STEMS, arrays, strict=True)}


def write_root(root: Path, folder: str = "FashionMNIST", form: str = "dashed.gz") -> Path:
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for stem, content in contents().items():
        name = stem.replace("-idx", ".idx") if "dotted" in form else stem
        packed = form.endswith("gz")
        (raw / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    return raw


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in root.rglob("*")}


@pytest.mark.parametrize("form", ["dashed.gz", "dotted.gz", "dashed", "dotted"])
@pytest.mark.parametrize(("name", "kind"), [("fashion_mnist", FashionMNIST), ("mnist", MNIST)])
def test_every_form_of_root_is_read_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: type[MNIST], form: str
) -> None:
    write_root(tmp_path / "root", kind.__name__, form)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    before = snapshot(tmp_path / "root")
    train, test = load(name, tmp_path / "root", download=True)
    assert type(train) is type(test) is kind
    assert (len(train), len(test)) == (13, 7)
    assert test.targets.tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert train[2][0].shape == (1, 28, 28)
    assert train.root == str(tmp_path / "root")
    assert snapshot(tmp_path / "root") == before
    assert not list((tmp_path / "temporary").iterdir())


def test_an_unpacked_file_under_a_gzip_name_is_read(tmp_path: Path) -> None:
    raw = write_root(tmp_path)
    (raw / f"{TRAIN_LABELS}.gz").write_bytes(contents()[TRAIN_LABELS])
    assert load("fashion_mnist", tmp_path)[0].targets.tolist() == [*range(10), 0, 1, 2]


def test_tensors_are_the_bits_of_totensor_and_a_dataloader(tmp_path: Path) -> None:
    write_root(tmp_path)
    for dataset in load("fashion_mnist", tmp_path):
        assert_same_as_dataloader(dataset)


def assert_same_as_dataloader(dataset: MNIST) -> None:
    x, t = tensors(dataset)
    batches = list(DataLoader(dataset, batch_size=1000))
    assert (x.dtype, t.dtype) == (torch.float32, torch.int64)
    assert x.shape == (len(dataset), 784)
    assert torch.equal(x, torch.cat([pixels for pixels, _ in batches]).flatten(1))
    assert torch.equal(t, torch.cat([labels for _, labels in batches]))


@pytest.mark.parametrize("transform", [None, Compose([ToTensor()])])
def test_tensors_refuse_another_transform(tmp_path: Path, transform: object) -> None:
    write_root(tmp_path)
    train, _ = load("fashion_mnist", tmp_path, transform=transform)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"transform is (NoneType|Compose), expected ToTensor"):
        tensors(train)


def cut(content: bytes) -> bytes:
    return content[:-5]


def repacked(change: str) -> bytes:
    """One of the files, changed and packed again."""
    images = np.zeros((13, 28, 28), dtype=np.uint8)
    changed = {
        "magic": idx(np.zeros(13)),
        "width": idx(images[:, :, 1:]),
        "none": idx(images[:0]),
        "long": idx(images) + b"\0",
        "header": b"\0\0\x08\x03\0",
    }
    return gzip.compress(changed[change])


FAULTS = [
    (
        TRAIN_IMAGES,
        cut(gzip.compress(contents()[TRAIN_IMAGES])),
        "damaged gzip file .*, expected a whole one",
    ),
    (TRAIN_IMAGES, b"\x1f\x8bnothing of the kind", "damaged gzip file"),
    (
        TRAIN_IMAGES,
        gzip.compress(cut(contents()[TRAIN_IMAGES])),
        r"10203 bytes, expected 10208 for sizes \(13, 28, 28\)",
    ),
    (TRAIN_IMAGES, repacked("long"), "10209 bytes, expected 10208"),
    (TRAIN_IMAGES, repacked("magic"), "magic number 2049, expected 2051"),
    (TRAIN_IMAGES, repacked("width"), "13 images of 28 x 27, expected 28 x 28"),
    (TRAIN_IMAGES, repacked("none"), "0 images"),
    (TRAIN_IMAGES, repacked("header"), "5 bytes, expected an IDX header of 16"),
    (TEST_LABELS, b"", "0 bytes, expected an IDX header of 8"),
    (TEST_LABELS, gzip.compress(idx(np.arange(6))), "6 labels, expected 7, one for each image"),
    (TEST_LABELS, gzip.compress(idx(np.arange(7) + 4)), "a label of 10, expected 0 to 9"),
    (TEST_LABELS, gzip.compress(contents()[TEST_IMAGES]), "magic number 2051, expected 2049"),
]


@pytest.mark.parametrize(("stem", "content", "message"), FAULTS)
def test_damage_is_one_line_that_names_the_file(tmp_path: Path, stem: str, content: bytes, message: str) -> None:
    raw = write_root(tmp_path)
    (raw / f"{stem}.gz").write_bytes(content)
    with pytest.raises(DatasetError, match=message) as caught:
        load("fashion_mnist", tmp_path, download=True)
    assert not isinstance(caught.value, DatasetMissing)
    assert str(raw / f"{stem}.gz") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_some_files_missing_is_an_error_and_no_reason_to_download(tmp_path: Path) -> None:
    raw = write_root(tmp_path)
    (raw / f"{TEST_LABELS}.gz").unlink()
    (raw / f"{TEST_IMAGES}.gz").unlink()
    with pytest.raises(DatasetError, match=f"{TEST_IMAGES}, {TEST_LABELS} missing .*expected all four") as caught:
        load("fashion_mnist", tmp_path, download=True)
    assert not isinstance(caught.value, DatasetMissing)


def test_none_of_the_files_is_missing_data(tmp_path: Path) -> None:
    write_root(tmp_path, "MNIST")
    before = snapshot(tmp_path)
    with pytest.raises(DatasetMissing, match=r"FashionMNIST.raw: none of the four FashionMNIST files is there"):
        load("fashion_mnist", tmp_path)
    with pytest.raises(DatasetMissing):
        load("fashion_mnist", tmp_path / "nowhere")
    assert snapshot(tmp_path) == before


def test_wrong_arguments(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DatasetError, match="data set 'cifar': expected one of fashion_mnist, mnist"):
        load("cifar", tmp_path)
    with pytest.raises(DatasetError, match="file: a file, expected a folder"):
        load("fashion_mnist", tmp_path / "file", download=True)


class Host:
    """The data set's host, played by a folder on this machine."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self.folder = folder
        resources = []
        for stem, content in contents().items():
            packed = gzip.compress(content, mtime=0)
            (folder / f"{stem}.gz").write_bytes(packed)
            resources.append((f"{stem}.gz", hashlib.md5(packed).hexdigest()))
        handler = partial(Quiet, directory=str(folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{self.server.server_port}/"])
        monkeypatch.setattr(FashionMNIST, "resources", resources)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    host = Host(tmp_path / "host", monkeypatch)
    yield host
    host.server.shutdown()
    host.server.server_close()


@pytest.mark.parametrize("prepare", ["absent", "empty", "other file"])
def test_download_leaves_a_whole_folder(tmp_path: Path, host: Host, prepare: str) -> None:
    root = tmp_path / "deep" / "root"
    if prepare != "absent":
        (root / "FashionMNIST" / "raw").mkdir(parents=True)
    if prepare == "other file":
        (root / "FashionMNIST" / "raw" / "README").write_text("mine")
    train, test = load("fashion_mnist", root, download=True)
    assert (len(train), len(test)) == (13, 7)
    assert [path.name for path in root.iterdir()] == ["FashionMNIST"]
    shutil.rmtree(host.folder)
    assert torch.equal(load("fashion_mnist", root)[0].data, train.data)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # torchvision's 404 stays open
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_failed_download_leaves_nothing_that_is_trusted(tmp_path: Path, host: Host, damage: str) -> None:
    last = host.folder / f"{TEST_LABELS}.gz"
    last.write_bytes(last.read_bytes()[:-3]) if damage == "cut" else last.unlink()
    with pytest.raises(DatasetMissing, match="the download failed") as caught:
        load("fashion_mnist", tmp_path / "root", download=True)
    assert "\n" not in str(caught.value)
    del caught
    gc.collect()
    assert not list((tmp_path / "root").iterdir())
    with pytest.raises(DatasetMissing, match="none of the four"):
        load("fashion_mnist", tmp_path / "root")


class Liar(Quiet):
    """Sends every file wrongly, in the way that `lie` names."""

    lie = ""

    def do_GET(self) -> None:
        content = (Path(self.directory) / self.path.lstrip("/")).read_bytes()
        length = {"promises more": len(content) + 100, "promises less": len(content) - 1}.get(self.lie, len(content))
        self.send_response(200)
        if self.lie != "endless":
            self.send_header("Content-Length", str(length))
        self.end_headers()
        with suppress(OSError):
            if self.lie == "endless":
                while True:
                    self.wfile.write(bytes(1 << 16))
            if self.lie in ("hung", "trickle"):
                self.wfile.write(content[:10])
                self.wfile.flush()
                for k in range(100):
                    time.sleep(0.1)
                    if self.lie == "trickle":
                        self.wfile.write(content[10 + k : 11 + k])
            elif self.lie == "other content":
                content = content[:-1] + b"x"
            elif self.lie == "promises more":
                content = content[:-50]
            self.wfile.write(content)


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ("promises more", "the download failed .*of checksum"),
        ("promises less", "the download failed .*of checksum"),
        ("other content", "the download failed .*of checksum"),
        ("endless", "the download failed .*sent more than 1000000 bytes"),
        ("hung", "the download failed .*timed out"),
        ("trickle", "the download failed .*too few to wait for the rest"),
    ],
)
def test_a_host_that_lies_or_hangs_leaves_nothing(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch, lie: str, message: str
) -> None:
    monkeypatch.setattr(datasets, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(datasets, "MAX_ARCHIVE", 1_000_000)
    handler = type("Lying", (Liar,), {"lie": lie})
    host.server.RequestHandlerClass = partial(handler, directory=str(host.folder))  # type: ignore[assignment]
    with pytest.raises(DatasetMissing, match=message) as caught:
        load("fashion_mnist", tmp_path / "root", download=True)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "root").iterdir())


def test_the_second_host_is_asked_when_the_first_one_lies(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"{FashionMNIST.mirrors[0]}none/"
    monkeypatch.setattr(FashionMNIST, "mirrors", [nowhere, *FashionMNIST.mirrors])
    assert len(load("fashion_mnist", tmp_path / "root", download=True)[0]) == 13


def test_two_downloads_at_once_do_not_harm_each_other(tmp_path: Path, host: Host) -> None:
    found: list[int] = []

    def run() -> None:
        found.append(len(load("fashion_mnist", tmp_path / "root", download=True)[0]))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [13] * 4
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["FashionMNIST"]


def test_a_bomb_is_unpacked_no_further_than_its_header_promises(tmp_path: Path) -> None:
    raw = write_root(tmp_path)
    bomb = gzip.compress(contents()[TRAIN_IMAGES] + bytes(1 << 28), compresslevel=1)
    (raw / f"{TRAIN_IMAGES}.gz").write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(DatasetError, match="10209 bytes, expected 10208"):
        load("fashion_mnist", tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_pipe_is_no_data(tmp_path: Path) -> None:
    raw = write_root(tmp_path)
    (raw / f"{TRAIN_IMAGES}.gz").unlink()
    os.mkfifo(raw / TRAIN_IMAGES)
    with pytest.raises(DatasetError, match=f"{TRAIN_IMAGES} missing"):
        load("fashion_mnist", tmp_path)


def test_a_host_that_refuses_is_missing_data_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{closed.getsockname()[1]}/"])
        with pytest.raises(DatasetMissing, match="no FashionMNIST files, and its hosts cannot be reached"):
            load("fashion_mnist", tmp_path / "root", download=True)
    assert not (tmp_path / "root").exists()


def test_a_host_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert datasets.REACH_SECONDS < 10
    monkeypatch.setattr(datasets, "REACH_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(FashionMNIST, "mirrors", [url, url])
        with pytest.raises(DatasetMissing, match="hosts cannot be reached"):
            load("fashion_mnist", tmp_path, download=True)
        time.sleep(0.2)  # the threads that asked end by their own limit


def test_a_root_that_cannot_be_written_to(tmp_path: Path, host: Host) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"root: cannot be written to \(Not a directory\)"):
        load("fashion_mnist", tmp_path / "file" / "root", download=True)


@pytest.mark.parametrize("name", ["fashion_mnist", "mnist"])
def test_real_data(data_dir: Path, name: str) -> None:
    train, test = load(name, data_dir)
    x, t = tensors(train)
    assert (x.shape, len(test)) == ((60000, 784), 10000)
    assert (float(x.min()), float(x.max())) == (0.0, 1.0)
    if name == "fashion_mnist":
        assert torch.bincount(t).tolist() == [6000] * 10
        assert_same_as_dataloader(test)
