"""Sweep: one training step judged tensor by tensor, in order of execution, by the strictest check its neighbours allow.

Isolated: the reference computes the tensor from the candidate's own bits, so that a fault shows where it is made and
nowhere else. Spanning: where tensors between are absent, the reference computes across the gap. Wiring: what entered
is what left, and the input, target and weights are those that were given. Update: the parameters after the
optimiser's step. Side effects: what backward changed although it should not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compare.architecture import new_value_of
from compare.record import Record
from compare.reference import STATES, Expected, state_names
from compare.report import Row
from compare.step import Check, Kind, Rule
from compare.tolerance import Allowance, Precision, exact

Array = NDArray[Any]

TWINS = 8
SPREAD = 4.0  # x the largest deviation of the twins


@dataclass
class Known:
    """A tensor that rules can be computed from: the candidate's own, or the reference's where it was absent.

    `twins` are its values in twin runs moved by the allowances on the way, and `allowance` how far a correct one may be
    from it; neither where it is the candidate's own.
    """

    array: Array
    dtypes: frozenset[np.dtype[Any]]  # its own; where it was absent, all that it may have had
    twins: list[Array] | None = None
    allowance: Allowance | None = None

    @property
    def value(self) -> Array:
        """In float64, made anew each time: all layers of a large network at once would need twice its memory."""
        return self.array.astype(np.float64, copy=False) if self.array.dtype.kind == "f" else self.array


@dataclass(frozen=True)
class Wrong:
    """What a diagnosis needs of a tensor that is off."""

    got: Array
    expected: Expected
    precision: Precision
    rule: Rule


class Sweep:
    """One step, judged in order of execution. `wrong` holds, by check and name, what was off."""

    def __init__(self, record: Record, step_rules: Sequence[Rule], given: Mapping[str, Array]) -> None:
        self.record, self.rules, self.given = record, step_rules, given
        self.known: dict[str, Known] = {}
        self.dtype = record.dtype  # asked for at every tensor, and found by looking at all of them
        self.rng = np.random.default_rng(0)
        self.wrong: dict[tuple[str, str], Wrong] = {}
        self.ambiguous = 0  # pre-activations within their allowance of a ReLU's kink

    def rows(self) -> list[Row]:
        """One row for each tensor of the record that a rule or a given value speaks about, then the side effects."""
        found = [row for name in roots(self.record) for row in self._root(name)]
        found += [row for rule in self.rules for row in self._follow(rule)]
        return found + self._updates_of_unknown_optimizer() + self._side_effects()

    def judgement(self, check: str, name: str) -> Wrong:
        """What a tensor was held against; computed once more if it was right."""
        if (check, name) in self.wrong:
            return self.wrong[(check, name)]
        got = self.record.unscaled(name)
        rule = next((rule for rule in self.rules if rule.name == name), None)
        if rule is None or check == "side_effects":
            wanted = np.asarray(self.given.get(name, got))
            expected = Expected(wanted, exact(wanted.shape))
            rule = _constant(name, "wiring", f"{name} as it was given", expected)
            return Wrong(got, expected, Precision.of(self.dtype), rule)
        precision = self.precision_of(rule)
        expected = rule.compute(*(self.known[source].value for source in rule.sources), p=precision)
        return Wrong(got, expected, precision, rule)

    def _root(self, name: str) -> list[Row]:
        if name in self.record:
            self._recall(name)
        elif name in self.given:
            self._remember(name, self.given[name])
        if name not in self.record:
            return []
        wanted, found = shape_of(self.record, name, self._batch()), self.record[name].shape
        if wanted is not None and found != wanted:
            rule = _constant(name, "wiring", f"{name} as it was given", Expected(self.record[name], exact(found)))
            return [off(self.record, rule, f"shape {found}, expected {wanted}")]
        if name not in self.given:
            return []
        return [self._unchanged(name, self.record[name], self.given[name], "wiring", f"{name} as it was given")]

    def _unchanged(self, name: str, got: Array, wanted: Array, check: Check, formula: str) -> Row:
        expected = Expected(np.asarray(wanted), exact(np.shape(wanted)))
        rule = _constant(name, check, formula, expected)
        return self._judge(rule, np.asarray(got), expected, check, Precision.of(self.dtype))

    def _remember(self, name: str, a: Array, dtype: np.dtype[Any] | None = None) -> None:
        a = np.asarray(a)
        self.known[name] = Known(a, frozenset({dtype or a.dtype} if a.dtype.kind == "f" else ()))

    def _recall(self, name: str) -> None:
        """The candidate's own tensor, in torch's scale."""
        self._remember(name, self.record.unscaled(name), self.record[name].dtype)

    def _follow(self, rule: Rule) -> list[Row]:
        """Judge the rule's tensor if it was handed in; stand in for it if not."""
        missing = [source for source in rule.sources if source not in self.known]
        present = rule.name in self.record
        if present and missing:
            self._recall(rule.name)
            return [unjudged(self.record, rule, f"{', '.join(missing)} was not handed in")]
        if missing:
            return []
        if rule.name in self.record.nothing:
            return [unjudged(self.record, rule, self.record.nothing[rule.name])]
        try:
            with np.errstate(all="ignore"):
                return self._judge_or_stand_in(rule, present)
        except ShapeMismatch as error:
            return [self._misshapen(rule, str(error))] if present else []

    def _judge_or_stand_in(self, rule: Rule, present: bool) -> list[Row]:
        self._expect_shapes(rule)
        precision = self.precision_of(rule)
        sources = [self.known[source] for source in rule.sources]
        expected = rule.compute(*(s.value for s in sources), p=precision)
        twins = self._twins(rule, sources, precision)
        allowance = expected.allowance
        if rule.kinked:
            near = (np.abs(expected.value) <= allowance.wide) & (allowance.wide > 0)
            self.ambiguous += int(near.sum())
        check: Check = rule.check
        if twins is not None:
            allowance = (rule.copies and sources[0].allowance) or _widened(expected, twins)
            check = "spanning" if rule.check == "isolated" else rule.check
        if not present:
            self._stand_in(rule, expected, allowance, twins, sources)
            return []
        self._recall(rule.name)

        def sound() -> bool:
            return all(bool(np.isfinite(s.array).all()) for s in sources)

        expected = replace(expected, allowance=self._for_scale(rule, expected.value, allowance, precision))
        row = self._judge(rule, self.record.unscaled(rule.name), expected, check, precision, sound)
        return [self._in_its_dtype(row, rule)]

    def _in_its_dtype(self, row: Row, rule: Rule) -> Row:
        """Off, if it is not in the float dtype that what it is computed from gives it; what is off already stays so.

        The target does not count: a target in another dtype must not promote a gradient.
        """
        found, allowed = self.record[rule.name].dtype, self._dtypes(rule)
        plain = rule.name == "loss" and self.record.plain_loss and found == np.float64
        if found.kind != "f" or not allowed or found in allowed or plain:
            return row
        self.known[rule.name].dtypes |= allowed  # said once: what follows from it may be in either
        if row.status == "off":
            return row
        return off(self.record, rule, f"{found}, expected {' or '.join(sorted(map(str, allowed)))}", row.check)

    def _dtypes(self, rule: Rule) -> frozenset[np.dtype[Any]]:
        """The float dtypes of what it is computed from."""
        known = [self.known[s].dtypes for s in rule.sources if s != "target" and s in self.known]
        return frozenset().union(*known)

    def _judge(
        self,
        rule: Rule,
        got: Array,
        expected: Expected,
        check: Check,
        p: Precision,
        sound: Callable[[], bool] = lambda: True,
    ) -> Row:
        row = judge(self.record, rule, got, expected, check, p, sound)
        if row.status == "off":
            self.wrong[(check, rule.name)] = Wrong(np.asarray(got), expected, p, rule)
        return row

    def _for_scale(self, rule: Rule, value: Array, allowance: Allowance, p: Precision) -> Allowance:
        """What a scale costs: the reference's division of sources and tensor, and the candidate's own multiplication.

        Divided in float64, each operand carries one rounding of float64 more; every allowance that is not 0 has at
        least three of the candidate's, so a third is added. Where the candidate changes the scale, that is a factor in
        at most two roundings.
        """
        scales = {name: self.record.scales.get(name, 1.0) for name in (*rule.sources, rule.name)}
        if all(s == 1 for s in scales.values()) and rule.name not in self.record.slack:
            return allowance
        extra = self.record.slack.get(rule.name, 0.0) / abs(scales[rule.name])
        before = {s for name, s in scales.items() if ".grad_" in name and name != rule.name} or {1.0}
        if scales[rule.name] not in before:
            extra = extra + 2 * p.u * np.abs(value)
        return allowance.widened(extra, by=4 / 3 if p.dtype == np.float64 else 1.0)

    def precision_of(self, rule: Rule) -> Precision:
        """A computation is as fine as its finest operand (NumPy's promotion), and no finer than its result."""
        result = self.record[rule.name].dtype if rule.name in self.record else None
        finest = max(self._dtypes(rule), key=lambda d: d.itemsize, default=self.dtype)
        coarser = min((d for d in (finest, result) if d is not None and d.kind == "f"), key=lambda d: d.itemsize)
        return Precision.of(coarser if coarser.itemsize >= 4 else self.dtype)

    def _twins(self, rule: Rule, sources: Sequence[Known], p: Precision) -> list[Array] | None:
        """The rule on the sources' twins, where there are any."""
        if all(s.twins is None for s in sources):
            return None
        return [rule.compute(*(s.twins[i] if s.twins else s.value for s in sources), p=p).value for i in range(TWINS)]

    def _stand_in(
        self, rule: Rule, expected: Expected, allowance: Allowance, twins: list[Array] | None, sources: Sequence[Known]
    ) -> None:
        """Go on with the reference's value, and with twins that each rounding may have moved either way."""
        dtypes = self._dtypes(rule) or frozenset({self.dtype})
        if rule.copies:
            self.known[rule.name] = Known(expected.value, dtypes, sources[0].twins, sources[0].allowance)
            return
        own = expected.allowance.bound()
        moved = [v + self._moves(own.shape) * own for v in (twins or [expected.value] * TWINS)]
        if rule.kinked:
            moved = [self._either_side(v, expected.value, allowance.bound()) for v in moved]
        self.known[rule.name] = Known(expected.value, dtypes, moved, allowance)

    def _moves(self, shape: tuple[int, ...]) -> Array:
        """A random sign times 1/2 to 1: with 1 alone, two equal allowances in a row cancel in 1 of 2^TWINS elements."""
        return self._signs(shape) * self.rng.uniform(0.5, 1, shape)

    def _signs(self, shape: tuple[int, ...]) -> Array:
        return self.rng.choice([-1.0, 1.0], shape)

    def _either_side(self, twin: Array, z: Array, allowed: Array) -> Array:
        """Where z is within its allowance of ReLU's kink, the twin is put on either side of it at random."""
        ambiguous = (np.abs(z) <= allowed) & (allowed > 0)
        away = np.maximum(np.abs(twin), np.finfo(np.float64).tiny)
        return np.where(ambiguous, self._signs(z.shape) * away, twin)

    def _expect_shapes(self, rule: Rule) -> None:
        """The sources must have the shapes that the network gives them; nothing is broadcast or transposed."""
        for source in rule.sources:
            wanted = shape_of(self.record, source, self._batch())
            found = self.known[source].array.shape
            if wanted is not None and found != wanted:
                raise ShapeMismatch(f"{source} has shape {found}, expected {wanted}")

    def _batch(self) -> int:
        x = self.known.get("input")
        return len(x.array) if x is not None and x.array.ndim else -1

    def _misshapen(self, rule: Rule, why: str) -> Row:
        self._recall(rule.name)
        wanted = shape_of(self.record, rule.name, self._batch())
        found = self.record[rule.name].shape
        if wanted is not None and found != wanted:
            return off(self.record, rule, f"shape {found}, expected {wanted}")
        return unjudged(self.record, rule, why)

    def _updates_of_unknown_optimizer(self) -> list[Row]:
        names = updated_names(self.record) if self.record.optimizer is None else []
        rule = [_constant(n, "update", "", Expected(self.record[n], exact(self.record[n].shape))) for n in names]
        return [unjudged(self.record, r, "the optimiser was not named") for r in rule]

    def _side_effects(self) -> list[Row]:
        touched = {} if self.record.told else self.record.touched
        return [
            self._unchanged(name, after, self.record[name], "side_effects", self._left(name))
            for name, after in touched.items()
        ]

    def _left(self, name: str) -> str:
        return f"{self.record.changed_by.get(name, 'backward')} leaves {name} as it was"


