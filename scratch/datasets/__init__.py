"""The labs' data as arrays: image files, toy points and the tables inside scikit-learn. NumPy only.

Every loader returns a checked `Dataset` and raises `DatasetError` (`DatasetMissing` if nothing is there).
"""

from .adding import adding
from .dataset import Dataset, DatasetError, DatasetMissing
from .digits import digits
from .idx import find_files, read_idx
from .iris import iris
from .mnist import RawImages, fashion_mnist, images_from_npz, mnist, raw
from .toy import linear, spiral, xor, xor_line

__all__ = [
    "Dataset", "DatasetError", "DatasetMissing", "RawImages",
    "adding", "digits", "fashion_mnist", "find_files", "images_from_npz", "iris", "linear",
    "mnist", "raw", "read_idx", "spiral", "xor", "xor_line",
]  # fmt: skip
