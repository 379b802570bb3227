"""Add: the sum of what two layers give, as around a residual block."""

from scratch.layers import Array, Layer, expect


class Add(Layer):
    """y = x + z, where z is what the earlier layer `source` of the same Graph gave; -1 is what entered that.

    A residual sum (He et al. 2016, eq. 1). x and z have one shape.
    """

    def __init__(self, source: int) -> None:
        super().__init__()
        self.source = self.also = source

    def forward(self, x: Array, z: Array) -> Array:  # type: ignore[override]
        expect(x, (None, None, ...))
        expect(z, x.shape, x.dtype)
        self._kept = x
        return x + z

    def backward(self, dy: Array) -> tuple[Array, Array]:  # type: ignore[override]
        """dx = dz = dy."""
        expect(dy, self.kept.shape, self.kept.dtype)
        return dy.copy(), dy.copy()

    def __repr__(self) -> str:
        return f"Add({self.source})"