def judgement(row: Row, sweeps: Sequence[Sweep]) -> Wrong:
    """What a row's tensor was held against."""
    sweep = next(sweep for sweep in sweeps if sweep.record.step == row.step)
    return sweep.judgement(row.check, row.tensor)


def _constant(name: str, check: Check, formula: str, expected: Expected) -> Rule:
    """The rule for a tensor that is known beforehand."""
    return Rule(name, _layer_of(name), _kind_of(name), check, (), lambda p: expected, formula)


class ShapeMismatch(ValueError):
    """A source's shape is not what the network gives it."""


def _widened(expected: Expected, twins: Sequence[Array]) -> Allowance:
    """4 x the largest deviation of the twins, plus the last operation's own allowance."""
    spread = SPREAD * np.max([np.abs(t - expected.value) for t in twins], axis=0)
    return expected.allowance.widened(spread)


def _layer_of(name: str) -> str:
    head = name.partition(".")[0]
    return head if head.isdigit() else ("0" if name == "input" else "loss")


def _kind_of(name: str) -> Kind:
    last = name.rpartition(".")[2]
    if name in ("input", "target") or last == "input":
        return "input"
    if last.startswith("grad_"):
        return "gradient"
    if last == "output":
        return "output"
    return "parameter" if last in ("weight", "bias") else "update"


