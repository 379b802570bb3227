"""Take: what an earlier layer gave, to go on with in another way, as a shortcut does."""

from scratch.layers import Array, Layer, expect


class Take(Layer):
    """y = z, what the earlier layer `source` of the same Graph gave; -1 is what entered that.

    What the layer before it gave has to enter a later `Add`.
    """

    def __init__(self, source: int) -> None:
        super().__init__()
        self.source = self.instead = source

    def forward(self, x: Array) -> Array:
        expect(x, (None, None, ...))
        self._kept = x
        return x.copy()

    def backward(self, dy: Array) -> Array:
        """dz = dy."""
        expect(dy, self.kept.shape, self.kept.dtype)
        return dy.copy()

    def __repr__(self) -> str:
        return f"Take({self.source})"
