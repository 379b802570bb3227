"""Naming: which of somebody's arrays is which tensor of the step, found by value.

Nothing is asked of the names that the code uses. What the network computes from the candidate's own data and weights is
known; an array that equals it, up to layout and a factor, *is* that tensor. Weights, biases and inputs are found
together, as those whose product is among the arrays. A tensor that nothing equals is wrong or absent: it is then the
array of its shape from which the next tensors follow, or else the nearest. Naming is generous; whether the array is
right is judged afterwards by the check, on these names and by its own bounds.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare import layout, reference
from compare.architecture import Architecture, LayerKind, LayerSpec
from compare.convention import Convention, Factor, factors, nearest
from compare.layout import View
from compare.observation import Observation
from compare.step import Rule, rules
from compare.tolerance import Precision

Array = NDArray[Any]

TIGHT = {np.dtype(np.float64): 1e-8, np.dtype(np.float32): 1e-4}  # relative: equal, for the sake of a name
VERSIONS = 4  # of a variable that are tried, from its first
OUTPUTS = 24  # arrays that are tried as a layer's output
OBJECTS = 40  # values of attributes, which have one name in several objects
WAYS = 2000  # through layers whose outputs were not bound
NEAR = 0.9  # relative: an array farther from what a layer should give is not its output
ROUNDS = 3  # of a loop that are looked at: as many values of a line for each layer
ATTEMPTS = 4  # inputs that make a first layer's output, and are followed to the end
LOSS_NAME = re.compile(r"(^|[^a-z])(loss|cost|err|error|mse|bce|ce|nll|xent|j|l|e)([^a-z]|$)", re.IGNORECASE)
BIAS_NAME = re.compile(r"(^|[^a-z])(b|bias)", re.IGNORECASE)
GRADIENT_NAME = re.compile(r"(^|[^a-z])(d|g|grad|delta|nabla|gradient)", re.IGNORECASE)
PROBABILITIES: dict[str, LayerKind] = {"cross_entropy": "softmax", "logits_binary_cross_entropy": "sigmoid"}


class NotFound(ValueError):
    """The network's own data or weights are not among the arrays; says which, and of what shape."""


@dataclass(frozen=True)
class Named:
    """A tensor's array, in torch's layout, and where it was seen. The array is `scale` x torch's."""

    observation: Observation
    view: View
    scale: float = 1.0
    exact: bool = True  # equal to what it should be, up to rounding and the scale
    bound: bool = True  # seen; not computed in the place of a value that no line bound
    rate: float = 1.0  # the learning rate that is part of the scale

    @property
    def factor(self) -> float:
        """The scale without the learning rate."""
        return self.scale / self.rate

    @property
    def value(self) -> Array:
        """In float64, without the scale."""
        return np.asarray(self.view.array, dtype=np.float64) / self.scale


@dataclass
class Names:
    """What was found: record name -> Named, and the step's size."""

    network: Architecture
    tensors: dict[str, Named] = field(default_factory=dict)
    m: int = 0
    rate: float | None = None  # of plain gradient descent on torch's gradient, where the weights moved so
    uphill: bool = False  # the gradient is the negative loss's, and the step is added
    unbiased: list[int] = field(default_factory=list)  # layers that have no bias, whatever the network's text says
    recovered: dict[str, Array] = field(default_factory=dict)  # gradients read off the weights' change: its rounding

    @property
    def score(self) -> tuple[int, int, int]:
        """To choose between attempts: tensors of the step that are right, samples, and the earlier input."""
        right = sum(named.exact for name, named in self.tensors.items() if ".new_" not in name)
        return right, self.m, -self.tensors["input"].observation.time

    def values(self) -> dict[str, Array]:
        """What reference rules are computed from."""
        return {name: _plain(name, named) for name, named in self.tensors.items()}


def _plain(name: str, named: Named) -> Array:
    return named.view.array if name == "target" and named.view.array.ndim == 1 else named.value


def find(
    network: Architecture,
    observations: Sequence[Observation],
    x: Array | None = None,
    t: Array | None = None,
    convention: Convention | None = None,
) -> Names:
    """The names of one training step, the first that the observations hold. x (m, in) and t where they are known.

    NotFound, in one line, where input, weights or outputs of the network are not among the arrays.
    """
    everything = Seen(observations)
    rounds = ROUNDS * max(len(network.sizes) - 1, 1)
    convention = convention or Convention()
    attempts = list(_attempts(network, everything, rounds, x, t, convention))
    if not attempts:
        attempts = list(_attempts(network, everything, rounds, x, t, convention, lenient=True))
    if not attempts:
        raise NotFound(_nothing(network, everything, x))
    return max(attempts, key=lambda names: names.score)


def _attempts(
    network: Architecture,
    everything: Seen,
    rounds: int,
    x: Array | None,
    t: Array | None,
    convention: Convention,
    lenient: bool = False,
) -> Iterator[Names]:
    seen, made = everything.first_of_each_line(rounds), 0
    for entering in _inputs(network, seen, x, convention):
        names = Search(network, seen, entering, t, convention, lenient).names()
        if names is not None and names.m == 1:
            names = _sample_by_sample(network, everything, rounds, names, t, convention) or names
        if names is not None:
            yield names
            made += 1
        if made == ATTEMPTS:
            return


def _sample_by_sample(
    network: Architecture, seen: Seen, rounds: int, single: Names, t: Array | None, convention: Convention
) -> Names | None:
    """Where single samples pass one after another before the weights move: the same lines' values, as rows.

    The rounds are the values of the line that bound the first layer's output, of which each proves its sample.
    """
    weight = single.tensors["0.weight"]
    output = single.tensors.get("0.output") or single.tensors.get("1.output")
    if output is None or not output.observation.line:
        return None
    made = seen.rounds_of(output.observation, weight.observation)
    samples = _samples_of(network, seen, single, made)
    if samples is None or len(made) < 2:
        return None
    since = single.tensors["input"].observation.time
    together = seen.stacked(made, min(since, made[0].time) if since > weight.observation.time else made[0].time, rounds)
    entering = replace(single.tensors["input"].observation, array=samples)
    return Search(network, together, Named(entering, View(samples, layout.ROWS)), t, convention).names()


