"""BatchNorm1d: a batch normalisation of rows, or of rows of positions."""

from __future__ import annotations

from scratch.batch_norm import BatchNorm
from scratch.layers import Array, expect


class BatchNorm1d(BatchNorm):
    """Of x (m, num_features), or (m, num_features, length)."""

    def _expect(self, x: Array) -> None:
        further = (None,) if x.ndim == 3 else ()
        expect(x, (None, self.num_features, *further), self.dtype)