def shape_of(record: Record, name: str, m: int) -> tuple[int, ...] | None:
    """The shape that the network gives a tensor, for m rows; None where it gives none (target, state)."""
    if name == "loss":
        return ()
    parameters = record.network.parameters()
    layer, _, part = name.partition(".")
    plain = part.split(".")[0].removeprefix("grad_").removeprefix("new_")
    if f"{layer}.{plain}" in parameters:
        return parameters[f"{layer}.{plain}"]
    widths = _widths(record)
    if name == "input":
        return (m, widths[0])
    if part in ("output", "grad_output"):
        return (m, widths[int(layer) + 1])
    if part in ("input", "grad_input"):
        return (m, widths[int(layer)])
    return None


def _widths(record: Record) -> list[int]:
    """Columns of the input, then of every layer's output."""
    first = next((layer.in_features for layer in record.network.layers if layer.kind == "linear"), 0)
    found = [first]
    for layer in record.network.layers:
        found.append(layer.out_features if layer.kind == "linear" else found[-1])
    return found


def roots(record: Record) -> list[str]:
    """Tensors that follow from no other of the step: input, target, weights, the optimiser's state before."""
    parameters, optimizer = record.network.parameters(), record.optimizer
    kept = state_names(optimizer.kind, optimizer.options) if optimizer else ()
    state = [f"{name}.{part}" for name in parameters for part in kept]
    return ["input", "target", *parameters, *(name for name in state if name in record)]