def _samples_of(network: Architecture, seen: Seen, single: Names, made: Sequence[Observation]) -> Array | None:
    """For each output of the first layer the sample that makes it, as rows; None where one has none."""
    fan_in = network.sizes[0]
    held = {o.array.tobytes(): o.array.reshape(fan_in) for o in seen.sized(fan_in) if o.array.dtype.kind == "f" and o.array.size == fan_in}
    rows = [row for o in seen.matrices() if o.array.ndim == 2 for view in layout_rows(o.array, fan_in) for row in view]
    samples = np.array([*held.values(), *{row.tobytes(): row for row in rows}.values()])
    weight, bias = single.tensors["0.weight"].value, single.tensors.get("0.bias")
    z = samples @ weight.T + (0.0 if bias is None else bias.value)
    y = z if "0.output" in single.tensors else reference.apply(network.layers[1].kind, z)
    found = []
    for o in made:
        far = np.linalg.norm(y - o.array.reshape(1, -1), axis=1)
        best = int(np.argmin(far))
        if far[best] > _tight(o.array) * max(float(np.linalg.norm(y[best])), 1e-300):
            return None
        found.append(samples[best])
    return np.stack(found)


def layout_rows(a: Array, fan_in: int) -> Iterator[Array]:
    """`a` as samples, where one of its dimensions is theirs; few enough to be tried."""
    if a.dtype.kind == "f" and max(a.shape) <= 10_000:
        yield from (view.array for view in _any_input(a, fan_in) if view.array.shape[1] == fan_in)


def _inputs(network: Architecture, seen: Seen, x: Array | None, convention: Convention) -> Iterator[Named]:
    """What may be the input: what equals x, or x itself; where none is given, all arrays with as many columns or rows."""
    fan_in = network.sizes[0]
    if x is not None:
        m = len(x)
        views = (Named(o, v) for o in seen.sized(m, fan_in, extra=(0, 1)) for v in layout.inputs(o.array, m, fan_in))
        same = (named for named in views if named.view.array.shape == x.shape and np.array_equal(named.view.array, x))
        yield next(same, Named(Observation(x, "x as given", time=-1), View(x, layout.ROWS)))
        yield from _parts(seen, x, fan_in)
        return
    tried: set[bytes] = set()
    for o in seen.newest_of_each(seen.matrices()):
        for view in _any_input(o.array, fan_in):
            key = view.array.tobytes() + str(view.array.shape).encode()
            if key not in tried and convention.allows(view, "samples") and np.any(view.array):
                tried.add(key)
                yield Named(o, view)


def _parts(seen: Seen, x: Array, fan_in: int) -> Iterator[Named]:
    """Single samples of x."""
    rows = {np.asarray(row, dtype=np.float64).tobytes() for row in x}
    for o in seen.sized(1, fan_in):
        if o.array.dtype.kind == "f" and o.array.size == fan_in and np.asarray(o.array, dtype=np.float64).tobytes() in rows:
            yield Named(o, View(o.array.reshape(1, fan_in), layout.COLUMNS if o.array.ndim == 2 else layout.ROWS))
            return


def _any_input(a: Array, fan_in: int) -> Iterator[View]:
    """Readings of `a` as samples of `fan_in` numbers, whatever their count."""
    if a.ndim == 1 and a.size == fan_in:
        yield from layout.samples(a, 1, fan_in)
    if a.ndim == 2:
        for m in dict.fromkeys(a.shape):
            yield from layout.inputs(a, m, fan_in)


def _nothing(network: Architecture, seen: Seen, x: Array | None) -> str:
    sizes = network.sizes
    wanted = f"({sizes[1]}, {sizes[0]}) or ({sizes[0]}, {sizes[1]})"
    shapes = list(dict.fromkeys(str(o.array.shape) for o in seen.all if o.array.ndim == 2))
    held = f"the arrays seen have shapes {', '.join(shapes[:8])}" if shapes else "no array was seen"
    if not any(True for o in seen.all for _ in layout.weights(o.array, sizes[1], sizes[0])):
        return f"no weight of the first layer found: expected an array of shape {wanted}; {held}"
    if x is None and not any(True for o in seen.all for _ in _any_input(o.array, sizes[0])):
        return f"no input found: expected an array with {sizes[0]} columns or rows; {held}"
    return f"no output of the first layer found: nothing equals input times an array of shape {wanted}"


# --- what was seen ----------------------------------------------------------------------------------------------------


class Seen:
    """Observations, looked up by size and by name."""

    def __init__(self, observations: Iterable[Observation]) -> None:
        self.all = [o for o in observations if o.array.dtype.kind in "fiub"]
        self.by_size: dict[tuple[int, ...], list[Observation]] = defaultdict(list)
        self.by_name: dict[str, list[Observation]] = defaultdict(list)
        for o in self.all:
            self.by_size[_size(o.array.shape)].append(o)
            self.by_name[o.name].append(o)
        self.version = {o.time: k for found in self.by_name.values() for k, o in enumerate(found)}

    def sized(self, *shape: int, extra: Sequence[int] = (0,)) -> list[Observation]:
        """Arrays of these dimensions in any order, those of 1 left out; with `extra`, one of them that much larger."""
        wanted = {_size(shape)}
        for more in extra:
            wanted |= {_size((*shape[:k], n + more, *shape[k + 1 :])) for k, n in enumerate(shape)}
        return [o for size in wanted for o in self.by_size[size]]

    def matrices(self) -> list[Observation]:
        """Arrays that may be an input."""
        return [o for o in self.all if o.array.ndim in (1, 2) and o.array.dtype.kind in "fiu"]

    def newest_of_each(self, found: Iterable[Observation]) -> list[Observation]:
        """In the order in which the variables appeared; of each the last of its first few values, then those before."""
        begun = {name: held[0].time for name, held in self.by_name.items()}
        return sorted(self.early(found), key=lambda o: (begun[o.name], -self.version[o.time]))

    def early(self, found: Iterable[Observation]) -> list[Observation]:
        """Of these, each variable's first few values."""
        return [o for o in found if self.version[o.time] < VERSIONS]

    def held_at(self, moment: Observation, found: Iterable[Observation]) -> list[Observation]:
        """Of these, what each variable held when `moment` was bound; all of them where there is no order."""
        if not moment.line:
            return [o for o in found if o is not moment]
        latest: dict[tuple[str, str], Observation] = {}
        several: list[Observation] = []
        for o in sorted(found, key=lambda o: o.time):
            if o.time < moment.time or self._is_first_read_by(moment, o):
                latest[(o.name, o.function)] = o
                if "." in o.name:  # an attribute: one name, several objects
                    several.append(o)
        return list({o.time: o for o in (*latest.values(), *several[-OBJECTS:])}.values())

    def _is_first_read_by(self, moment: Observation, o: Observation) -> bool:
        """Whether this attribute was first seen at the line of `moment`: what a line reads comes after what it binds."""
        return self.version[o.time] == 0 and "." in o.name and (o.file, o.line) == (moment.file, moment.line)

    def after(self, o: Observation) -> list[Observation]:
        """Later values of the same variable."""
        return [later for later in self.by_name[o.name] if later.time > o.time]

    def scalars(self, after: int = -1) -> list[Observation]:
        """Floating-point numbers that were bound later than a moment."""
        return [o for o in self.by_size[()] if o.time > after and o.array.dtype.kind == "f" and o.array.size == 1]

    def first_of_each_line(self, rounds: int) -> Seen:
        """The first so many values of every line's every variable."""
        return Seen(_firsts(self.all, rounds))

    def rounds_of(self, made: Observation, weight: Observation) -> list[Observation]:
        """What the line of `made` bound from then on, sample after sample, until the weight changed."""
        moved = next((o.time for o in self.after(weight) if o.time > made.time), np.inf)
        same = [o for o in self.by_name[made.name] if _line(o) == _line(made) and o.array.shape == made.array.shape]
        return [o for o in same if made.time <= o.time < moved]

    def stacked(self, rounds: Sequence[Observation], since: int, keep: int) -> Seen:
        """What the lines bound once in each round, as rows; what was bound before, and last in each line, and after.

        A round goes from one of the given values to the next, the first from `since`. Lines that were passed before
        the value of their round belong to it if they are passed as often as it is.
        """
        begun = np.array([since, *(o.time for o in rounds)])
        length = (begun[-1] - begun[1]) / max(len(rounds) - 1, 1)
        end = min(begun[-1] + 2 * length, np.inf)
        by_line: dict[tuple[Any, ...], list[Observation]] = defaultdict(list)
        for o in self.all:
            if since <= o.time <= end:
                by_line[(*_line(o), o.array.shape)].append(o)
        n = len(rounds)
        virtual = [_rows(found[:n]) for found in by_line.values() if len(found) >= n and _is_row(found[0].array)]
        sums = [found[n - 1] for found in by_line.values() if len(found) >= n]
        last = [found[-1] for found in by_line.values()]
        before = [o for o in self.all if o.time < since]
        after = _firsts([o for o in self.all if o.time > begun[-1]], keep)
        together = {(o.time, o.array.shape): o for o in (*before, *after, *last, *sums, *virtual)}
        return Seen(sorted(together.values(), key=lambda o: (o.time, o.array.size)))


