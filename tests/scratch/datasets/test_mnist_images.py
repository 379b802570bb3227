"""MNIST and Fashion-MNIST: a small made-up folder, then the real files."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from scratch.datasets import DatasetError, DatasetMissing, fashion_mnist, mnist, raw

COUNTS = {"train": 30, "t10k": 11}


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_images(path, count: int, *shape: int) -> None:
    pixels = np.arange(count * np.prod(shape)) % 256
    path.write_bytes(gzip.compress(idx(pixels.astype(np.uint8).reshape(count, *shape)), compresslevel=1))


def write_labels(path, labels) -> None:
    path.write_bytes(idx(np.asarray(labels, np.uint8)))


@pytest.fixture
def root(tmp_path):
    """Both data sets with 30 + 11 images, the images gzipped and the labels not."""
    for name in ("MNIST", "FashionMNIST"):
        folder = tmp_path / name / "raw"
        folder.mkdir(parents=True)
        for split, count in COUNTS.items():
            write_images(folder / f"{split}-images-idx3-ubyte.gz", count, 28, 28)
            write_labels(folder / f"{split}-labels-idx1-ubyte", np.arange(count) % 10)
    return tmp_path


@pytest.mark.parametrize(
    ("load", "name", "first_class"), [(fashion_mnist, "Fashion-MNIST", "T-shirt/top"), (mnist, "MNIST", "0")]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_pixels_over_255_in_float32(root, load, name, first_class, dtype):
    data = load(root, dtype)
    pixels = (np.arange(30 * 784) % 256).astype(np.float32) / np.float32(255)
    assert data.x_train.dtype == data.x_val.dtype == dtype
    np.testing.assert_array_equal(data.x_train, pixels.reshape(30, 784))
    assert data.x_val.shape == (11, 784)
    assert data.t_train.dtype == np.int64
    np.testing.assert_array_equal(data.t_val, [*range(10), 0])
    assert data.name == name
    assert data.image_shape == (28, 28)
    assert (len(data.class_names), data.class_names[0]) == (10, first_class)
    assert data.source == f"{name}, 30 + 11 images"  # what was read, not what the real set would have


def test_raw_gives_the_stored_bytes(root):
    train_images, train_labels, test_images, test_labels = raw(root, "MNIST")
    assert train_images.dtype == np.uint8
    assert (train_images.shape, test_images.shape) == ((30, 28, 28), (11, 28, 28))
    assert train_images[0, 1, 0] == 28
    assert train_labels.dtype == test_labels.dtype == np.int64


def test_an_absent_set_is_missing(tmp_path):
    with pytest.raises(DatasetMissing, match="FashionMNIST"):
        fashion_mnist(tmp_path / "nowhere")


def test_integers_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(DatasetError, match="found uint8, expected a float dtype"):
        mnist(tmp_path, np.uint8)


@pytest.mark.parametrize(
    ("file", "write", "message"),
    [
        (
            "train-labels-idx1-ubyte",
            lambda path: write_labels(path, [1] * 29),
            "train-images-idx3-ubyte.gz: found 30 images, expected 29, the labels in .*train-labels-idx1",
        ),
        (
            "t10k-labels-idx1-ubyte",
            lambda path: write_labels(path, [1, 2, 10] + [0] * 8),
            "t10k-labels-idx1-ubyte: found label 10 at index 2, expected 0 to 9",
        ),
        (
            "t10k-labels-idx1-ubyte",
            lambda path: write_labels(path, np.zeros((11, 1))),
            r"t10k-labels-idx1-ubyte: found shape \(11, 1\), expected \(n,\)",
        ),
        (
            "train-images-idx3-ubyte.gz",
            lambda path: write_images(path, 30, 28, 27),
            r"train-images-idx3-ubyte.gz: found shape \(30, 28, 27\), expected \(n, 28, 28\)",
        ),
        (
            "train-images-idx3-ubyte.gz",
            lambda path: write_images(path, 30, 784),
            r"found shape \(30, 784\), expected \(n, 28, 28\)",
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            lambda path: path.write_bytes(path.read_bytes()[:-20]),
            "t10k-images-idx3-ubyte.gz: found an unreadable file",
        ),
    ],
)
@pytest.mark.parametrize("load", [mnist, lambda root: raw(root, "MNIST")])
def test_files_that_do_not_fit_together(root, file, write, message, load):
    write(root / "MNIST" / "raw" / file)
    with pytest.raises(DatasetError, match=message):
        load(root)


# The real files


@pytest.mark.parametrize(("load", "first"), [(fashion_mnist, [9, 0, 0, 3, 0]), (mnist, [5, 0, 4, 1, 9])])
def test_the_real_sets(data_dir, load, first):
    data = load(data_dir)
    assert (data.x_train.shape, data.x_val.shape) == ((60_000, 784), (10_000, 784))
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    np.testing.assert_array_equal(data.t_train[:5], first)
    np.testing.assert_array_equal(np.unique(data.t_val), np.arange(10))
    assert data.source.endswith("MNIST, 60,000 + 10,000 images")


def test_the_real_four_is_as_frequent_as_lab_1_says(data_dir):
    images = raw(data_dir, "MNIST")
    assert (images.train_labels == 4).sum() == 5842
    assert (images.test_labels == 4).sum() == 982
    assert not images.train_images[:, 0, :2].any()  # pixels 0 and 1 are never lit


def test_peak_memory_is_little_more_than_the_data(data_dir):
    tracemalloc.start()
    data = fashion_mnist(data_dir)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.3 * (data.x_train.nbytes + data.x_val.nbytes)
