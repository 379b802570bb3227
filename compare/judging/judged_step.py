"""Judged step: each tensor of one training step, in order of execution, by the strictest check its neighbours allow.

- Isolated: the reference computes the tensor from the candidate's own bits. So a fault shows where it is made, and
  nowhere else.
- Spanning: tensors between are absent, and the reference computes across the gap.
- Wiring: what entered a layer is what left the one before. The input, target and weights are those that were given.
- Update: the parameters after the optimiser's step.
- Side effects: what backward changed although it should not have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compare.judging.judge import judge, off, unjudged
from compare.judging.shapes import OtherShape, ShapeMismatch, shapes
from compare.judging.step import Check, Rule
from compare.judging.verdict import OtherDtype, Row
from compare.network.passing import agree
from compare.network.tensor_name import TensorName
from compare.numbers.allowance import Allowance, Precision
from compare.numbers.array import Array
from compare.numbers.expected import Expected
from compare.numbers.float64 import double
from compare.operations import STATES
from compare.operations.letters import Absent
from compare.recording.record import Record

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
        return double(self.array)


@dataclass(frozen=True)
class Wrong:
    """What a diagnosis needs of a tensor that is off."""

    got: Array
    expected: Expected
    precision: Precision
    rule: Rule


class JudgedStep:
    """One step, judged in order of execution. `wrong` holds, by check and name, what was off."""

    def __init__(self, record: Record, step_rules: Sequence[Rule], given: Mapping[str, Array]) -> None:
        self.record, self.rules, self.given = record, step_rules, given
        self.known: dict[str, Known] = {}
        self.dtype = record.dtype  # asked for at every tensor, and found by looking at all of them
        x = record["input"] if "input" in record else given.get("input")
        self.drawn = record.network.drawn()
        self.shapes = shapes(record.network, None if x is None else np.shape(x))
        self.rng = np.random.default_rng(0)
        self.wrong: dict[tuple[str, str], Wrong] = {}
        self.ambiguous = 0  # pre-activations within their allowance of a ReLU's kink

    def rows(self) -> list[Row]:
        """One row for each tensor of the record that a rule or a given value speaks about, then the side effects."""
        found = [row for name in roots(self.record) for row in self._root(name)]
        found += [row for rule in self.rules for row in self._follow(rule)]
        return found + self._updates_of_unknown_optimizer() + self._side_effects()

    def judgement(self, check: str, name: str) -> Wrong:
        """What a tensor was held against; computed once more if it was right.

        Absent or ShapeMismatch where it could not be judged.
        """
        if (check, name) in self.wrong:
            return self.wrong[(check, name)]
        rule = next((rule for rule in self.rules if rule.name == name), None)
        for needed in (*(rule.sources if rule else ()), name):
            if needed not in self.known or (needed == name and name not in self.record):
                raise Absent(needed)
        got = self.record.unscaled(name)
        if rule is None or check == "side_effects":
            wanted = double(np.asarray(self.given.get(name, got)))
            expected = Expected.itself(wanted)
            rule = _constant(name, "wiring", f"{name} as it was given", expected)
            return Wrong(got, expected, Precision.of(self.dtype), rule)
        self._expect_shapes(rule)
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
        wanted, found = self._shape(name), self.record[name].shape
        if wanted is not None and not agree(found, wanted):
            rule = _constant(name, "wiring", f"{name} as it was given", Expected.itself(self.record[name]))
            return [off(self.record, rule, OtherShape(found, wanted))]
        if name not in self.given:
            return []
        return [self._unchanged(name, self.record[name], self.given[name], "wiring", f"{name} as it was given")]

    def _unchanged(self, name: str, got: Array, wanted: Array, check: Check, formula: str) -> Row:
        expected = Expected.itself(np.asarray(wanted))
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
        expected = rule.compute(*(s.array for s in sources), p=precision)
        self._count_ambiguous(rule, expected)
        twins = self._twins(rule, sources, precision)
        allowance = expected.allowance if twins is None else _spanning(rule, sources, expected, twins)
        if not present:
            self._stand_in(rule, expected, allowance, twins, sources)
            return []
        self._recall(rule.name)
        allowance = self._for_scale(rule, expected.value, allowance, precision)
        check: Check = "spanning" if twins is not None and rule.check == "isolated" else rule.check
        wanted, got = replace(expected, allowance=allowance), self.record.unscaled(rule.name)
        row = self._judge(rule, got, wanted, check, precision, lambda: _all_finite(sources))
        return [self._in_its_dtype(row, rule)]

    def _count_ambiguous(self, rule: Rule, expected: Expected) -> None:
        if rule.following:
            near = rule.following.near_kink(expected.value, expected.allowance.wide)
            self.ambiguous += int(np.count_nonzero(near))

    def _in_its_dtype(self, row: Row, rule: Rule) -> Row:
        """Off, if it is not in the float dtype that what it is computed from gives it; what is off already stays so.

        The target does not count, nor what is drawn: in another dtype they must not promote what follows.
        """
        found, allowed = self.record[rule.name].dtype, self._dtypes(rule)
        plain = rule.name == "loss" and self.record.plain_loss and found == np.float64
        if found.kind != "f" or not allowed or found in allowed or plain:
            return row
        self.known[rule.name].dtypes |= allowed  # said once: what follows from it may be in either
        if row.status == "off":
            return row
        return off(self.record, rule, OtherDtype(found, allowed), row.check)

    def _dtypes(self, rule: Rule) -> frozenset[np.dtype[Any]]:
        """The float dtypes of what it is computed from."""
        known = [self.known[s].dtypes for s in rule.sources if s not in ("target", *self.drawn) and s in self.known]
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
            wanted = replace(expected, value=double(expected.value))
            self.wrong[(check, rule.name)] = Wrong(np.asarray(got), wanted, p, rule)
        return row

    def _for_scale(self, rule: Rule, value: Array, allowance: Allowance, p: Precision) -> Allowance:
        """What a scale costs: the reference's division of sources and tensor, and the candidate's own multiplication.

        Divided in float64, each operand carries one rounding of float64 more; every allowance that is not 0 has at
        least three of the candidate's, so a third is added. Where the candidate changes the scale, that is a factor in
        at most two roundings.
        """
        if not self.record.scales and not self.record.slack:
            return allowance
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
        if rule.following:
            bound = allowance.bound()
            moved = [rule.following.either_side(v, expected.value, bound, self.rng) for v in moved]
        self.known[rule.name] = Known(expected.value, dtypes, moved, allowance)

    def _moves(self, shape: tuple[int, ...]) -> Array:
        """A random sign times 1/2 to 1: with 1 alone, two equal allowances in a row cancel in 1 of 2^TWINS elements."""
        return self.rng.choice([-1.0, 1.0], shape) * self.rng.uniform(0.5, 1, shape)

    def _expect_shapes(self, rule: Rule) -> None:
        """The sources must have the shapes that the network gives them; nothing is broadcast or transposed."""
        for source in rule.sources:
            wanted = self._shape(source)
            found = self.known[source].array.shape
            if wanted is not None and not agree(found, wanted):
                raise ShapeMismatch(f"{source} has shape {found}, expected {wanted}")

    def _shape(self, name: str) -> tuple[int, ...] | None:
        """What the network gives it; None where it gives none."""
        return self.shapes.get(name)

    def _misshapen(self, rule: Rule, why: str) -> Row:
        self._recall(rule.name)
        wanted = self._shape(rule.name)
        found = self.record[rule.name].shape
        if wanted is not None and not agree(found, wanted):
            return off(self.record, rule, OtherShape(found, wanted))
        return unjudged(self.record, rule, why)

    def _updates_of_unknown_optimizer(self) -> list[Row]:
        names = updated_names(self.record) if self.record.optimizer is None else []
        rule = [_constant(n, "update", "", Expected.itself(self.record[n])) for n in names]
        return [unjudged(self.record, r, "the optimiser was not named") for r in rule]

    def _side_effects(self) -> list[Row]:
        touched = {} if self.record.told else self.record.touched
        return [
            self._unchanged(name, after, self.record[name], "side_effects", self._left(name))
            for name, after in touched.items()
        ]

    def _left(self, name: str) -> str:
        return f"{self.record.changed_by.get(name, 'backward')} leaves {name} as it was"


def judgement(row: Row, steps: Sequence[JudgedStep]) -> Wrong:
    """What a row's tensor was held against."""
    judged = next(each for each in steps if each.record.step == row.step)
    return judged.judgement(row.check, row.tensor)


