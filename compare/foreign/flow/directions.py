"""Directions: what a step takes in the gradient's place: the gradient clipped, or over the root of its squares.

RMSprop (Tieleman and Hinton 2012, lecture 6.5): g / (sqrt(v) + eps), v <- alpha v + (1 - alpha) g^2. Adagrad (Duchi et
al. 2011): v <- v + g^2. Either with eps under the root. A gradient is clipped by value, or each by its own norm; of all
of them together the norm is a rate like others (updates.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from compare.foreign.flow.backward import Backward
from compare.foreign.flow.products import CLIPS, ROOTS, SCALED, called
from compare.foreign.flow.updates import Move, Update, by_law, reread, shares
from compare.network.tensor_name import TensorName
from compare.watching.dataflow import Array, Value, before

Averaged = Callable[[Sequence[Array]], Array]  # of the squares of all gradients so far
Of = Callable[[Sequence[Array], float], Array]  # of all gradients so far, and the norm of those of this step together

LARGEST_EPS = 1e-3
FEW = 2
MOST = 8  # numbers that are tried for each of a rule's


@dataclass(frozen=True)
class Direction:
    """In words, as it follows from the gradients of all steps so far, and by what operations."""

    words: str
    of: Of
    made_by: Collection[str] = ()


@dataclass
class Directions:
    """Of one program: the gradients of every parameter, as the code has them, step by step."""

    seen: dict[str, list[Array]] = field(default_factory=dict)

    def settled(self, back: Backward, update: Update, averaged: bool) -> Update:
        """With the direction by which more of the parameters move than by the gradient, if there is one.

        averaged: a root divides the gradient's average, as Adam's does, whose first step is Adagrad's.
        """
        best, together = update, self._norm(update.moves)
        if update.law is None or update.explained(update.law) < update.size or not update.has_plain_rate:
            for direction in _candidates(_behind(back, update), update, averaged):
                moves = [self._along(back, move, direction, together) for move in update.moves]
                if not all(np.all(np.isfinite(move.along)) for move in moves):
                    continue
                made = by_law(back, moves)
                made.kept, made.penalties = update.kept, update.penalties
                made.direction = ", and ".join(filter(None, (update.direction, direction.words)))
                if _is_better(made, best):
                    best = made
        return best

    def clipped(self, back: Backward, update: Update) -> Update:
        """With the gradients clipped, where all that a clip changes are values on the way to the new ones.

        The first that is met: a share of what was clipped to a norm has a norm, too.
        """
        for move in update.moves:
            self._take(back, move)
        together, ways = self._norm(update.moves), {m.name: before([m.value], back.step.olds) for m in update.moves}
        first, best = math.inf, update
        for direction in _clips(_behind(back, update), _thresholds(update.written)):
            made = {move.name: direction.of(self.seen[move.name], together) for move in update.moves}
            changed = [m for m in update.moves if not np.array_equal(made[m.name], self.seen[m.name][-1])]
            met = {m.name: _met(back, m, ways[m.name], made[m.name], direction.made_by) for m in changed}
            at = max((value.time if value else math.inf for value in met.values()), default=math.inf)
            if at < first:
                first, best = at, self._of_clipped(back, update, made, met, direction.words)
        if best is not update:
            for move in best.moves:
                self.seen[move.name][-1] = move.along * move.scale
        return best

    def _of_clipped(
        self,
        back: Backward,
        update: Update,
        made: dict[TensorName, Array],
        met: dict[TensorName, Value | None],
        words: str,
    ) -> Update:
        of = {m.name: made[m.name] / m.scale for m in update.moves}
        one = {m.value.time: met[m.name] for m in update.moves if m.name in met}  # a weight with its bias attached
        found = by_law(back, [
            replace(m, gradient=_own(back, m), direction=of[m.name], taken=one.get(m.value.time) or m.taken)
            for m in update.moves
        ])  # fmt: skip
        found.kept, found.penalties, found.direction = update.kept, update.penalties, words
        return found

    def _take(self, back: Backward, move: Move) -> None:
        """One more gradient."""
        found = back.found.get(move.name.gradient)
        is_plain = found is not None and move.direction is None
        array = np.asarray(found.view.array, dtype=np.float64) if is_plain and found else move.along * move.scale
        self.seen.setdefault(move.name, []).append(array)

    def _norm(self, moves: Sequence[Move]) -> float:
        """Of the gradients of this step together."""
        return float(np.sqrt(sum(float(np.sum(self.seen[move.name][-1] ** 2)) for move in moves)))

    def _along(self, back: Backward, move: Move, direction: Direction, together: float) -> Move:
        with np.errstate(all="ignore"):
            taken = direction.of(self.seen[move.name], together) / move.scale
        return replace(move, gradient=_own(back, move), direction=taken)


def _own(back: Backward, move: Move) -> Array:
    """The gradient as the code has it: a clipped one parts from it by all of its rounding."""
    found = back.found.get(move.name.gradient)
    return move.gradient if found is None else np.asarray(found.view.array, dtype=np.float64) / found.scale


def _is_better(made: Update, best: Update) -> bool:
    """Whether its law has a rate of the code, explains most of what moves, and more than the best one so far.

    As much is enough where that one has no rate of the code.
    """
    if made.law is None or not made.has_written_rate:
        return False
    explained, before_it = made.explained(made.law), best.explained(best.law) if best.law is not None else 0
    is_first = best.law is None or not best.has_written_rate or (made.has_plain_rate and not best.has_plain_rate)
    is_most = 2 * explained > made.size or made.is_in_all(made.law)
    return is_most and (explained > before_it or (is_first and explained == before_it))


def _behind(back: Backward, update: Update) -> list[Value]:
    return before([move.value for move in update.moves], back.step.olds)


def _met(
    back: Backward, move: Move, behind: Sequence[Value], clipped: Array, made_by: Collection[str]
) -> Value | None:
    """The value from which the new one is computed that is the clipped gradient, by an operation that clips so."""
    for value in behind:
        if value.size == move.value.size and value.what.removeprefix("call:") in made_by:
            view = reread(back, move.name, value)
            if view is not None and np.allclose(view.array, clipped, rtol=1e-12, atol=0):
                return value
    return None


def _thresholds(numbers: Sequence[float]) -> list[float]:
    return list(dict.fromkeys(numbers))[: 3 * MOST]


def _clips(values: Sequence[Value], numbers: Sequence[float]) -> Iterator[Direction]:
    """Those whose operations stand before the new values, with the code's numbers."""
    by = called(values)
    if by.intersection(ROOTS):
        for each, words in ((False, ""), (True, ", each parameter's by itself")):
            for c in (*numbers, 1.0):
                yield Direction(f"clipped to a norm of {c:g}{words}", _by_norm(c, not each), SCALED)
    if by.intersection(CLIPS):
        yield from (Direction(f"clipped to {-c:g} and {c:g}", _by_value(c), CLIPS) for c in numbers)