def updated_names(record: Record) -> list[str]:
    """The parameters after the step, and the optimiser's state after it, that the record holds."""
    new = [new_value_of(name) for name in record.network.parameters()]
    known = {*new, *(f"{name}.{part}" for name in new for part in STATES)}
    return [name for name in record if name in known]


# --- judging ----------------------------------------------------------------------------------------------------------


BLOCK = 1 << 16  # elements judged at a time: what is computed of them stays in the processor's cache


@dataclass(frozen=True)
class Finding:
    """How far a tensor is from the expected one: at its worst element, and in all."""

    difference: float  # the largest one
    worst: tuple[int, ...]
    allowed: float  # there
    ratio: float  # there
    status: str = "ok"
    note: str = ""
    wrong: int = 0


def judge(
    record: Record,
    rule: Rule,
    got: Array,
    expected: Expected,
    check: str,
    p: Precision,
    sound: Callable[[], bool] = lambda: True,
) -> Row:
    """One row: the candidate's tensor against the expected one. NaN never passes, nothing is broadcast.

    `sound` says whether all that it is computed from is finite.
    """
    got = np.asarray(got)
    if got.shape != expected.value.shape:
        return off(record, rule, f"shape {got.shape}, expected {expected.value.shape}", check)
    with np.errstate(all="ignore"):
        found = _within(got, expected) or _measured(got, expected, p, sound)
    return Row(
        record.step,
        rule.layer,
        rule.kind,
        rule.name,
        got.shape,
        check,
        found.difference,
        found.worst,
        found.allowed,
        found.ratio,
        found.status,
        found.note,
        rule.formula,
        found=float(got[found.worst]) if got.size else float("nan"),
        expected=float(expected.value[found.worst]) if got.size else float("nan"),
        wrong=found.wrong,
    )


def _within(got: Array, expected: Expected) -> Finding | None:
    """Of a tensor that lies within its bound, in blocks of rows; None if anything is exceeded or not finite."""
    worst, largest = Finding(0.0, (), 0.0, -1.0), 0.0
    for start, rows in _blocks(got):
        block = _block_within(got[rows], expected.value[rows], expected.allowance.rows(rows), start)
        if block is None:
            return None
        largest = max(largest, block.difference)
        worst = block if block.ratio > worst.ratio else worst
    return replace(worst, difference=largest) if got.size else None


