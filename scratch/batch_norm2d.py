"""BatchNorm2d: a batch normalisation of images."""

from __future__ import annotations

from scratch.batch_norm import BatchNorm
from scratch.layers import Array, expect


class BatchNorm2d(BatchNorm):
    """Of images x (m, num_features, height, width)."""

    def _expect(self, x: Array) -> None:
        expect(x, (None, self.num_features, None, None), self.dtype)
