"""Network: read off what was computed, where nobody says it.

A layer is a product with a weight that is updated later, and what adds a vector to it; an activation is what is made of
that before the next product. The loss is the one whose value is reported, or else whose gradient is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, reduce
from itertools import islice, zip_longest
from itertools import product as product_of

import numpy as np

from compare.foreign.convention import Convention
from compare.foreign.flow.given import Given
from compare.foreign.flow.passes import HORIZON, OUTPUTS, activated, is_elementwise, with_bias
from compare.foreign.flow.products import MULTIPLIED, Product, moves, near, product, root
from compare.foreign.flow.reading import Read, Reader
from compare.foreign.naming.values import distance, number, tight
from compare.network.architecture import Architecture
from compare.operations import LAYERS
from compare.operations.binary_cross_entropy import BinaryCrossEntropy, LogitsBinaryCrossEntropy
from compare.operations.cross_entropy import CrossEntropy
from compare.operations.l1_loss import L1Loss
from compare.operations.linear import Linear
from compare.operations.operation import Activation, Layer, Loss
from compare.operations.relu import ReLU
from compare.operations.sigmoid import Sigmoid
from compare.operations.softmax import Softmax
from compare.operations.squared_error import HalfSquaredError, SquaredError
from compare.watching.dataflow import Array, Dataflow, Value, after, before, with_elements

ON_VALUES = (SquaredError, HalfSquaredError, L1Loss)
# Those with a number of their own last: any of them is another one for some numbers. ReLU first, as others are near it
# for large values.
ACTIVATIONS = sorted(
    (each for each in LAYERS.values() if issubclass(each, Activation)),
    key=lambda of: (len(fields(of)), of is not ReLU),
)
SAY_IT = 'say the network, such as --network "4-8-3 relu, softmax cross-entropy"'

NUMBERS = 12  # of the code that are tried as an activation's
WAYS = 8  # in which the activations of a pass are read
STEPS = 2  # that are read with each loss


class NotRead(ValueError):
    """Why the network cannot be read off the code, in one line."""


def network_of(flow: Dataflow, convention: Convention | None = None, given: Given | None = None) -> Architecture:
    """The network of the first training step. NotRead in one line where the graph does not show all of it.

    An absolute error is printed beside other losses, to be looked at: it is the loss only where all gradients are its.
    """
    reads = lambda network: islice(Reader(network, flow, convention, given), STEPS)  # noqa: E731
    tried = [(network, Evidence.of(reads(network))) for network in _networks(flow.values, given)]
    fitting = [pair for pair in tried if not (isinstance(pair[0].loss, L1Loss) and pair[1].unmistaken)]
    network, evidence = max(fitting, key=lambda pair: pair[1])  # of equal ones the first
    if not evidence.reported and not evidence.right:
        raise NotRead(f"the loss is neither reported nor to be seen in a gradient: {SAY_IT}")
    return network


def _networks(values: Sequence[Value], given: Given | None) -> list[Architecture]:
    """By what is surely a weight, and by what may be one. NotRead where neither shows layers."""
    found: dict[Architecture, None] = {}
    why: NotRead | None = None
    for moves_at_least in (2, 1) if given is None else (0,):
        try:
            layers = Layers(values, moves_at_least, given.entered if given else None).read()
            found |= dict.fromkeys(_with_losses(layers))
        except NotRead as error:
            why = why or error
    if not found:
        assert why is not None
        raise why
    return list(found)


@dataclass(frozen=True, order=True)
class Evidence:
    """What speaks for a network, the strongest first: of several steps each, as two losses may agree in one."""

    reported: int = 0  # steps whose loss is reported
    has_right: bool = False
    unmistaken: int = 0  # minus the number of gradients that are wrong
    right: int = 0
    plain: int = 0  # steps whose loss and gradients have no factor

    @classmethod
    def of(cls, reads: Iterable[Read]) -> Evidence:
        return reduce(cls.__add__, map(cls.of_step, reads), cls())

    @classmethod
    def of_step(cls, read: Read) -> Evidence:
        factors = [abs(factor) for each in read.aims for _, factor in each.losses]
        found = {name: each for name, each in read.names.tensors.items() if ".grad_" in name}
        right = [each for name, each in found.items() if each.equal and name.endswith(("grad_weight", "grad_bias"))]
        plain = (1.0 in factors) + (bool(right) and all(each.scale == 1 for each in right))
        return cls(bool(factors), bool(right), -sum(not each.equal for each in found.values()), len(right), plain)

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(
            self.reported + other.reported,
            self.has_right or other.has_right,
            self.unmistaken + other.unmistaken,
            self.right + other.right,
            self.plain + other.plain,
        )


@dataclass(frozen=True)
class Found:
    """The layers in order, in each way that is possible, what the last one computed, and what is computed from that."""

    ways: Sequence[tuple[Layer, ...]]
    output: Array
    computed: Sequence[Value]

    def networks(self, last: Sequence[Layer], *losses: type[Loss]) -> Iterator[Architecture]:
        """With these layers after them, and each of these losses."""
        yield from (Architecture((*way, *last), loss("mean")) for way in self.ways for loss in losses)


def _with_losses(found: Found) -> Iterator[Architecture]:
    """With every activation of the output that is seen, and every loss that is used with it."""
    known = [each for each in _activations(found.computed) if _is_seen(found, each)]
    surely = [each for each in known if not _is_like_relu(each)]  # which may be seen where there is none
    for activation in known if surely else (*known, None):
        last = [activation] if activation is not None else []
        of_probabilities = (BinaryCrossEntropy,) if isinstance(activation, Sigmoid) else ()
        yield from found.networks(last, *of_probabilities, *ON_VALUES)
    takes_exponentials = not surely and any(v.what == "call:exp" for v in found.computed)
    if found.output.shape[1] > 1 and (Softmax() in known or takes_exponentials):
        yield from found.networks([], CrossEntropy)
    if takes_exponentials:
        yield from found.networks([], LogitsBinaryCrossEntropy)


def _is_like_relu(activation: Activation) -> bool:
    """Whether it leaves a large value as it is."""
    large = np.full((1, 1), 1e6)
    return bool(activation.apply(large) == large)


def _is_seen(found: Found, activation: Activation) -> bool:
    """Whether the output is made of it, and is not the same as without it, nor all ones as softmax of one column is."""
    if isinstance(activation, Softmax) and found.output.shape[1] == 1:
        return False
    seen = activated(found.computed, activation, found.output)
    return seen is not None and distance(seen.view.array, found.output) > tight(found.output)


def _activations(computed: Sequence[Value]) -> Iterator[Activation]:
    """All that are known, also with a number of the code in the place of their usual one."""
    held = (number(o.array) for v in computed for o in v.operands if o.size == 1)
    numbers = sorted({abs(c) for c in (*held, *(c for v in computed for c in v.constants)) if 0 < abs(c) < 1})[:NUMBERS]
    for kind in ACTIVATIONS:
        own = [each.name for each in fields(kind)]
        yield from (kind(), *(kind(**{own[0]: n}) for n in numbers if own))


class Layers:
    """The layers of the first pass that a program computes.

    moves_at_least: of a weight, as `products.moves` counts. entered: what is computed from the input, where known.
    """

    def __init__(self, values: Sequence[Value], moves_at_least: int, entered: frozenset[int] | None = None) -> None:
        self.values, self.moves_at_least, self.entered = values, moves_at_least, entered

    def read(self) -> Found:
        """NotRead where there is no product with a weight, or something is done to it that is no known activation."""
        products = self._products()
        steps = [_Step.of(each) for each in products]
        if all(each.has_bias or each.attached is not None for each in steps):
            steps = [each if each.has_bias or each.attached is None else each.attached for each in steps]
        between = [each.before(following) for each, following in zip(steps, products[1:], strict=False)]
        ways = islice(product_of(*between), WAYS)
        layers = [tuple(layer for pair in zip_longest(steps, way) for layer in _in_order(*pair)) for way in ways]
        end = steps[-1].value.time + OUTPUTS
        return Found(layers, steps[-1].output, list(after(with_elements(steps[-1].value), end)))

    def _products(self) -> list[Product]:
        found = next((found for value in self.values for found in self._at(value)), None)
        if found is None:
            raise NotRead(f"no array is multiplied by a weight that is updated later: {SAY_IT}")
        self._expect_begin(found)
        made = [found]
        while (following := self._after(made)) is not None:
            made.append(following)
        return made

    def _expect_begin(self, first: Product) -> None:
        """NotRead where what enters the first layer leaves another one, whose weight is less surely one."""
        others = Layers(self.values, 1, self.entered)
        for value in before([first.entering, first.weight]):
            if next(others._at(value), None) is not None:
                raise NotRead(f"what is multiplied in {first.value.place} is itself made by weights: {SAY_IT}")

    def _is_weight(self, value: Value) -> bool:
        return moves(value) >= self.moves_at_least and (self.entered is None or value.time not in self.entered)

    def _at(self, value: Value) -> Iterator[Product]:
        """The value as the product of a layer of any size; without a bias that is attached to the weight, then with."""
        if value.what not in MULTIPLIED or not value.operands or value.array.dtype.kind != "f":
            return
        behind = value.operands if value.what in MULTIPLIED[:3] else near(value)
        held = [v for v in behind if v.array.dtype.kind == "f" and v.size > 1 and self._is_weight(v)]
        shapes = dict.fromkeys(v.array.shape for v in held if v.array.ndim in (1, 2))
        for layer in dict.fromkeys(layer for shape in shapes for layer in _readings(shape)):
            if (found := product(value, layer, self.entered)) is not None and self._is_weight(found.weight):
                yield found

    def _after(self, made: Sequence[Product]) -> Product | None:
        """The next layer's product: of what is computed from the last one's, with another weight that was there."""
        last, used = _Step.of(made[-1]), {root(each.weight).time for each in made}
        computed = {v.time for v in with_elements(last.value)}
        start = last.value.time + 1
        for value in self.values[start : start + HORIZON]:
            if computed.isdisjoint(o.time for o in value.operands):
                continue
            computed.add(value.time)
            for found in self._at(value):
                weight, fits = root(found.weight), found.views[2].array.shape == last.output.shape
                was_there = weight.time < made[0].value.time or not weight.operands
                if fits and was_there and weight.time not in used and is_elementwise(found.entering, last.value):
                    return found
        return None


def _in_order(step: _Step, activation: Activation | None) -> tuple[Layer, ...]:
    return (step.layer,) if activation is None else (step.layer, activation)


def _readings(shape: tuple[int, ...]) -> Iterator[Linear]:
    """Layers whose weight may have this shape, the bias attached to it last."""
    one, other = (*shape, 1)[:2]
    for fan_in, fan_out in ((one, other), (other, one), (one - 1, other), (other - 1, one)):
        if fan_in:
            yield Linear(fan_in, fan_out)


@dataclass(frozen=True)
class _Step:
    """A layer, what leaves it, and that read with samples as rows."""

    found: Product
    layer: Linear
    value: Value
    output: Array

    @classmethod
    def of(cls, found: Product) -> _Step:
        read, weight, _ = found.views
        fan_out, fan_in = weight.array.shape
        has_own = weight.bias is not None or found.bias is not None
        added = None if has_own else with_bias(found.value, read)
        value, view = (added[0].value, added[0].view) if added is not None else (found.value, read)
        return cls(found, Linear(fan_in, fan_out, bias=has_own or added is not None), value, view.array)

    @property
    def has_bias(self) -> bool:
        return self.layer.bias

    @cached_property
    def attached(self) -> _Step | None:
        """With the first or last column of the weight as its bias, where what enters has ones there."""
        layer = Linear(self.layer.in_features - 1, self.layer.out_features) if self.layer.in_features > 1 else None
        found = product(self.value, layer) if layer is not None else None
        is_same = found is not None and root(found.weight) is root(self.found.weight)
        return _Step.of(found) if found is not None and is_same else None

    def before(self, following: Product) -> list[Activation | None]:
        """What the activation before the next layer may be; of few numbers several; None where there is none."""
        x, exact = following.views[2].array, np.asarray(self.output, dtype=np.float64)
        if root(following.entering) is root(self.value):
            return [None]
        with np.errstate(all="ignore"):
            known = _activations(list(after(with_elements(self.value), following.entering.time)))
            found: list[Activation | None] = [each for each in known if distance(x, each.apply(exact)) <= tight(x)]
        if distance(x, exact) <= tight(x):
            found.append(None)
        if found:
            return found
        at, of = following.entering.place, self.value.place
        raise NotRead(f"what {at} makes of {of} is no activation that is known: {SAY_IT}")