def _blocks(a: Array) -> Iterator[tuple[int, Any]]:
    """(first row, rows) of at most BLOCK elements, or of one row."""
    if a.size <= BLOCK:
        yield 0, ...
        return
    rows = max(1, BLOCK * len(a) // a.size)
    for start in range(0, len(a), rows):
        yield start, slice(start, start + rows)


def _block_within(got: Array, value: Array, allowance: Allowance, start: int) -> Finding | None:
    if not got.size:
        return None
    difference = np.asarray(np.subtract(got, value, dtype=np.float64))
    np.abs(difference, out=difference)
    largest = float(difference.max())
    allowed = allowance.wide if allowance.sharp is None else allowance.sharp
    if not (largest < np.inf and allowed.max() < np.inf):  # nor NaN
        return None
    if largest > 0:
        np.divide(difference, allowed, out=difference, where=True if allowed.min() > 0 else difference > 0)
    at = np.unravel_index(int(difference.argmax()), got.shape)
    ratio = float(difference[at])
    if not ratio < 1:
        return None
    worst = tuple(int(i) for i in at)
    return Finding(largest, (worst[0] + start, *worst[1:]) if worst else (), float(allowed[at]), ratio)


def _measured(got: Array, expected: Expected, p: Precision, sound: Callable[[], bool]) -> Finding:
    """Of any tensor, element by element."""
    value = expected.value.astype(np.float64)
    difference = np.abs(got.astype(np.float64) - value)
    allowed = expected.allowance.for_difference(np.where(np.isnan(difference), 0, difference))
    reach = np.maximum(np.abs(value), expected.allowance.reach)
    undecided = _undecided(got, value, allowed, reach, p.largest / expected.headroom, sound())
    wrong = ~undecided & ~(difference <= allowed)
    ratio = np.where(difference <= 0, 0.0, difference / allowed)
    ratio = np.where(undecided, -1.0, np.where(np.isnan(ratio), np.inf, ratio))
    status = "off" if wrong.any() else "not checked" if undecided.any() or not ratio.size else "ok"
    note = _note(got, undecided, wrong)
    finite = difference[np.isfinite(difference)]
    largest = float(finite.max(initial=0.0)) if np.isfinite(difference[wrong]).all() else float("nan")
    if not ratio.size:
        return Finding(largest, (), 0.0, 0.0, status, note)
    at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    worst, above = tuple(int(i) for i in at), max(float(ratio[at]), 0.0)
    return Finding(largest, worst, float(allowed[at]), above, status, note, int(wrong.sum()))


def _undecided(got: Array, value: Array, allowed: Array, reach: Array, largest: float, sound: bool) -> Array:
    """Where neither side can be held against the other: the same non-finite value; an overflow, in the candidate's
    precision, of a value that float64 can hold, or on the way to it; anything not finite that follows from what was not
    finite before."""
    with np.errstate(all="ignore"):
        got = got.astype(np.float64)
        same = (np.isnan(got) & np.isnan(value)) | (np.isinf(got) & (got == value))
        overflow = ~np.isfinite(got) & np.isfinite(value) & (reach + allowed >= largest)
        inherited = (~np.isfinite(got) | ~np.isfinite(value)) & (not sound)
        boundless = np.isfinite(got) & np.isfinite(value) & ~np.isfinite(allowed)
    undecided: Array = same | overflow | inherited | boundless
    return undecided


def _note(got: Array, undecided: Array, wrong: Array) -> str:
    if not got.size:
        return "no elements"
    bad = wrong & ~np.isfinite(got.astype(np.float64))
    if bad.any():
        return f"{int(bad.sum())} of {got.size} elements are NaN or infinite"
    if undecided.any():
        return f"{int(undecided.sum())} of {got.size} elements overflow or are NaN on both sides"
    return f"{int(wrong.sum())} of {got.size} elements" if wrong.any() else ""


def off(record: Record, rule: Rule, note: str, check: str | None = None) -> Row:
    """A row for a tensor that cannot be right whatever its values."""
    nan = float("nan")
    shape = record[rule.name].shape if rule.name in record else ()
    return Row(
        record.step,
        rule.layer,
        rule.kind,
        rule.name,
        shape,
        check or rule.check,
        nan,
        (),
        nan,
        nan,
        "off",
        note,
        rule.formula,
    )


def unjudged(record: Record, rule: Rule, note: str) -> Row:
    """A row for a tensor that could not be judged, and why."""
    return replace(off(record, rule, note), status="not checked")