def _line(o: Observation) -> tuple[str, int, str, str]:
    return o.file, o.line, o.function, o.name


def _firsts(found: Iterable[Observation], rounds: int) -> list[Observation]:
    kept: list[Observation] = []
    count: dict[tuple[Any, ...], int] = defaultdict(int)
    for o in found:
        count[_line(o)] += 1
        if count[_line(o)] <= rounds or not o.line:
            kept.append(o)
    return kept


def _is_row(a: Array) -> bool:
    return a.size == max(a.shape, default=1) and a.ndim <= 2


def _rows(found: Sequence[Observation]) -> Observation:
    """One observation for one line's values in all rounds, timed as its last."""
    return replace(found[-1], array=np.stack([o.array.ravel() for o in found]))


def _size(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(n for n in shape if n != 1))


# --- one step ---------------------------------------------------------------------------------------------------------


class Search:
    """Names for one step that begins with a given input."""

    def __init__(
        self,
        network: Architecture,
        seen: Seen,
        entering: Named,
        t: Array | None,
        convention: Convention,
        lenient: bool = False,
    ) -> None:
        self.network, self.seen, self.convention, self.lenient = network, seen, convention, lenient
        self.given_target = t
        self.m = len(entering.view.array)
        self.found = Names(network, {"input": entering}, self.m)
        self.precision = Precision.of(np.float64)

    def names(self) -> Names | None:
        """All that is found; None where not even the first layer is."""
        if not self._forward():
            return None
        self._without_bias()
        self._fuse()
        self.found.tensors.pop("probabilities", None)
        self._target_and_loss()
        self._backward()
        self._updates()
        self._settle_scales()
        self.found.rate = self._rate()
        return self.found

    def _name(self, name: str, named: Named) -> None:
        self.found.tensors[name] = named

    @property
    def _n(self) -> int:
        return self.network.sizes[-1]

    # --- forward ---

    def _forward(self) -> bool:
        """Layer after layer; False where not even the first one's output, or a later one's that proves it, is seen."""
        layers, position = self.network.layers, 0
        while position < len(layers):
            if layers[position].kind != "linear":
                self._activation(position)
                position += 1
                continue
            near = self._linear(position)
            if near is None:
                position += 1
            elif (reached := self._unseen(position)) is not None:
                position = reached
            elif near and (position > 0 or self.lenient):
                self.found.tensors |= near
                position += 1
            else:
                return position > 0
        return True

    def _unseen(self, position: int) -> int | None:
        """Layers whose outputs no line bound: the weights and biases that lead to the next output that was.

        The position after that output; None where there is none, or where there are too many ways to get there.
        """
        entering = self._entering(position)
        if entering is None:
            return None
        ways: list[tuple[dict[str, Named], Array]] = [({}, entering.value)]
        for k in range(position, len(self.network.layers)):
            ways = self._through(k, ways)
            if not ways or len(ways) > WAYS:
                return None
            for names, value in ways:
                if k > position and (output := self._equal(value, -1)) is not None:
                    self.found.tensors |= names | {f"{k}.output": output}
                    return k + 1
        return self._unseen_to_the_loss(ways)

    def _unseen_to_the_loss(self, ways: Sequence[tuple[dict[str, Named], Array]]) -> int | None:
        """The same where the probabilities were bound and the logits were not."""
        kind = PROBABILITIES.get(self.network.loss)
        for names, value in ways if kind else ():
            if self._equal(reference.apply(kind, value), -1) is not None:  # type: ignore[arg-type]
                self.found.tensors |= names
                return len(self.network.layers)
        return None

    def _through(
        self, position: int, ways: Sequence[tuple[dict[str, Named], Array]]
    ) -> list[tuple[dict[str, Named], Array]]:
        """Every way through one layer."""
        layer = self.network.layers[position]
        if layer.kind != "linear":
            return [(names, reference.apply(layer.kind, value)) for names, value in ways]
        found = []
        for names, value in ways:
            taken = {n.observation.time for n in names.values()}
            for weight in self._weights_of(layer, self.seen.early(self._weight_sized(layer))):
                for bias in self._biases(weight, layer.out_features, None):
                    if {weight.observation.time} & taken or (bias and {bias.observation.time} & taken):
                        continue
                    more = {f"{position}.weight": weight} | ({f"{position}.bias": bias} if bias else {})
                    z = value @ weight.value.T + (0.0 if bias is None else bias.value)
                    found.append((names | more, z))
                    if len(found) > WAYS:
                        return found
        return found

    def _weight_sized(self, layer: LayerSpec) -> list[Observation]:
        return self.seen.sized(layer.out_features, layer.in_features, extra=(0, 1))

    def _weights_of(self, layer: LayerSpec, held: Iterable[Observation]) -> list[Named]:
        """Arrays that may be this layer's weight, equal ones once."""
        views = [
            Named(o, v)
            for o in held
            for v in layout.weights(o.array, layer.out_features, layer.in_features)
            if o.array.dtype.kind == "f" and self.convention.allows(v, "weights") and np.any(v.array)
        ]
        return self.seen_first(views)

    def _entering(self, position: int) -> Named | None:
        return self.found.tensors.get("input" if position == 0 else f"{position - 1}.output")

    def _linear(self, position: int) -> dict[str, Named] | None:
        """Weight, bias and output of a linear layer: those whose product, or its activation, is among the arrays.

        Arrays are tried as the output in order of time, with what its variables held at that moment. None where they
        are named; else the names with the array that is nearest to such a product, if one is near.
        """
        nearest_yet: tuple[float, dict[str, Named]] = (NEAR, {})
        for made in self._makeable(position, self.network.layers[position].out_features):
            for names, z in self._products(position, made.observation):
                if name := self._made_name(made, z, position):
                    self.found.tensors |= names | {name: replace(made, exact=True)}
                    return None
                far = _distance(made.view.array, z)
                if far < nearest_yet[0]:
                    nearest_yet = far, names | {f"{position}.output": made}
        return nearest_yet[1]

    def _makeable(self, position: int, fan_out: int) -> list[Named]:
        """Arrays that may be the output of a linear layer, or of the activation after it, the earliest first."""
        since = self._latest()
        held = [o for o in self.seen.sized(self.m, fan_out) if o.array.dtype.kind == "f" and (o.time > since or not o.line)]
        views = [Named(o, v, exact=False) for o in held for v in layout.samples(o.array, self.m, fan_out)]
        allowed = [named for named in views if self.convention.allows(named.view, "samples") and np.any(named.view.array)]
        return self.seen_first(allowed)[:OUTPUTS]

    def _products(self, position: int, made: Observation) -> Iterator[tuple[dict[str, Named], Array]]:
        """Every input, weight and bias that was held when `made` was bound, with their product."""
        layer = self.network.layers[position]
        weights = self._weights_of(layer, self.seen.held_at(made, self._weight_sized(layer)))
        for x in self._candidates_entering(position, made):
            for weight in weights:
                product = x.value @ weight.value.T
                for bias in self._biases(weight, layer.out_features, made):
                    names = {f"{position}.weight": weight} | ({f"{position}.bias": bias} if bias else {})
                    if position and not x.exact and x.bound:
                        names[f"{position - 1}.output"] = x
                    yield names, product if bias is None else product + bias.value

    def _following(self, position: int) -> LayerKind | None:
        """The activation after a layer; after the last, the one that is part of the loss."""
        layers = self.network.layers
        return layers[position + 1].kind if position + 1 < len(layers) else PROBABILITIES.get(self.network.loss)

    def _made_name(self, made: Named, z: Array, position: int) -> str | None:
        """Which tensor an array is: the linear layer's output, or the activation's; None if neither."""
        if _distance(made.view.array, z) <= _tight(made.view.array):
            return f"{position}.output"
        following = self._following(position)
        if following is None or _distance(made.view.array, reference.apply(following, z)) > _tight(made.view.array):
            return None
        return f"{position + 1}.output" if position + 1 < len(self.network.layers) else "probabilities"

    def _candidates_entering(self, position: int, made: Observation) -> list[Named]:
        """What entered: what left the layer before; where that is not known, every array of its shape before `made`."""
        known = self._entering(position)
        if known is not None and (known.exact or position == 0):
            return [known]
        width = self.network.layers[position].in_features
        since = self._latest()
        others = [
            Named(o, v, exact=False)
            for o in self.seen.sized(self.m, width)
            if since - 1 < o.time < made.time and o.array.dtype.kind == "f"
            for v in layout.samples(o.array, self.m, width)
            if self.convention.allows(v, "samples")
        ]
        computed = self._computed(position)
        return self.seen_first([*([known] if known else []), *([computed] if computed else []), *others], keep=True)

    def _computed(self, position: int) -> Named | None:
        """What should have entered, where it was never bound."""
        before = self.found.tensors.get(f"{position - 2}.output")
        if before is None:
            return None
        value = reference.apply(self.network.layers[position - 1].kind, before.value)
        return Named(replace(before.observation, array=value), View(value, layout.ROWS), exact=False, bound=False)

    def _latest(self) -> int:
        """When the last of the forward tensors was bound."""
        outputs = [n.observation.time for name, n in self.found.tensors.items() if name.endswith(".output")]
        return max(outputs, default=self.found.tensors["input"].observation.time)

    def _biases(self, weight: Named, fan_out: int, made: Observation | None) -> Iterator[Named | None]:
        """Attached to this weight, or of the right size, those named and placed most alike first; then none."""
        if weight.view.bias is not None:
            yield Named(weight.observation, View(weight.view.bias, weight.view.layout))
            return
        taken = {n.observation.time for name, n in self.found.tensors.items() if name.endswith(".bias")}
        held = self.seen.early(self.seen.sized(fan_out)) if made is None else self.seen.held_at(made, self.seen.sized(fan_out))
        alike = [o for o in held if o.time not in taken]
        alike = [o for o in alike if o.array.dtype.kind == "f" and o.array.ndim > 0]
        alike.sort(key=lambda o: (not _related(o.name, weight.observation.name), abs(o.time - weight.observation.time)))
        yield from self.seen_first([Named(o, view) for o in alike for view in layout.biases(o.array, fan_out)], keep=True)
        yield None

    def _activation(self, position: int) -> None:
        name = f"{position}.output"
        if name in self.found.tensors or f"{position - 1}.output" not in self.found.tensors:
            return
        before = self.found.tensors[f"{position - 1}.output"]
        y = reference.apply(self.network.layers[position].kind, before.value)
        if output := self._equal(y, before.observation.time, but=before.observation):
            self._name(name, output)
        elif position == len(self.network.layers) - 1 and (near := self._nearest(y, before.observation.time, limit=0.9)):
            self._name(name, near[1])

    def _fuse(self) -> None:
        """Where the probabilities were bound and the logits were not, the loss is that on probabilities."""
        last = len(self.network.layers) - 1
        if f"{last}.output" in self.found.tensors or self.network.loss not in PROBABILITIES:
            return
        kinds = {"cross_entropy": "probability_cross_entropy", "logits_binary_cross_entropy": "binary_cross_entropy"}
        spec = replace(self.network.layers[last], kind=PROBABILITIES[self.network.loss], in_features=0, out_features=0)
        network = replace(self.network, layers=(*self.network.layers, spec), loss=kinds[self.network.loss])  # type: ignore[arg-type]
        entering = self._entering(last)
        weight, bias = (self.found.tensors.get(f"{last}.{part}") for part in ("weight", "bias"))
        if entering is None or weight is None:
            return
        z = entering.value @ weight.value.T + (0.0 if bias is None else bias.value)
        y = reference.apply(spec.kind, z)
        output = self._equal(y, weight.observation.time)
        if output is not None:
            self.network = self.found.network = network
            self._name(f"{last + 1}.output", output)

    def _without_bias(self) -> None:
        """A layer that is exactly its product without a bias, where nothing is called one, has none."""
        layers = list(self.network.layers)
        for k, layer in enumerate(layers):
            if layer.kind == "linear" and f"{k}.weight" in self.found.tensors and f"{k}.bias" not in self.found.tensors:
                called = [o for o in self.seen.sized(layer.out_features) if BIAS_NAME.search(o.name)]
                layers[k] = layer if called else replace(layer, bias=False)
        if tuple(layers) != self.network.layers:
            self.found.unbiased = [k for k, layer in enumerate(layers) if layer.kind == "linear" and not layer.bias]
            self.network = self.found.network = replace(self.network, layers=tuple(layers))

    # --- target and loss ---

    def _target_and_loss(self) -> None:
        last = f"{len(self.network.layers) - 1}.output"
        if last not in self.found.tensors:
            return
        y = self.found.tensors[last].value
        best = max(self._targets(), key=lambda t: self._agreement(y, t), default=None)
        if best is None:
            return
        self._name("target", best)
        if found := self._loss_value(y, best):
            self._name("loss", found)

    def _targets(self) -> list[Named]:
        labels = self.network.loss in ("cross_entropy", "probability_cross_entropy")
        m, n = self.m, self._n
        if self.given_target is not None:
            held = [Observation(self.given_target, "t as given", time=-2)]
        else:
            held = [*self.seen.sized(m, n), *(self.seen.sized(m) if labels else [])]
        views = [Named(o, v) for o in held for v in layout.targets(o.array, m, n, labels)]
        taken = {n.observation.time for n in self.found.tensors.values()}
        kept = [named for named in self.seen_first(views[::-1], keep=True) if named.observation.time not in taken]
        return [named for named in kept if named.observation.time < self._latest()] or kept

    def seen_first(self, found: Sequence[Named], keep: bool = False) -> list[Named]:
        """Of arrays with the same values, the first: by time, or of the order given."""
        kept: dict[bytes, Named] = {}
        for named in found if keep else sorted(found, key=lambda n: n.observation.time):
            kept.setdefault(named.view.array.tobytes() + str(named.view.array.dtype).encode(), named)
        return list(kept.values())

    def _agreement(self, y: Array, t: Named) -> tuple[int, int]:
        """Whether the loss's gradient, and the loss, of this target are among the arrays; else the later bound."""
        with np.errstate(all="ignore"):
            gradient = self._loss_gradient(y, t)
            agreed = 2 * (self._equal(gradient, -1, scaled=True) is not None)
            agreed += self._loss_value(y, t, by_name=False) is not None
        return agreed, -t.observation.time

    def _loss_gradient(self, y: Array, t: Named) -> Array:
        """Of the last linear layer's output, through an activation after it: what most people write in one."""
        dy = reference.loss_backward(self.network, y, _target(t, y), self.precision).value
        last = len(self.network.layers) - 1
        if self.network.layers[last].kind == "linear":
            return dy
        z = self._known_output(last - 1)
        return dy if z is None else reference.activation_backward(self.network.layers[last].kind, z, dy, self.precision).value

    def _known_output(self, position: int) -> Array | None:
        named = self.found.tensors.get(f"{position}.output")
        if named is not None:
            return named.value
        entering, weight = self._entering(position), self.found.tensors.get(f"{position}.weight")
        bias = self.found.tensors.get(f"{position}.bias")
        if entering is None or weight is None:
            return None
        z: Array = entering.value @ weight.value.T + (0.0 if bias is None else bias.value)
        return z

    def _loss_value(self, y: Array, t: Named, by_name: bool = True) -> Named | None:
        """The number that is a known multiple of the loss; else one that is called so."""
        with np.errstate(all="ignore"):
            value = float(reference.loss(self.network, y, _target(t, y), self.precision).value)
        known, seen = self._factors(), self.seen.scalars(self._latest())
        if self.convention.factor is not None:
            known = [Factor(self.convention.factor, "as declared")]
        if value and np.isfinite(value):
            for o in seen:
                if factor := nearest(float(o.array.ravel()[0]) / value, known, _tight(o.array) * 10):
                    return Named(o, View(o.array.reshape(()), "number"), factor.value)
        moved = min((o.time for o in self.seen.after(self.found.tensors["0.weight"].observation) if o.time > self._latest()), default=np.inf)
        called = [o for o in seen if LOSS_NAME.search(o.name.rpartition(".")[2]) and o.time < moved] if by_name else []
        if not called:
            return None
        o = called[0]
        factor = min(known[:5], key=lambda f: abs(float(o.array.ravel()[0]) - f.value * value))
        return Named(o, View(o.array.reshape(()), "number"), factor.value, exact=False)

    def _factors(self) -> list[Factor]:
        return factors(self.m, self._n)

    # --- backward ---

    def _backward(self) -> None:
        """All gradients that equal what they should be; then, again and again, the first wrong one and what follows."""
        if "target" not in self.found.tensors or "0.weight" not in self.found.tensors:
            return
        self._match_gradients()
        self._recover_all(exactly=True)
        for rule in self._gradient_rules():
            if rule.name not in self.found.tensors and self._adopt(rule):
                self._match_gradients()
                self._recover_all(exactly=True)
        self._recover_all(exactly=False)

    def _gradient_rules(self) -> list[Rule]:
        present = [*self.found.tensors, *(f"{k}.grad_input" for k in range(1, len(self.network.layers)))]
        found = rules(self.network, None, 1, present)
        return [r for r in found if r.kind == "gradient" and not r.copies and r.name != "0.grad_input"]

    def _match_gradients(self) -> None:
        for rule, value in self._expected():
            if rule.name not in self.found.tensors and value is not None:
                if named := self._gradient(rule, value):
                    self._name(rule.name, named)

    def _expected(self, adopted: Mapping[str, Named] | None = None) -> Iterator[tuple[Rule, Array | None]]:
        """Every gradient as it should be, from the candidate's own tensors where they are known, lazily."""
        values = self.found.values() | {name: _plain(name, named) for name, named in (adopted or {}).items()}
        for rule in rules(self.network, None, 1, list(values)):
            if rule.name in self.found.tensors or (adopted and rule.name in adopted):
                if rule.kind == "gradient" and not rule.copies:
                    named = (adopted or {}).get(rule.name) or self.found.tensors[rule.name]
                    values[rule.name] = named.value
                continue
            if any(source not in values for source in rule.sources):
                continue
            with np.errstate(all="ignore"):
                value = rule.compute(*(values[source] for source in rule.sources), p=self.precision).value
            values[rule.name] = value
            if rule.kind == "gradient" and not rule.copies and rule.name != "0.grad_input":
                yield rule, value
                if rule.name in self.found.tensors:
                    values[rule.name] = self.found.tensors[rule.name].value

    def _views(self, rule: Rule, shape: tuple[int, ...]) -> Iterator[Named]:
        """All arrays that may be this gradient, by shape, bound after the output was."""
        part, head = rule.name.rpartition(".")[2], rule.name.partition(".")[0]
        since = self._since()
        if part == "grad_weight":
            weight = self.found.tensors[f"{head}.weight"]
            extra = (0, 1) if weight.view.bias is not None else (0,)
            for o in self.seen.sized(*shape, extra=extra):
                if o.time > since and (view := layout.like(o.array, weight.view)):
                    yield Named(o, view)
            return
        if part == "grad_bias":
            yield from self._bias_views(head, shape[0], since)
            return
        for o in self.seen.sized(*shape):
            if o.time > since:
                yield from (Named(o, v) for v in layout.samples(o.array, *shape))

    def _bias_views(self, head: str, fan_out: int, since: int) -> Iterator[Named]:
        weight = self.found.tensors[f"{head}.weight"]
        if weight.view.bias is None:
            for o in self.seen.sized(fan_out):
                if o.time > since:
                    yield from (Named(o, v) for v in layout.biases(o.array, fan_out))
            return
        for o in self.seen.sized(*weight.view.array.shape, extra=(1,)):
            if o.time > since and (view := layout.like(o.array, weight.view)) and view.bias is not None:
                yield Named(o, View(view.bias, view.layout))

    def _since(self) -> int:
        """Gradients are bound after the forward pass; arrays from no line have no order."""
        last = self.found.tensors.get(f"{len(self.network.layers) - 1}.output")
        return last.observation.time if last is not None and last.observation.line else -2

    def _gradient(self, rule: Rule, value: Array) -> Named | None:
        """The first array that is a multiple of this gradient, of those with the plainest known factor."""
        known = self._gradient_factors()
        best: tuple[int, Named] | None = None
        for named in self._views(rule, value.shape):
            scale = _scale(named.view.array, value)
            if scale is None or _distance(named.view.array, scale * value) > _tight(named.view.array):
                continue
            factor = nearest(scale, known, max(_tight(named.view.array) * 10, 1e-7))
            if factor is not None and not self._is_weight(named) and (best is None or known.index(factor) < best[0]):
                best = known.index(factor), replace(named, scale=factor.value, rate=factor.rate)
        return self._last_version(rule, value, best[1]) if best else None

    def _last_version(self, rule: Rule, value: Array, named: Named) -> Named:
        """Where it was scaled in place afterwards (d /= m), by a factor that is none: that later value, as wrong."""
        if value.size < 3:
            return named
        later = [n for n in self._views(rule, value.shape) if n.observation.name == named.observation.name and n.observation.time > named.observation.time]
        for after in later:
            scale = _scale(after.view.array, value)
            if scale is not None and _distance(after.view.array, scale * value) <= _tight(after.view.array):
                if nearest(scale, self._gradient_factors(), max(_tight(after.view.array) * 10, 1e-7)) is None:
                    return replace(after, scale=1.0, exact=False)
        return named

    def _gradient_factors(self) -> list[Factor]:
        return factors(self.m, self._n, self._rates())

    def _rates(self) -> list[tuple[float, str]]:
        if self.convention.rate is not None:
            return [(self.convention.rate, "as declared")]
        return list({v: (v, o.name) for o in self.seen.scalars() if 0 < (v := float(o.array.ravel()[0])) < 100 and v != 1 and _is_rate(o.name)}.values())

    def _is_weight(self, named: Named) -> bool:
        """A weight, bias or one of its later values, not a gradient."""
        names, values = self._parameters
        if named.observation.line and named.observation.name in names:
            return True
        return bool(np.any(named.observation.array)) and _bytes(named.observation.array) in values

    @cached_property
    def _parameters(self) -> tuple[set[str], set[tuple[Any, ...]]]:
        """The names of weights and biases, and all their values. Asked for after the forward pass."""
        held = [n.observation for name, n in self.found.tensors.items() if name.endswith((".weight", ".bias"))]
        return {o.name for o in held}, {_bytes(o.array) for h in held for o in (h, *self.seen.after(h))}

    def _adopt(self, rule: Rule) -> bool:
        """Name a wrong gradient: the array from which later ones follow, else the nearest of its shape."""
        expected = {r.name: value for r, value in self._expected()}
        value = expected.get(rule.name)
        if value is None:
            return False
        part = rule.name.rpartition(".")[2]
        attached = part == "grad_bias" and self.found.tensors[f"{rule.layer}.weight"].view.bias is not None
        taken = set() if attached else {n.observation.time for name, n in self.found.tensors.items() if name.endswith((".grad_weight", ".grad_bias", ".output"))}
        candidates = [
            n
            for n in self._views(rule, value.shape)
            if n.observation.time not in taken and not self._is_weight(n) and np.any(n.view.array)
        ]
        if part in ("grad_weight", "grad_bias"):
            return self._adopt_leaf(rule, value, candidates)
        best: tuple[int, Named] | None = None
        for named in self._distinct(candidates):
            follows = self._follows(rule, named)
            if follows and (best is None or follows > best[0]):
                best = (follows, named)
        if best is None:
            return False
        self._name(rule.name, replace(best[1], exact=False, scale=self._usual_scale()))
        return True

    def _distinct(self, found: Sequence[Named]) -> list[Named]:
        return self.seen_first(found)

    def _follows(self, rule: Rule, named: Named) -> int:
        """How many gradients that nothing else explains follow from this array."""
        count = 0
        for later, value in self._expected({rule.name: named}):
            if later.name not in self.found.tensors and value is not None and self._is_seen(later, value):
                count += 1
        return count

    def _is_seen(self, rule: Rule, value: Array) -> bool:
        """Whether an array is this gradient, or its parameter moved along it."""
        if self._gradient(rule, value) is not None:
            return True
        name = rule.name.replace("grad_", "")
        held = self.found.tensors.get(name)
        if held is None or not name.endswith(("weight", "bias")):
            return False
        after = self._moved_along(name, held, value)
        return after is not None and self._is_along(held, after, value)

    def _adopt_leaf(self, rule: Rule, value: Array, candidates: Sequence[Named]) -> bool:
        """The array of a parameter gradient's shape that is called like one, nearest in direction."""
        head, _, part = rule.name.partition(".grad_")
        parameter = self.found.tensors[f"{head}.{part}"].observation.name if f"{head}.{part}" in self.found.tensors else ""

        held = self.found.tensors.get(f"{head}.{part}")

        def rank(named: Named) -> tuple[bool, bool, bool, float]:
            name, array = named.observation.name, np.asarray(named.view.array, dtype=np.float64)
            after = self._moved_along(f"{head}.{part}", held, array) if held else None
            used = held is not None and after is not None and self._is_along(held, after, array)
            called = bool(GRADIENT_NAME.search(name))
            return not used, not called, not _related(name, parameter), -abs(_cosine(named.view.array, value))

        found = sorted(candidates, key=rank)
        if not found or (all(rank(found[0])[:2]) and rank(found[0])[3] > -0.5):
            return False
        self._name(rule.name, replace(found[0], exact=False, scale=self._usual_scale()))
        return True

    def _usual_scale(self) -> float:
        scales = [n.scale for name, n in self.found.tensors.items() if ".grad_" in name and n.exact]
        return max(scales, key=scales.count) if scales else 1.0

    # --- updates ---

    def _recover_all(self, exactly: bool) -> None:
        """Where no gradient was bound, it is the weight's change over the rate; `exactly`, if that is as it should be."""
        expected = {rule.name: value for rule, value in self._expected()}
        for name in self.network.parameters():
            head, _, part = name.partition(".")
            gradient = f"{head}.grad_{part}"
            if name in self.found.tensors and gradient not in self.found.tensors and gradient in expected:
                self._recover(name, gradient, expected[gradient], exactly)

    def _recover(self, name: str, gradient: str, value: Array | None, exactly: bool) -> None:
        held = self.found.tensors[name]
        after = None if value is None else self._moved_along(name, held, value)
        if after is None or value is None:
            return
        change = held.view.array - after.view.array
        scale = _scale(change, value)
        within = self._loss_of_digits(held, change)
        if scale is None:
            return
        factor = self._factor_of_change(scale, within)
        exact = factor is not None and _distance(change, scale * value) <= within
        if exactly and not exact:
            return
        rate = factor.rate if factor else self._usual_rate()
        if rate is None:
            return
        o = replace(after.observation, array=change, name=f"the change of {held.observation.name}")
        value_of = factor.value if factor else rate
        self._name(gradient, Named(o, View(change, held.view.layout), value_of, exact, rate=rate))
        before, now = (np.abs(np.asarray(n.view.array, dtype=np.float64)) for n in (held, after))
        u = float(np.finfo(change.dtype).eps) / 2
        self.found.recovered[gradient] = u * (before + now)

    def _factor_of_change(self, scale: float, within: float) -> Factor | None:
        """A known factor times a rate that was seen; where none was, the scale is the rate."""
        known = [f for f in self._gradient_factors() if f.rate != 1]
        if factor := nearest(scale, known, within):
            return factor
        return None if known or scale <= 0 else Factor(scale, "", scale)

    def _usual_rate(self) -> float | None:
        """The rate of the other changes, else the first that was seen."""
        rates = [self.found.tensors[name].rate for name in self.found.recovered]
        return self._most(rates) if rates else next((rate for rate, _ in self._rates()), None)

    def _moved_along(self, name: str, held: Named, value: Array) -> Named | None:
        """The later value of the variable that differs by a multiple of its gradient; else the first that differs."""
        moved = [
            Named(o, view)
            for o in self.seen.after(held.observation)
            if o.time > self._since() and (view := self._reread(name, o)) is not None
            if not np.array_equal(view.array, held.view.array)
        ]
        along = next((after for after in moved if self._is_along(held, after, value)), None)
        return along or self._moved_elsewhere(name, held, value) or (moved[0] if moved else None)

    def _moved_elsewhere(self, name: str, held: Named, value: Array) -> Named | None:
        """The same under another name, as the optimiser may have for it."""
        for o in self.seen.sized(*held.observation.array.shape):
            if o.time > self._since() and o.line and (view := self._reread(name, o)) is not None:
                downhill = (_scale(held.view.array - view.array, value) or 0) > 0
                if downhill and self._is_along(held, Named(o, view), value):
                    return Named(o, view)
        return None

    def _is_along(self, held: Named, after: Named, value: Array) -> bool:
        """Whether the parameter's change is a multiple of `value`, as far as its digits say."""
        change = held.view.array - after.view.array
        scale = _scale(change, value)
        return scale is not None and _distance(change, scale * value) <= self._loss_of_digits(held, change)

    def _loss_of_digits(self, held: Named, change: Array) -> float:
        """How exactly a change is known: a rounding of the weight is so much of it."""
        u = float(np.finfo(held.view.array.dtype).eps) if held.view.array.dtype.kind == "f" else 1e-16
        size = float(np.linalg.norm(change)) or 1.0
        return max(_tight(held.view.array), 4 * u * float(np.linalg.norm(held.view.array)) / size)

    def _updates(self) -> None:
        """The weights after the step, and the rate of plain gradient descent where they moved so."""
        for name in self.network.parameters():
            head, _, part = name.partition(".")
            held, gradient = self.found.tensors.get(name), self.found.tensors.get(f"{head}.grad_{part}")
            if held is None or gradient is None or held.observation.time < 0:
                continue
            after = self._moved_along(name, held, np.asarray(gradient.view.array, dtype=np.float64))
            if after is not None:
                self._name(f"{head}.new_{part}", after)

    def _rate(self) -> float | None:
        """By how much the weights moved along torch's gradient; of one that was read off the move, its own factor."""
        tensors = self.found.tensors
        plain = self._descent_rate()
        scales = [n.scale for name, n in tensors.items() if name.endswith(".grad_weight") and name not in self.found.recovered]
        if plain is not None and scales:
            rate = float(f"{plain * self._most(scales):.14g}")
            return rate if rate > 0 else None
        read_off = [tensors[name].scale for name in self.found.recovered]
        return self._most(read_off) if read_off and self._most(read_off) > 0 else None

    def _reread(self, name: str, o: Observation) -> View | None:
        """A later value of the variable, read as the first was."""
        head, _, part = name.partition(".")
        weight = self.found.tensors[f"{head}.weight"]
        if o.array.shape != self.found.tensors[name].observation.array.shape or o.array.dtype.kind != "f":
            return None
        if weight.view.bias is not None:
            view = layout.like(o.array, weight.view)
            return view if view is None or part == "weight" or view.bias is None else View(view.bias, view.layout)
        if part == "weight":
            return layout.like(o.array, weight.view)
        return next(layout.biases(o.array, len(self.found.tensors[name].view.array)), None)

    def _descent_rate(self) -> float | None:
        """The rate by which most parameters moved against their gradient; None where they did not move so."""
        rates = []
        for name in self.network.parameters():
            head, _, part = name.partition(".")
            held, after, g = (self.found.tensors.get(n) for n in (name, f"{head}.new_{part}", f"{head}.grad_{part}"))
            if held is None or after is None or g is None or f"{head}.grad_{part}" in self.found.recovered:
                continue
            gradient, change = np.asarray(g.view.array, dtype=np.float64), held.view.array - after.view.array
            scale, within = _scale(change, gradient), self._loss_of_digits(held, change)
            if scale is not None and _distance(change, scale * gradient) <= within:
                rates.append(np.sign(scale) * self._rounded(abs(scale), within))
        return self._most(rates) if rates else None

    def _rounded(self, scale: float, within: float) -> float:
        """A rate as somebody writes it: a known multiple of a number that was seen, or the shortest decimal number."""
        if factor := nearest(scale, [f for f in self._gradient_factors() if f.value > 0], within):
            return factor.value
        shorter = (float(f"{scale:.{digits}g}") for digits in range(1, 9))
        return next((value for value in shorter if abs(value - scale) <= within * abs(scale)), scale)

    # --- scales ---

    def _settle_scales(self) -> None:
        """Parameter gradients have the reported loss's factor; the tensors between, what leads to it."""
        tensors = self.found.tensors
        finals = [n for n in tensors if n.endswith((".grad_weight", ".grad_bias"))]
        between = [n for n in tensors if n.endswith((".grad_output", ".grad_input"))]
        if not finals:
            return
        usual = self._most([tensors[n].factor for n in finals if tensors[n].exact] or [1.0])
        wanted = self._wanted_factor(usual)
        if not all(tensors[n].factor == wanted and tensors[n].exact for n in finals):
            ratio = self._usual_ratio(finals)
            for name in finals:
                tensors[name] = replace(tensors[name], scale=wanted * tensors[name].rate)
            for name in between:
                tensors[name] = replace(tensors[name], scale=wanted * ratio)
        self._settle_loss(wanted)

    def _settle_loss(self, wanted: float) -> None:
        """A loss that has another factor than the gradients, which have the plainer one, is wrong."""
        loss = self.found.tensors.get("loss")
        if loss is not None and loss.scale != wanted and not self.found.uphill:
            self._name("loss", replace(loss, scale=wanted))

    @staticmethod
    def _most(scales: Sequence[float]) -> float:
        return max(scales, key=scales.count)

    def _wanted_factor(self, usual: float) -> float:
        """The reported loss's factor, where the gradients share it.

        Where loss and gradients differ, the one with the plainer factor is taken to be meant, and the other is wrong.
        """
        loss = self.found.tensors.get("loss")
        if self.convention.factor is not None:
            return self.convention.factor
        if loss is None or not loss.exact or loss.scale == usual:
            return usual
        moved = self._descent_rate()
        if moved is not None and moved * usual > 0 and -usual == loss.scale:
            self.found.uphill = True
            return usual
        known = self._factors()
        return min((usual, loss.scale), key=lambda scale: _index(scale, known))

    def _usual_ratio(self, finals: Sequence[str]) -> float:
        """Tensors between over parameter gradients: 1, or m where the mean is taken last."""
        tensors = self.found.tensors
        found = []
        for name in finals:
            dy = self._leaving(name.partition(".")[0])
            if dy is not None and tensors[name].exact:
                found.append(dy.scale / tensors[name].factor)
        return self._most(found) if found else 1.0

    def _leaving(self, head: str) -> Named | None:
        """The gradient of layer `head`'s output, under either of its names."""
        tensors = self.found.tensors
        return tensors.get(f"{head}.grad_output") or tensors.get(f"{int(head) + 1}.grad_input")

    # --- by value ---

    def _equal(self, value: Array, since: int, scaled: bool = False, but: Observation | None = None) -> Named | None:
        """The first array bound after `since` that equals `value` up to layout (and, if `scaled`, a factor)."""
        for o in self.seen.sized(*value.shape):
            if o is but or (o.line and o.time < since) or o.array.dtype.kind != "f":
                continue
            for view in layout.samples(o.array, *value.shape):
                scale = _scale(view.array, value) if scaled else 1.0
                if scale is not None and _distance(view.array, scale * value) <= _tight(o.array):
                    if self.convention.allows(view, "samples"):
                        return Named(o, view, scale)
        return None

    def _nearest(self, value: Array, since: int, limit: float) -> tuple[float, Named] | None:
        """The array bound after `since` that lies nearest to `value`, within `limit` of its size."""
        taken = {n.observation.time for n in self.found.tensors.values()}
        best: tuple[float, Named] | None = None
        for o in self.seen.early(self.seen.sized(*value.shape)):
            if (o.line and o.time <= since) or o.array.dtype.kind != "f" or o.time in taken:
                continue
            for view in layout.samples(o.array, *value.shape):
                far = _distance(view.array, value)
                if far < limit and (best is None or far < best[0]):
                    best = (far, Named(o, view, exact=False))
        return best