def _constant(name: str, check: Check, formula: str, expected: Expected) -> Rule:
    """The rule for a tensor that is known beforehand."""
    called = TensorName(name)
    return Rule(called, called.layer, called.kind, check, (), lambda p: expected, formula)


def _all_finite(sources: Sequence[Known]) -> bool:
    return all(bool(np.isfinite(s.array).all()) for s in sources)


def _spanning(rule: Rule, sources: Sequence[Known], expected: Expected, twins: Sequence[Array]) -> Allowance:
    """4 x the largest deviation of the twins, plus the last operation's own allowance; a copy has its source's."""
    if rule.copies and sources[0].allowance:
        return sources[0].allowance
    spread = SPREAD * np.max([np.abs(t - expected.value) for t in twins], axis=0)
    return expected.allowance.widened(spread)


def roots(record: Record) -> list[str]:
    """Tensors that follow from no other of the step: input, target, weights, buffers, state before, what is drawn."""
    network, kept = record.network, record.optimizer.kept if record.optimizer else ()
    state = [name.with_state(part) for name in network.parameters() for part in kept]
    others = (*network.buffers(), *state, *network.drawn())
    return ["input", "target", *network.parameters(), *(name for name in others if name in record)]


def updated_names(record: Record) -> list[str]:
    """The parameters after the step, and the optimiser's state after it, that the record holds."""
    new = [name.new for name in record.network.parameters()]
    known = {*new, *(name.with_state(state) for name in new for state in STATES)}
    return [name for name in record if name in known]
