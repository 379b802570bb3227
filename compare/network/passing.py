"""Passing: the shapes of what passes from layer to layer, as far as layers say them, and whether they fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compare.operations.operation import ANY, Layer, Shape

MOST_BEFORE = 2  # axes that no layer names: time, or height and width


def filled(said: Shape | None, found: Shape | None) -> Shape | None:
    """What is said of a shape, and what it leaves open as it was found; rows also where there are other axes."""
    if said is None or not found:
        return found if said is None else said
    open_axes = len(said) if len(said) == len(found) else 1
    return tuple(found[i] if n == ANY and i < open_axes else n for i, n in enumerate(said))


def agree(a: Shape, b: Shape) -> bool:
    """Whether both may be the same."""
    return len(a) == len(b) and all(ANY in (n, k) or n == k for n, k in zip(a, b, strict=True))


def entering(layers: Sequence[Layer]) -> Shape | None:
    """The shape of the input; None where a layer without sizes of its own makes another shape of it first.

    Where any axes may stand before those that the first layer names, there are as few as the others agree with.
    """
    first = _first(layers)
    said = first.entering if first else None
    if first is None or said is None or not first.leading:
        return said
    shapes = ((said[0], *[ANY] * more, *said[1:]) for more in range(MOST_BEFORE + 1))
    return next((shape for shape in shapes if _misfit(layers, shape) is None), said)


def _first(layers: Sequence[Layer]) -> Layer | None:
    """The first layer that says what the input is, or that nobody says."""
    return next((layer for layer in layers if layer.entering is not None or layer.reshapes), None)


def shape_of(m: int, layers: Sequence[Layer], axes: Sequence[int]) -> Shape:
    """The shape of m samples for these layers. `axes` are the sizes that no layer says, as many as are needed of the
    last ones: height and width of images, the time of sequences."""
    if layers[0].classes is not None:  # one class number, or as many as there are time steps
        following = entering(layers[1:])
        return (m,) if following is not None and len(following) == 2 else (m, axes[-1])
    said = (entering(layers) or (ANY, ANY))[1:]
    sizes = iter(axes[len(axes) - said.count(ANY) :])
    return m, *(next(sizes) if n == ANY else n for n in said)


def sources(layers: Sequence[Layer], k: int) -> dict[str, int]:
    """The layers whose outputs layer k takes, by the part that they enter as; -1 is the input."""
    layer = layers[k]
    first = {"input": k - 1 if layer.instead is None else layer.instead}
    return first if layer.also is None else first | {"other": layer.also}


def astray(layers: Sequence[Layer]) -> str | None:
    """Why what layers take and give does not go together, in words: no earlier layer, or an output that none takes."""
    taken = [sources(layers, k).values() for k in range(len(layers))]
    for k, each in enumerate(taken):
        if not all(-1 <= j < k for j in each):
            return f"layer {k} ({layers[k]}) takes what no earlier layer gives, expected -1 to {k - 1}"
        if k < len(taken) - 1 and not any(k in later for later in taken):
            return f"no layer takes what layer {k} ({layers[k]}) gives"
    return None


def taken(layer: Layer, found: Shape | None) -> Shape | None:
    """The shape of what enters a layer, by what it says and what was found; before some, any axes may stand."""
    return _taken(layer.entering, layer.leading, found)


def _taken(said: Shape | None, leading: bool, found: Shape | None) -> Shape | None:
    if leading and said is not None and found and len(found) > len(said):
        return found if agree(said[1:], found[1 - len(said) :]) else said
    return filled(said, found)


def passed(layers: Sequence[Layer], x: Shape | None = None) -> Iterator[tuple[Shape | None, Shape | None]]:
    """Of each layer, the shape of what enters and of what leaves; None where nothing says it. x: the input's."""
    first = _first(layers)
    return _passed(layers, _taken(entering(layers), first is not None and first.leading, x))


def _passed(layers: Sequence[Layer], x: Shape | None) -> Iterator[tuple[Shape | None, Shape | None]]:
    left = {-1: x}
    for k, layer in enumerate(layers):
        enters = taken(layer, left[sources(layers, k)["input"]])
        left[k] = None if enters is None else layer.leaving(enters)
        yield enters, left[k]


def misfit(layers: Sequence[Layer]) -> tuple[int, Shape, Shape] | None:
    """The first layer that takes another shape than leaves the one before it: its number, its own, and that one."""
    return _misfit(layers, entering(layers))


def _misfit(layers: Sequence[Layer], x: Shape | None) -> tuple[int, Shape, Shape] | None:
    shapes = list(_passed(layers, x))
    left = [*(leaving for _, leaving in shapes), x]  # that of the input last, as number -1
    for k, layer in enumerate(layers):
        before = {part: left[j] for part, j in sources(layers, k).items()}
        own = shapes[k][0] if layer.leading else layer.entering
        for said, found in ((own, before.get("input")), (shapes[k][0], before.get("other"))):
            if said is not None and found is not None and not agree(said, found):
                return k, said, found
    return _not_rows(layers, left)


def _not_rows(layers: Sequence[Layer], left: Sequence[Shape | None]) -> tuple[int, Shape, Shape] | None:
    """The last layer to which more axes were left than it names, where those are still there in the end: a loss takes
    rows."""
    last = left[len(layers) - 1]
    for k in reversed(range(len(layers) if last is not None and len(last) > 2 else 0)):
        said, found = layers[k].entering, left[sources(layers, k)["input"]]
        if layers[k].leading and said is not None and found is not None and len(found) > len(said):
            return k, said, found
    return None


def inputs(shape: Shape) -> str:
    """Of one sample, in words: 784, or 3 x any x any."""
    return " x ".join("any" if n == ANY else str(n) for n in shape[1:])