def _index(scale: float, known: Sequence[Factor]) -> int:
    """How plain a factor is: 0 is none at all."""
    factor = nearest(scale, known)
    return known.index(factor) if factor else len(known)


def _is_rate(name: str) -> bool:
    return bool(re.search(r"(lr|rate|eta|alpha|step|learning|epsilon|gamma)", name, re.IGNORECASE))


def _target(t: Named, y: Array) -> Array:
    a = t.view.array
    return a if a.ndim == 1 else np.asarray(a, dtype=np.float64)


def _related(a: str, b: str) -> bool:
    """Names that end in the same number, or differ only in W, b, weight, bias."""
    digits = [re.findall(r"\d+", name) for name in (a, b)]
    return digits[0] == digits[1]


def _bytes(a: Array) -> tuple[Any, ...]:
    return a.shape, a.dtype, a.tobytes()


def _tight(a: Array) -> float:
    return TIGHT.get(a.dtype, 1e-8)


def _scale(a: Array, value: Array) -> float | None:
    """The factor c for which c x value comes nearest to a; None where there is none."""
    a, value = np.asarray(a, dtype=np.float64), np.asarray(value, dtype=np.float64)
    square = float(np.vdot(value, value))
    with np.errstate(all="ignore"):
        c = float(np.vdot(value, a)) / square if square else float("nan")
    return c if np.isfinite(c) and c else None


def _distance(a: Array, value: Array) -> float:
    """|a - value| / |value|, over the whole tensor; infinite where it has none."""
    with np.errstate(all="ignore"):
        size = float(np.linalg.norm(value))
        far = float(np.linalg.norm(np.asarray(a, dtype=np.float64) - value))
    if size == 0:
        return 0.0 if far == 0 else float("inf")
    return far / size if np.isfinite(far / size) else float("inf")


def _cosine(a: Array, value: Array) -> float:
    with np.errstate(all="ignore"):
        sizes = float(np.linalg.norm(a)) * float(np.linalg.norm(value))
    return float(np.vdot(a, value)) / sizes if 0 < sizes < np.inf else 0.0
