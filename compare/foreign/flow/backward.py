"""Backward: the gradients of a step, by value; one that nothing equals is what stands in its place in the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from compare.foreign import layout
from compare.foreign.convention import Factor, factors
from compare.foreign.flow.multiples import Multiple, Pool, exactest, is_exact, scale_of
from compare.foreign.flow.passes import Pass, Seen
from compare.foreign.flow.products import (
    ADDED,
    IN_PLACE,
    MULTIPLIED,
    SCALED,
    VIEWS,
    alike,
    called,
    is_bent,
    is_of_numbers,
    near,
    root,
)
from compare.foreign.flow.training import TrainingStep
from compare.foreign.layout import View
from compare.foreign.naming.factors import plainness
from compare.foreign.naming.values import cosine, distance, multiple, number, tight
from compare.judging.step import Rule, rules
from compare.network.architecture import Architecture
from compare.network.tensor_name import TensorName
from compare.numbers.allowance import Precision
from compare.operations.linear import Linear
from compare.watching.dataflow import Array, Value, after, before, with_elements

EXACT = Precision.of(np.float64)
PRODUCTS = MULTIPLIED[:6]
SUMS = ("iadd", "add")  # by which gradients are added up
RATES = 8  # numbers that are tried as rates inside a gradient


@dataclass(frozen=True)
class Gradient:
    """A gradient that was seen: `scale` times torch's; `equal` to it, or standing in its place.

    again: it is a multiple of the gradient before it, and nothing else.
    """

    value: Value
    view: View
    scale: float = 1.0
    equal: bool = True
    again: bool = False


@dataclass
class Backward:
    """One step's gradients. tensors: what is known of the step, in float64, by record name."""

    network: Architecture
    step: TrainingStep
    tensors: dict[str, Array]
    targets: Sequence[Value] = ()
    found: dict[str, Gradient] = field(default_factory=dict)
    expected: dict[str, Array] = field(default_factory=dict)  # from the step's own tensors
    multiples: dict[str, list[Multiple]] = field(default_factory=dict)  # of a parameter's gradient, on its way
    assumed: float = 1.0  # the scale of a wrong gradient that no right one comes before

    def search(self) -> None:
        """In order of execution, each from what was found before it."""
        values = dict(self.tensors)
        present = [*values, *(f"{k}.grad_input" for k in range(1, len(self.network.layers)))]
        for rule in rules(self.network, None, 1, present):
            if rule.name in values or any(source not in values for source in rule.sources):
                continue
            with np.errstate(all="ignore"):
                value = rule.compute(*(values[source] for source in rule.sources), p=EXACT).value
            values[rule.name] = value
            if rule.kind != "gradient" or rule.copies or rule.name == "0.grad_input":
                continue
            self.expected[rule.name] = value
            seen = self._seen(rule, value)
            if seen is not None:
                self.found[rule.name] = seen
                if not seen.equal:
                    values[rule.name] = np.asarray(seen.view.array, dtype=np.float64) / seen.scale
        self._without_fused()

    def _without_fused(self) -> None:
        """A derivative of the loss and its last activation at once is no gradient of that activation's output.

        Near an even output the two are nearly multiples of each other.
        """
        k = len(self.network.layers) - 1
        output, entered = self.found.get(f"{k}.grad_output"), self.found.get(f"{k}.grad_input")
        if output is None or entered is None or not entered.equal or root(output.value) is not root(entered.value):
            return
        if not is_exact(Multiple(output.value, output.view, output.scale), self.expected[f"{k}.grad_output"]):
            del self.found[f"{k}.grad_output"]

    def _seen(self, rule: Rule, wanted: Array) -> Gradient | None:
        if not np.any(wanted) and self._is_still(rule.name):
            return self._nothing(wanted)
        if rule.name.part in ("grad_weight", "grad_bias"):
            return self._of_parameter(rule.name, wanted)
        return self._of_samples(rule.name, wanted)

    def _is_still(self, name: TensorName) -> bool:
        """Whether the layer that the gradient is of, or is handed to, stays as it is in a step that moves others."""
        k = int(name.layer) if name.part in ("grad_weight", "grad_bias") else self._linear_before(name)
        return bool(self.step.new) and not any(f"{k}.{part}" in self.step.new for part in ("weight", "bias"))

    # --- what is known ------------------------------------------------------------------------------------------------

    @cached_property
    def known(self) -> list[Factor]:
        return factors(self.step.m, self.network.sizes[-1], tuple(self._rates()))

    def _rates(self) -> list[float]:
        """Numbers of the code by which a gradient may be multiplied before its line is done."""
        counts = {float(self.step.m), float(self.network.sizes[-1]), 1.0, 2.0, 0.5}
        found: dict[float, None] = {}
        numbers = [v for v in self.step.behind if v.size == 1 and v.array.dtype.kind == "f"]
        for value in sorted(numbers, key=lambda v: bool(v.operands)):  # those that change from step to step last
            if not value.operands or is_of_numbers(value):
                found[abs(float(value.array.reshape(-1)[0]))] = None
        return [rate for rate in found if 0 < rate < 1 and rate not in counts][:RATES]

    @cached_property
    def known_of_few(self) -> list[Factor]:
        return factors(self.step.m, self.network.sizes[-1])

    @cached_property
    def behind(self) -> set[int]:
        return {value.time for value in self.step.behind}

    @cached_property
    def aimed(self) -> set[int]:
        """What is computed from the target in this step, not by way of the weights that one before it left."""
        begun = [after(alike(each), self.step.until, self.step.olds) for each in self.targets]
        return {value.time for values in begun for value in values}

    @cached_property
    def later(self) -> list[list[Value]]:
        """Of each pass, what is computed from its last linear layer's output until the step's end."""
        last = max(k for k, layer in enumerate(self.network.layers) if isinstance(layer, Linear))
        ends = [p.tensors[f"{last}.output"].value for p in self.step.passes]
        return [list(after(with_elements(end), self.step.until)) for end in ends]

    @cached_property
    def pools(self) -> list[Pool]:
        return [Pool(values) for values in self.later]

    @cached_property
    def pool(self) -> Pool:
        return Pool(sorted({v.time: v for values in self.later for v in values}.values(), key=lambda v: v.time))

    def delta(self, k: int) -> Array | None:
        """The gradient of linear layer k's output, as it was found, else as it should be."""
        for name in (f"{k}.grad_output", f"{k + 1}.grad_input"):
            if (seen := self.found.get(name)) is not None:
                return np.asarray(seen.view.array, dtype=np.float64) / seen.scale
            if name in self.expected:
                return self.expected[name]
        return None

    def usual(self) -> float:
        """The scale that most of the gradients have that are right, of parameters first."""
        for ends in (("weight", "bias"), ("output", "input")):
            scales = [g.scale for n, g in self.found.items() if g.equal and n.endswith(ends)]
            if scales:
                return max(scales, key=scales.count)
        return self.assumed

    def rescaled(self, scale: float) -> Backward:
        """Searched anew with another scale of a wrong gradient that no right one comes before."""
        again = Backward(self.network, self.step, self.tensors, self.targets, assumed=scale)
        again.search()
        return again

    # --- of samples ---------------------------------------------------------------------------------------------------

    def _of_samples(self, name: TensorName, wanted: Array) -> Gradient | None:
        """What the gradient of the layer's weight is a product of, right or wrong; else by value alone."""
        placed = self._nothing(wanted) or self._in_place_of_samples(name)
        if placed is None:
            return self._by_value(wanted) or self._in_place_of_input(name, wanted) or self._masked(name, wanted)
        judged = self._judged(placed, wanted)
        return judged if judged.equal else self._unused(wanted) or judged

    def _nothing(self, wanted: Array) -> Gradient | None:
        """Where no gradient is left, the zeros that are computed from the target: their products are zeros, too."""
        if np.any(wanted) or len(self.step.passes) > 1:
            return None
        zeros = [v for v in self.pool.sized.get(wanted.size, ()) if v.time in self.aimed and v.time in self.behind]
        found = self._like(Pool(zeros), wanted, self.usual())
        return _gradient(found) if found is not None else None

    def _unused(self, wanted: Array) -> Gradient | None:
        """The right gradient under a name, where the code computes it and goes on with another one."""
        right = self._by_value(wanted)
        return right if right is not None and right.value.names and np.any(wanted) else None

    def _in_place_of_input(self, name: TensorName, wanted: Array) -> Gradient | None:
        """The one product with the linear layer's weight that has the size of its input; with its delta first."""
        k = int(name.layer)
        out = self.found.get(f"{k}.grad_output") or self.found.get(f"{k + 1}.grad_input")
        if name.part != "grad_input" or not isinstance(self.network.layers[k], Linear) or out is None:
            return None
        weight = self.step.old[f"{k}.weight"].value
        if len(self.step.passes) > 1 or wanted.size == weight.size:
            return None
        weights = [root(weight), *([self.step.new[f"{k}.weight"]] if f"{k}.weight" in self.step.new else [])]
        made = self._products(out.value, weights, wanted.size) or self._products(weights[0], weights, wanted.size)
        if made is None:
            return None
        view = next(layout.samples(made.array, *wanted.shape), None)
        return Gradient(made, view, out.scale, equal=False) if view is not None else None

    def _products(self, of: Value, weights: Sequence[Value], size: int) -> Value | None:
        """The one product of a value with a weight that is computed from the target, after the outputs, and used.

        Of a target to which noise is added to make the input, the outputs are computed from it, too.
        """
        first = self.step.passes[0].tensors.items()
        begun = max(s.value.time for n, s in first if n.endswith(".output"))
        views = [of, *(u for u in of.users if u.what in VIEWS)]
        made = {u.time: u for v in views for u in v.users if u.what in PRODUCTS and u.size == size}
        found = [u for u in made.values() if u.time > begun and u.time in self.behind and u.time in self.aimed]
        used = [u for u in found if any(root(o) in weights for o in u.operands)]
        return used[0] if len(used) == 1 else None

    def _masked(self, name: TensorName, wanted: Array) -> Gradient | None:
        """The one product of the gradient after an activation that is zero everywhere, as by a mask."""
        after_it = self.found.get(f"{name.layer}.grad_output") or self.found.get(f"{int(name.layer) + 1}.grad_input")
        if name.part != "grad_input" or after_it is None or len(self.step.passes) > 1:
            return None
        made = [u for u in after_it.value.users if u.what in ("mul", "setitem", "changed") and not np.any(u.array)]
        if len(made) != 1 or made[0].size != wanted.size or made[0].time not in self.behind:
            return None
        view = next(layout.samples(made[0].array, *wanted.shape), None)
        return Gradient(made[0], view, after_it.scale, equal=False) if view is not None else None

    def _judged(self, placed: Gradient, wanted: Array) -> Gradient:
        """By a known factor, it is right."""
        for view in layout.samples(placed.view.array, *wanted.shape):
            scale = scale_of(view.array, wanted, self.known)
            if scale is not None:
                right = replace(placed, view=replace(placed.view, array=view.array), scale=scale, equal=True)
                return self._unscaled(right, wanted)
        return self._first_of(placed, wanted)

    def _unscaled(self, right: Gradient, wanted: Array) -> Gradient:
        """What a gradient was before it was multiplied by a number, where it was one then."""
        value = self._multiple_of(right.value) if len(self.step.passes) == 1 else None
        for view in layout.samples(value.array, *wanted.shape) if value is not None else ():
            scale = scale_of(view.array, wanted, self.known_of_few)
            if value is None or scale is None or scale * right.scale < 0:
                continue
            if plainness(scale, self.known_of_few) < plainness(right.scale, self.known_of_few):
                return Gradient(value, view, scale)
        return right

    def _first_of(self, placed: Gradient, wanted: Array) -> Gradient:
        """The first value that a wrong one is a multiple of, and that is not right: there the mistake is made.

        Of what is a multiple of another gradient, that one, or what was given a second name on the way.
        """
        taken = {each.value.time for each in self.found.values()}
        chain = [placed.value]
        while chain[-1].time not in taken and (before_it := self._multiple_of(chain[-1])) is not None:
            if before_it.time not in taken and self._is_right(before_it, wanted):
                break
            chain.append(before_it)
        again = chain[-1].time in taken
        value = next((v for v in reversed(chain) if again and len(v.names) > 1), chain[-1])
        if value is placed.value or len(self.step.passes) > 1:
            return replace(placed, value=value, again=again)
        views = (v for v in layout.samples(value.array, *placed.view.array.shape) if v.layout == placed.view.layout)
        return replace(placed, value=value, view=next(views, placed.view), again=again)

    def _is_right(self, value: Value, wanted: Array) -> bool:
        views = layout.samples(value.array, *wanted.shape)
        return any(scale_of(view.array, wanted, self.known_of_few) is not None for view in views)

    def _multiple_of(self, value: Value) -> Value | None:
        """The operand that it is a multiple of: all others are numbers, or not computed from the output."""
        operands = [o for o in value.operands if root(o).time in self.pool.times] if value.what not in VIEWS else []
        whole = [o for o in operands if o.array.shape == value.array.shape]
        if len(whole) != 1 or any(o.size > 1 or value.size == 1 for o in operands if o is not whole[0]):
            return None
        if value.size == 1:
            return root(whole[0]) if value.what in ("mul", "truediv") else None
        scale = multiple(value.array, np.asarray(whole[0].array, dtype=np.float64))
        is_multiple = scale is not None and distance(value.array, scale * whole[0].array) <= tight(value.array)
        return root(whole[0]) if is_multiple else None

    def _by_value(self, wanted: Array) -> Gradient | None:
        parts = self._parts(wanted)
        pool, read = self.pools[0], _samples(parts[0])
        first = self._ranked(exactest(list(pool.multiples(parts[0], read, self.known_of_few)), parts[0]))
        if all(target.users for target in self.targets):
            first = [found for found in first if found.value.time in self.aimed]
        for found in first:
            pairs = zip(self.pools[1:], parts[1:], strict=True)
            others = [self._like(pool, part, found.scale, found.value) for pool, part in pairs]
            if all(other is not None for other in others):
                return self._stacked([found, *(o for o in others if o is not None)])
        return None

    def _parts(self, a: Array) -> list[Array]:
        ends = np.cumsum([p.m for p in self.step.passes])[:-1]
        return list(np.split(a, ends))

    def _ranked(self, found: Sequence[Multiple]) -> list[Multiple]:
        """What the update is computed from first; then by the plainness of the factor."""
        rank = lambda m: (  # noqa: E731
            m.value.time not in self.behind,
            m.value.time not in self.aimed,
            plainness(m.scale, self.known_of_few),
            m.value.time,
        )
        return sorted(found, key=rank)

    def _like(self, pool: Pool, wanted: Array, scale: float, beside: Value | None = None) -> Multiple | None:
        """The multiple by the same factor, by the expression that computes the one `beside` first; of zeros, any."""
        if not np.any(wanted):
            zeros = (v for v in pool.sized.get(wanted.size, ()) if not np.any(v.array))
            views = ((v, next(layout.samples(v.array, *wanted.shape), None)) for v in zeros)
            found = [Multiple(v, view, scale) for v, view in views if view is not None]
        else:
            multiples = pool.multiples(wanted, _samples(wanted), self.known_of_few)
            found = exactest([m for m in multiples if abs(m.scale - scale) <= 1e-6 * abs(scale)], wanted)
        site = beside.site if beside is not None else None
        return min(found, key=lambda m: m.value.site != site, default=None)

    def _stacked(self, parts: list[Multiple]) -> Gradient:
        if len(parts) == 1:
            return Gradient(parts[0].value, parts[0].view, parts[0].scale)
        view = replace(parts[0].view, array=np.concatenate([p.view.array for p in parts]))
        return Gradient(parts[-1].value, view, parts[0].scale)

    def _in_place_of_samples(self, name: TensorName) -> Gradient | None:
        """What the gradient of a weight is a product of, beside the layer's input."""
        k = self._linear_before(name)
        if k is None:
            return None
        found = [self._delta(k, n) for n in range(len(self.step.passes))]
        found = [each or self._at_the_place_of(found, n) for n, each in enumerate(found)]
        if any(each is None for each in found):
            return None
        scale = self._scale_before(found[-1][0] if found[-1] is not None else None)
        made = self._stacked([Multiple(v, view, scale) for v, view in found if v is not None])  # type: ignore[misc]
        return replace(made, equal=False)

    def _at_the_place_of(self, others: Sequence[tuple[Value, View] | None], n: int) -> tuple[Value, View] | None:
        """Of a pass whose products are all zero: what is computed where that of another pass is."""
        like = next((each for each in others if each is not None), None)
        if like is None or like[0].site is None:
            return None
        there = (v for v in self.later[n] if v.site == like[0].site and v.size == like[0].size)
        views = ((v, next(layout.samples(v.array, *like[1].array.shape), None)) for v in there)
        return next(((v, view) for v, view in views if view is not None), None)

    def _scale_before(self, value: Value | None) -> float:
        """The scale of the last gradient of samples: this one is computed from it."""
        found = [(n, g) for n, g in self.found.items() if n.endswith((".grad_output", ".grad_input"))]
        return self._leading_to(value, *found[-1]) if found and found[-1][1].equal else self.usual()

    def _leading_to(self, value: Value | None, name: str, found: Gradient) -> float:
        """The scale of the last multiple of a gradient that a value is computed from: of 2 (y - t), not of y - t."""
        if value is None or len(self.step.passes) > 1:
            return found.scale
        behind, wanted = {v.time for v in before([value], [found.value])}, self.expected[name]
        known = self.pool.multiples(wanted, _samples(wanted), self.known_of_few)
        later = [m for m in known if m.value.time in behind and m.value.time > found.value.time]
        return later[-1].scale if later else found.scale

    def _linear_before(self, name: TensorName) -> int | None:
        """The linear layer whose output's gradient this is."""
        k = int(name.layer)
        if name.part == "grad_output":
            return k if isinstance(self.network.layers[k], Linear) else None
        return k - 1 if k and isinstance(self.network.layers[k - 1], Linear) else None

    def _delta(self, k: int, n: int) -> tuple[Value, View] | None:
        """Of pass n: an operand of the weight's gradient, or of the bias's, that is computed from the output."""
        each, layer = self.step.passes[n], self.network.layers[k]
        assert isinstance(layer, Linear)
        computed = {v.time for v in self.later[n]}
        entering = self._entering(each, k)
        size, shape = each.m * layer.out_features, (each.m, layer.out_features)
        unsure: dict[int, tuple[Value, View]] = {}
        for value in self._moving(k, "weight"):
            if value.time not in computed or not np.any(value.array):  # a product with zeros tells nothing
                continue
            for o in near(value):
                if o.size != size or o.time not in computed or o.array.dtype.kind != "f":
                    continue
                for view in layout.samples(o.array, *shape):
                    if self._is_product(value, view, entering, k):
                        return _rooted(o, view)
                    unsure.setdefault(root(o).time, (o, view))
        for value in self._moving(k, "bias"):
            is_sum = each.m > 1 or value.what == "call:sum"  # of one sample, anything may be the sum
            for o in near(value) if is_sum and value.time in computed else ():
                if o.size == size and o.time in computed and o.array.dtype.kind == "f":
                    for view in layout.samples(o.array, *shape):
                        if self._is_multiple(value.array.reshape(-1), view.array.sum(axis=0)):
                            return _rooted(o, view)
        is_shown = each.m > 1 or bool(unsure) or len(self.step.passes) > 1 or np.any(entering)
        if not is_shown and (moving := self._moving(k, "bias")) and not any(map(_is_no_multiple, moving)):
            read = next(layout.samples(moving[-1].array, *shape), None)  # a sample of zeros shows no weight's gradient
            return (moving[-1], read) if read is not None and moving[-1].time in computed else None
        forward = {id(s.value.array) for s in each.tensors.values()}
        left = [pair for pair in unsure.values() if id(root(pair[0]).array) not in forward]
        return left[0] if len(left) == 1 else None

    def _entering(self, each: Pass, k: int) -> Array:
        seen = each.tensors.get("input" if k == 0 else f"{k - 1}.output")
        return np.asarray(seen.view.array, dtype=np.float64) if seen else np.empty((0, 0))

    def _is_product(self, value: Value, delta: View, entering: Array, k: int) -> bool:
        if len(entering) != len(delta.array):
            return False
        wanted = delta.array.T @ entering
        weight = self.step.old[f"{k}.weight"].view
        view = layout.like(value.array, weight)
        return view is not None and self._is_multiple(view.array, wanted)

    def _is_multiple(self, a: Array, wanted: Array) -> bool:
        return a.shape == wanted.shape and scale_of(a, wanted, self.known) is not None

    def _moving(self, k: int, part: str) -> list[Value]:
        """Values of the parameter's size from which its new value is computed, or, without one, all of them."""
        old = self.step.old.get(f"{k}.{part}")
        if old is None:
            return []
        size = old.value.size
        new = self.step.new.get(f"{k}.{part}")
        if new is None and self.step.left is None:
            return self.pool.sized.get(size, [])
        if new is None:
            left = before([v for v in self.step.left or () if v.size == size], self.step.olds)
            return [v for v in left if v.size == size]
        found = [v for v in before([new], self.step.olds) if v.size == size and v is not new]
        made = [v for v in found if v.what not in ("", "bind") and v.time in self.pool.times]
        return [v for v in made if not _is_of(v, root(old.value))]

    # --- of parameters ------------------------------------------------------------------------------------------------

    def _of_parameter(self, name: TensorName, wanted: Array) -> Gradient | None:
        old = self.step.old.get(name.parameter)
        weight = self.step.old.get(TensorName.of(name.layer, "weight"))
        if old is None or weight is None:
            return None
        moving = self._moving(int(name.layer), name.parameter.part)
        read = self._reading(name, weight.view)
        more = old.value.size - wanted.size
        pool = Pool(moving)
        found = exactest(list(pool.multiples(wanted, read, self.known, more)), wanted)
        found = [m for m in found if m.value.time in self.aimed] or found  # beside a target of 0, the output is p - t
        if not found:  # it may be computed and not be used
            everywhere = self.pool.multiples(wanted, read, self.known_of_few, more) if np.any(wanted) else iter(())
            is_moved = name.parameter in self.step.new
            found = [m for m in everywhere if m.value.names or not is_moved]
        if found:
            self.multiples[name] = found
            left = [each for each in found if each.value in (self.step.left or ())]
            shares = [each.value for each in found if _is_share(each.value)]
            made_of_them = {v.time for v in (*shares, *after(shares, self.step.until))} if shares else set()
            whole = [each for each in left or found if each.value.time not in made_of_them]
            return _gradient(self._plainest(whole or left or found))
        return self._in_place_of_parameter(wanted, read, self._from_delta(int(name.layer), moving))

    def _from_delta(self, k: int, moving: list[Value]) -> list[Value]:
        """Those computed from the gradient of the layer's output, and that itself, which one sample's bias has."""
        delta = self.found.get(f"{k}.grad_output") or self.found.get(f"{k + 1}.grad_input")
        if delta is None or len(self.step.passes) > 1:
            return moving
        later = {v.time for v in after(with_elements(delta.value), self.step.until)}
        return [v for v in moving if v.time in later] or moving

    def whole(self, name: TensorName, wanted: Array) -> Gradient | None:
        """A parameter's gradient with a penalty in it."""
        weight = self.step.old[TensorName.of(name.layer, "weight")].view
        more = self.step.old[name].value.size - wanted.size
        pool, read = Pool(self._moving(int(name.layer), name.part)), self._reading(name.gradient, weight)
        found = list(pool.multiples(wanted, read, self.known, more))
        return _gradient(self._plainest(found)) if found else None

    def sampled(self, name: TensorName, scale: float) -> Gradient | None:
        """Another value that is a gradient of samples, on this scale, and goes into the step."""
        found = self.found.get(name)
        if found is None or len(self.step.passes) > 1:
            return None
        wanted = np.asarray(found.view.array, dtype=np.float64) / found.scale
        known = self.pool.multiples(wanted, _samples(wanted), self.known_of_few)
        held = (m for m in known if abs(m.scale - scale) <= 1e-9 * abs(scale) and m.value.time in self.behind)
        return next((_gradient(m) for m in held), None)

    def times(self, name: TensorName, factor: float) -> Gradient | None:
        """The first value that is this many times the gradient, on its way into the parameter."""
        found = self.found[name]
        for value in self._moving(int(name.layer), name.parameter.part):
            if value.time > found.value.time and value.array.shape == found.value.array.shape:
                share = factor / found.scale
                if distance(value.array, share * found.value.array) <= tight(value.array):
                    view = replace(found.view, array=share * found.view.array)
                    return replace(found, value=value, scale=factor, view=view)
        return None

    def reordered(self, name: TensorName) -> Gradient | None:
        """What the parameter moves by that has the gradient's numbers in another order, as transposed."""
        found, old = self.found[name], self.step.old[name.parameter]
        own = np.sort(np.abs(found.view.array), axis=None)
        for value in self._moving(int(name.layer), name.parameter.part):
            if value.size != own.size or value.time < found.value.time or value is found.value:
                continue
            scale = scale_of(np.sort(np.abs(value.array), axis=None), own, self.known_of_few)
            view = layout.like(value.array, old.view) if name.part == "grad_weight" else None
            if scale is None or view is None or scale_of(view.array, found.view.array, self.known) is not None:
                continue
            return Gradient(value, view, found.scale * scale, equal=False)
        return None

    def _reading(self, name: TensorName, weight: View):  # type: ignore[no-untyped-def]
        if name.part == "grad_weight":
            return lambda a: (v for v in (layout.like(a, weight),) if v is not None)
        if weight.bias is None:
            return lambda a: layout.biases(a, self.step.old[name.parameter].value.size)
        like = lambda a: layout.like(a, weight)  # noqa: E731
        return lambda a: (View(v.bias, v.layout) for v in (like(a),) if v is not None and v.bias is not None)

    def _plainest(self, found: list[Multiple]) -> Multiple:
        """The plainest factor that is no learning rate, and the first of these; or what it is stored in, by name.

        Of what has another sign, a name first.
        """
        if all(m.scale * self.usual() < 0 for m in found):
            return min(found, key=lambda m: (not m.value.names, m.value.time))
        plain = min(plainness(m.scale, self.known_of_few) for m in found)
        first, *later = sorted(
            (m for m in found if plainness(m.scale, self.known_of_few) == plain), key=lambda m: m.value.time
        )
        for m in later:  # a last summand may be no more than a rounding
            if m.value.what in SUMS and m.value.operands[0] is first.value:
                first = m
        stored = (m for m in later if m.value.names and (m.value.is_changed or m.value.what in IN_PLACE))
        return first if first.value.names else next(stored, first)

    def _in_place_of_parameter(self, wanted: Array, read, moving: list[Value]) -> Gradient | None:  # type: ignore[no-untyped-def]
        """The first of its size that is computed from the target, added up where it is; none of no such value."""
        moving = [v for v in moving if v.time in self.aimed] or moving
        left = {v.time for v in self.step.left or () if v.operands and v.operands[0].size != v.size}
        made = [v for v in moving if v.what == "gather" or root(v) is v or v.time in left]
        views = [(v, next(read(v.array), None)) for v in made]
        held = [(v, view) for v, view in views if view is not None and view.array.shape == wanted.shape]
        taken = {found.value.time for found in self.found.values()}
        held = [pair for pair in held if pair[0].time not in taken] or held  # of one sample, a bias's has two names
        if not np.any(wanted):  # what is none is no multiple, and is right if it is none
            zeros = [pair for pair in held if not np.any(pair[1].array)]
            return Gradient(*zeros[0], self.usual()) if zeros else None
        held = [pair for pair in held if not self._adds_penalty(pair[0])] or held
        if not held:
            return None
        if len(self.step.passes) > 1 or any(v.what in ("gather", "changed") for v, _ in held):
            sums = [pair for pair in held if pair[0].what in SUMS]
            added = {v.operands[0].time for v, _ in sums}
            ends = [(v, view) for v, view in sums if v.time not in added]
            best = max(ends or held, key=lambda pair: (round(abs(cosine(pair[1].array, wanted)), 9), -pair[0].time))
        else:
            best = held[0]
        return Gradient(best[0], best[1], self.usual(), equal=False)

    def _adds_penalty(self, value: Value) -> bool:
        """Whether it is a sum with something that is computed from parameters, and from no target."""
        beside = [o for o in value.operands if o.time not in self.aimed] if value.what in ADDED else []
        olds = {old.time for old in self.step.olds}
        return any(o.time in olds for v in before(beside, self.step.olds) for o in v.operands)