def _candidates(values: Sequence[Value], update: Update, averaged: bool) -> Iterator[Direction]:
    """All of the kind, with the code's numbers.

    Of a number or two any clip makes any change, and Adam's first step is that of any gradient clipped.
    """
    by, numbers = called(values), _thresholds(update.written)
    if not averaged and sum(np.count_nonzero(move.change) for move in update.moves) > FEW:
        yield from _clips(values, numbers)
    if by & {"sqrt", "pow"} and not averaged:
        small = [n for n in numbers if n < LARGEST_EPS][:MOST] or [0.0]
        for eps in small:
            for rule, squares in _averages(numbers):
                for inside in (False, True):
                    words = f"over the root of its squares, as {rule}eps {eps:g}{' under the root' * inside})"
                    yield Direction(words, _over_root(squares, eps, inside))


def _averages(numbers: Sequence[float]) -> Iterator[tuple[str, Averaged]]:
    """The rule, as a sentence goes on, and its average of the squares."""
    for alpha in shares(numbers)[:MOST]:
        yield f"RMSprop does (alpha {alpha:g}, ", lambda seen, alpha=alpha: _moving(seen, alpha)  # type: ignore[misc]
    yield "Adagrad does (", lambda seen: np.asarray(sum(g**2 for g in seen))


def _moving(seen: Sequence[Array], alpha: float) -> Array:
    v = np.zeros_like(seen[0])
    for g in seen:
        v = alpha * v + (1 - alpha) * g**2
    return v


def _over_root(squares: Averaged, eps: float, inside: bool) -> Of:
    def of(seen: Sequence[Array], together: float) -> Array:
        v = squares(seen)
        return np.asarray(seen[-1] / (np.sqrt(v + eps) if inside else np.sqrt(v) + eps))

    return of


def _by_value(c: float) -> Of:
    return lambda seen, together: np.clip(seen[-1], -c, c)


def _by_norm(c: float, all_together: bool) -> Of:
    def of(seen: Sequence[Array], together: float) -> Array:
        norm = together if all_together else float(np.linalg.norm(seen[-1]))
        return np.asarray(seen[-1] * c / norm) if norm > c else seen[-1]

    return of
