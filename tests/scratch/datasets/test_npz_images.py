"""Lab 3's train_mnist.npz, right and hostile."""

import io
import tracemalloc
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scratch.datasets import DatasetError, images_from_npz

X = (np.arange(6 * 784) % 256).astype(np.uint8).reshape(6, 28, 28)
Y = np.array([7, 9, 9, 7, 0, 1])


def npz(save=np.savez, **arrays) -> bytes:
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def archive(x: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive with any bytes as x.npy, and the right y.npy."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as members:
        members.writestr("x.npy", x)
        members.writestr("y.npy", npy(Y))
    return file.getvalue()


@pytest.fixture
def written(tmp_path):
    def write(content: bytes):
        path = tmp_path / "train_mnist.npz"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        npz(x=X, y=Y),
        npz(np.savez_compressed, x=X, y=Y),
        npz(x=X.reshape(6, 784), y=Y.astype(np.uint8)),
        npz(x=np.asfortranarray(X), y=Y),
        npz(x=X.astype(">f8"), y=Y.astype(">i4"), z=Y),
    ],
)
def test_right_files(written, content):
    images, labels = images_from_npz(written(content))
    np.testing.assert_array_equal(images, X)
    np.testing.assert_array_equal(labels, Y)
    assert labels.dtype == np.int64


GOOD = npz(np.savez_compressed, x=X, y=Y)
STORED = npy(X)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "unreadable file"),
        (b"PK", "unreadable file"),
        (GOOD[:-30], "unreadable file"),
        (GOOD[:60] + b"\xff\xff\xff" + GOOD[63:], "unreadable file"),
        (npy(X), "unreadable file"),
        (npz(x=X), "found 'x.npy', expected an array under the key 'y'"),
        (npz(images=X, y=Y), "found 'images.npy, y.npy', expected an array under the key 'x'"),
        (npz(x=X, y=Y[:5]), r"\(x\): found 6 images, expected 5, the labels in .* \(y\)"),
        (npz(x=X, y=Y + 5), r"\(y\): found label 12 at index 0, expected 0 to 9"),
        (npz(x=X, y=-Y), r"\(y\): found label -7 at index 0"),
        (npz(x=X, y=Y / 2), r"\(y\): found float64, expected integers"),
        (npz(x=X, y=Y[:, None]), r"\(y\): found shape \(6, 1\), expected \(n,\)"),
        (npz(**{"\x1b" + "x" * 9999: X}), r"found '\\x1bx{73}\.\.\.', expected an array under the key 'x'$"),
        (npz(x=X[:, :27], y=Y), r"\(x\): found shape \(6, 27, 28\), expected \(n, 28, 28\)"),
        (npz(x=X + np.nan, y=Y), r"\(x\): found a pixel that is not finite"),
        (npz(x=X.astype(object), y=Y), "found an array of object, expected integers or floats"),
        (npz(x=X.astype(complex), y=Y), "found an array of complex128"),
        (npz(x=X.astype(str), y=Y), "found an array of <U"),
        (npz(x=X > 0, y=Y), "found an array of bool"),
        (archive(b""), "unreadable file"),
        (archive(STORED[:-1]), "found 4703 bytes of data, expected 4704"),
        (archive(STORED + b"\0"), "found 4705 bytes of data, expected 4704"),
        (archive(STORED.replace(b"(6, 28, 28)", b"(-6,28,-28)")), "found 4704 bytes of data"),
        (archive(STORED.replace(b"(6, 28, 28)", b"(99999**9,)")), "unreadable file"),
        (archive(STORED.replace(b"(6, 28, 28)", b"(99999999,)")), "4704 bytes of data, expected 99999999"),
        (archive(STORED.replace(b"(6, 28, 28)", b"((((((((((,")), "unreadable file"),
        (archive(STORED[:6] + b"\x03" + STORED[7:]), r"found .npy format \(3, 0\)"),
        (archive(STORED[:6] + b"\x02" + STORED[7:]), "unreadable file"),
        (archive(STORED, zipfile.ZIP_LZMA), "found 'x' in compression method 14, expected 0 or 8"),
        (archive(STORED, zipfile.ZIP_BZIP2), "found 'x' in compression method 12"),
    ],
)
def test_hostile_files(written, content, message):
    path = written(content)
    with pytest.raises(DatasetError, match=message) as caught:
        images_from_npz(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_false_shape_costs_no_memory(written):
    """numpy.load would ask for 100 MB here."""
    path = written(archive(STORED.replace(b"(6, 28, 28)", b"(99999999,)")))
    tracemalloc.start()
    with pytest.raises(DatasetError, match="expected 99999999"):
        images_from_npz(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def test_an_absent_file(tmp_path):
    with pytest.raises(DatasetError, match=r"found an unreadable file \(No such file"):
        images_from_npz(tmp_path / "none.npz")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_give_images_or_a_dataset_error(written, data):
    """A right archive, or the array inside it, with a piece replaced, cut or repeated."""
    inside = data.draw(st.booleans())
    content = STORED if inside else GOOD
    start = data.draw(st.integers(0, 128 if inside else len(content)))
    stop = data.draw(st.integers(start, start + 4))
    content = content[:start] + data.draw(st.binary(max_size=4)) + content[stop:]
    path = written(archive(content) if inside else content)
    with suppress(DatasetError):
        images, labels = images_from_npz(path)
        assert images.shape[1:] == (28, 28)
        assert len(images) == len(labels)