def _gradient(found: Multiple) -> Gradient:
    return Gradient(found.value, found.view, found.scale)


def _is_no_multiple(value: Value) -> bool:
    """Whether it may be none of what it is made of, or one by a number from data, as a norm is."""
    is_scaled = not called([value]).isdisjoint(SCALED)
    numbers = [o for o in value.operands if o.size == 1 < value.size] if is_scaled else []
    return is_bent([value]) or not all(map(is_of_numbers, numbers))


def _is_share(value: Value) -> bool:
    """Whether it is a gradient times 0.1 or 1 - 0.9, which is a rate or a moving average's and not one over a count."""
    if value.what not in ("mul", "imul"):
        return False
    beside = (o for o in value.operands if o.size < value.size and o.what in ("sub", "bind") and is_of_numbers(o))
    return any(0 < c < 1 for c in (*value.constants, *(number(o.array) for o in beside if o.size == 1)))


def _rooted(value: Value, view: View) -> tuple[Value, View]:
    """What it is a view of, where that holds the same samples."""
    of = root(value)
    same = (v for v in layout.samples(of.array, *view.array.shape) if np.array_equal(v.array, view.array))
    found = next(same, None)
    return (of, found) if found is not None else (value, view)


def _is_of(value: Value, old: Value) -> bool:
    """Whether it is what the parameter was on its way to its new value."""
    while value is not old and (value.is_changed or value.what in IN_PLACE) and value.operands:
        value = value.operands[0]
    return value is old


def _samples(wanted: Array):  # type: ignore[no-untyped-def]
    return lambda a: layout.samples(a, *wanted.shape)


def stacked(passes: Sequence[Pass]) -> dict[str, Seen]:
    """The forward tensors of several passes, one after the other; parameters as the first has them."""
    first = passes[0]
    if len(passes) == 1:
        return dict(first.tensors)
    made: dict[str, Seen] = {}
    for name, seen in first.tensors.items():
        if name.endswith((".weight", ".bias")):
            made[name] = seen
        elif all(name in p.tensors for p in passes):
            parts = [p.tensors[name] for p in passes]
            view = replace(seen.view, array=np.concatenate([part.view.array for part in parts]))
            made[name] = Seen(parts[-1].value, view, all(part.equal for part in parts))
    return made


def plain(tensors: Mapping[str, Seen]) -> dict[str, Array]:
    """As the rules take them: class numbers as they are, anything else in float64."""
    return {
        n: s.view.array if n == "target" and s.view.array.ndim == 1 else np.asarray(s.view.array, dtype=np.float64)
        for n, s in tensors.items()
    }
