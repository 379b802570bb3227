"""Settling: one scale for the loss, the gradients and the step, so that what has another one shows as wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from compare.foreign import layout
from compare.foreign.convention import Convention, nearest
from compare.foreign.flow import adaptive, backward, updates
from compare.foreign.flow.adaptive import Moments
from compare.foreign.flow.backward import PRODUCTS, Backward, Gradient
from compare.foreign.flow.losses import called, guarded, of_step, reported
from compare.foreign.flow.passes import UPDATES
from compare.foreign.flow.penalties import Penalty, penalty, size
from compare.foreign.flow.products import VIEWS, near, root
from compare.foreign.flow.target import Aim
from compare.foreign.flow.updates import Law, Move, Update, absorbed, is_written
from compare.foreign.layout import View
from compare.foreign.naming.named import Named, Names, most
from compare.foreign.naming.values import distance, multiple, number, tight
from compare.network.optimizer import OptimizerSpec
from compare.network.penalty import Penalty as Declared
from compare.network.tensor_name import TensorName
from compare.numbers.allowance import Precision
from compare.operations.cross_entropy import CrossEntropy
from compare.recording.notes import (
    CorrectionDiffers,
    DirectionFound,
    MomentumDiffers,
    MomentumFound,
    NeverUpdated,
    Note,
    NotUpdated,
    PenaltyDiffers,
    PenaltyFound,
    RateDiffers,
    StepAdded,
    UpdateNotJudged,
)
from compare.watching.dataflow import Array, Binding, Value, before
from compare.watching.observation import Observation

STATES = ("exp_avg", "exp_avg_sq")
EXPONENTIAL = ("tanh", "sigmoid")
ROUNDED = 8 * 2.0**-53  # relative: of a change whose factors are multiplied in another order
SIMULATED = 1e-6  # relative: of Adam's step from moments that were computed along, not seen
GUARDED = 1e-12  # relative: farther from the loss than its rounding
FEW = 3  # numbers, which many laws explain
FITTED = 1e-9  # relative: of a change by a rate that was fitted


@dataclass
class Settled:
    """One scale for the loss, the gradients and the step, so that what has another one shows as wrong."""

    back: Backward
    update: Update
    aims: Sequence[Aim]
    names: Names
    optimizer: OptimizerSpec | None = None
    moments: Moments = field(default_factory=Moments)
    notes: list[Note] = field(default_factory=list)
    judged: set[str] = field(default_factory=set)  # new values that are right, and no part of the record
    is_given: bool = False  # the target
    convention: Convention = field(default_factory=Convention)
    is_fitted: bool = False  # the rate is no number of the code, and only as exact as the changes

    def settle(self) -> None:
        scale = self._scale()
        self._loss(scale)
        law, rate = self.update.law if self.optimizer is None else None, None
        if law is not None:
            rate = self._rate(law.rate, scale)
            if self.is_fitted and sum(move.change.size for move in self.update.moves) == 1:  # any rate explains it
                law = rate = None
        taken: set[int] = set()
        for name, found in self.back.found.items():
            is_again = found.again or found.value.time in taken
            again = self._again(found) if is_again else None
            self.names.tensors[name] = _gradient(found, again)
            taken.add(found.value.time)
        if self.optimizer is None:
            self._scales(scale, rate)
            self._moved(rate)
            self.names.rate = rate
            self._forgotten(rate)
        else:
            self._adapted()
            self._scaled_alike(scale)
        for name in self.back.found:
            if name.endswith((".grad_weight", ".grad_bias")) and self.convention.rate is not None:
                self.names.tensors[name] = replace(self.names.tensors[name], rate=self.convention.rate)
        if self.update.direction:
            self.notes.append(DirectionFound(self.update.direction))
        if law is not None and law.momentum:
            ahead = law.nesterov(self.update.rates)
            self.notes.append(MomentumFound(float(f"{ahead or law.momentum:.6g}"), ahead is not None))
        self._other_probabilities()
        self._penalties()
        self._kept()
        self._written_otherwise()
        self._unjudged()

    def _other_probabilities(self) -> None:
        """Where delta is q - t of a q that is no softmax: q is what is wrong, and is named where it is computed.

        q is computed from the last layer's output, and delta from q.
        """
        network, tensors = self.back.network, self.back.tensors
        name = f"{len(network.layers) - 1}.grad_output"
        held, found, t = self.names.tensors.get(name), self.back.found.get(name), tensors.get("target")
        if network.loss.kind != CrossEntropy.kind or held is None or found is None or held.equal or t is None:
            return
        if len(self.back.step.passes) > 1 or np.shape(tensors[name.replace("grad_", "")])[0] != len(t):
            return
        delta = np.asarray(found.view.array, dtype=np.float64)
        hot = t if t.ndim > 1 else np.eye(network.sizes[-1])[t]
        begun = self.back.step.passes[0].tensors[name.replace("grad_", "")].value.time
        between = {v.time for v in before([found.value])}
        for factor in self.back.known_of_few:
            q = delta / factor.value + hot
            for value in self.back.pool.sized.get(q.size, ()):
                views = layout.samples(value.array, *q.shape)
                is_between = begun < value.time < found.value.time and value.time in between and value.operands
                if is_between and any(distance(view.array, q) <= tight(view.array) for view in views):
                    self.names.tensors[name] = replace(held, observation=_at(held.observation, value))
                    return

    def _again(self, found: Gradient) -> Binding | None:
        """The name by which a value that is another tensor already is this one: delta = dh leaves something out.

        It is the next that was given, by no loop, before its first product; what a call gave back comes last.
        """
        copies = [u for u in found.value.users if u.what in VIEWS and u.size == found.value.size]
        products = [u.time for v in (found.value, *copies) for u in v.users if u.what in (*PRODUCTS, "call:outer")]
        until = min(products, default=math.inf)
        given = sorted(((b, v) for v in (found.value, *copies) for b in v.names), key=lambda pair: pair[0].time)
        known, handed = set[tuple[str, str]](), list[Binding]()
        for bound, value in given:
            is_made_here = value is not found.value and value.site is not None and value.site.line == bound.site.line
            if known and (bound.name, bound.site.function) not in known and bound.time <= until:
                if is_made_here or not (bound.site.is_handed or bound.site.is_loop):
                    return bound
                handed += [bound] if bound.site.is_handed else []
            known.add((bound.name, bound.site.function))
        return next(iter(handed), None)

    def _adapted(self) -> None:
        """New values by Adam, and the moments before the step."""
        self.names.optimizer = self.optimizer
        for move in self.update.moves:
            if move.direction is not None and adaptive.explains(move, self.moments, self.optimizer):
                self.judged.add(move.name.new)
                continue
            view = updates.reread(self.back, move.name, move.value)
            assert view is not None
            self.names.tensors[move.name.new] = Named(self._corrected(move) or observed(move.value), view)
            simulated = SIMULATED * np.abs(move.change) if self.moments.steps else 0.0
            self.names.slack[move.name.new] = self._scaled(move) + 4 * move.lost + simulated
            if not self._has_right_averages(move):
                self._averages(move)
            if self.moments.steps:
                for state, array in zip(STATES, self.moments.of(move), strict=True):
                    held = Observation(array, f"{state} of {move.value.name}")
                    self.names.tensors[move.name.with_state(state)] = Named(held, View(array, "state"))

    def _has_right_averages(self, move: Move) -> bool:
        """Whether the step is Adam's but for its rate or the correction of its bias: its averages are then right."""
        assert self.optimizer is not None
        if adaptive.explains(adaptive.turned(move), self.moments, self.optimizer):
            self._is_added(move)
            return True
        if (rate := self._other_adam_rate(move)) is not None:
            self.notes.append(RateDiffers(move.name.new, float(f"{rate:.6g}"), float(self.optimizer.options["lr"])))
            return True
        made = adaptive.correction(move, self.moments, self.optimizer)
        if made is not None:
            betas = made.betas[0] + 1, made.betas[1] + 1
            counts = made.first, made.second
            self.notes.append(CorrectionDiffers(move.name.new, self.moments.steps + 1, counts, betas))
        return made is not None

    def _other_adam_rate(self, move: Move) -> float | None:
        """The number that explains it in the place of the rate, where only this update has it, and others the rate."""
        assert self.optimizer is not None
        numbers, usual = self.update.numbers, float(self.optimizer.options["lr"])
        others = [own for name, own in numbers.items() if name != move.name and usual in own]
        left = [n for n in numbers[move.name] if not any(n in own for own in others)] if others else []
        return adaptive.other_rate(move, self.moments, self.optimizer, left)

    def _scaled_alike(self, scale: float) -> None:
        """Gradients on the loss's scale, or on that of most: Adam's step would be the same with any."""
        assert self.optimizer is not None
        tensors = self.names.tensors
        finals = [m for m in self.update.moves if m.name.gradient in tensors and tensors[m.name.gradient].equal]
        scales = [abs(tensors[m.name.gradient].scale) for m in finals]
        usual = scale if scale in scales or not scales else most(scales)
        plain = [m for m in finals if m.name not in self.update.penalties]
        held = [m.name.gradient for m in plain if adaptive.explains(m, self.moments, self.optimizer)]
        for name in held:
            own = abs(tensors[name].scale)
            if own != usual and not any(abs(m.scale) == usual for m in self.back.multiples.get(name, ())):
                tensors[name] = replace(tensors[name], scale=tensors[name].scale * usual / own)

    def _averages(self, move: Move) -> None:
        """The moments after a step that is wrong, as the code has them: one of these may be what is wrong."""
        seen, gradient = self.back.found.get(move.name.gradient), self.names.tensors.get(move.name.gradient)
        if seen is None or gradient is None or move.name in self.update.penalties:
            return
        found = adaptive.averages(move, self.back.step.olds, move.taken or seen.value)
        if found is None or adaptive.explains(move, self.moments, self.optimizer):
            return
        for state, value, power in zip(STATES, found, (1, 2), strict=True):
            view = updates.reread(self.back, move.name, value)
            if view is None:
                continue
            name = move.name.new.with_state(state)
            array = np.asarray(view.array, dtype=np.float64) / gradient.scale**power
            self.names.tensors[name] = Named(observed(value), replace(view, array=array))
            self.names.slack[name] = (ROUNDED + (SIMULATED if self.moments.steps else 0.0)) * np.abs(array)

    def _corrected(self, move: Move) -> Observation | None:
        """The new value where its bias is corrected, where it is wrong by that alone."""
        found = self.back.found.get(move.name.gradient)
        if self.optimizer is None or found is None or adaptive.explains(move, self.moments, self.optimizer):
            return None
        if self._other_adam_rate(move) is not None:
            return None
        value = adaptive.corrected_at(
            move, self.moments, self.optimizer, self.back.step.olds, move.taken or found.value
        )
        if value is None:
            return None
        o = replace(observed(value), array=move.value.array)
        last = value.names[-1] if value.names else None
        return replace(o, name=last.name, line=last.site.line, span=None) if last else o  # m_hat = m

    def _scaled(self, move: Move) -> Array:
        """What the gradient's own factor changes in Adam's step: no more than its epsilon does."""
        assert self.optimizer is not None
        lr, eps = float(self.optimizer.options["lr"]), float(self.optimizer.options["eps"])
        found = self.names.tensors.get(move.name.gradient)
        scale = abs(found.scale if found is not None else self.back.usual())
        _, v = self.moments.of(move)
        size = np.sqrt(np.maximum(v, move.gradient**2)) + eps
        changed: Array = 2 * lr * eps * abs(1 - 1 / scale) / np.minimum(size, size * scale) + ROUNDED * 4 * lr
        return changed

    def _kept(self) -> None:
        """Parameters that stay as they are though they have a gradient, which the code computes: never updated."""
        kept = []
        for name in map(TensorName, self.update.kept):
            wanted, found = self.back.expected.get(name.gradient), self.back.found.get(name.gradient)
            if wanted is not None and np.any(wanted) and found is not None and name in self.names.tensors:
                self.names.tensors[name.new] = self._bound_elsewhere(name, found.value) or self.names.tensors[name]
                kept.append(name.new)
            elif wanted is not None and np.any(wanted) and name in self.names.tensors:
                self.notes.append(NotUpdated(name, self.names.tensors[name].observation.name))
        if kept:
            self.notes.append(NeverUpdated(tuple(kept)))

    def _bound_elsewhere(self, name: TensorName, gradient: Value) -> Named | None:
        """A parameter that is never updated, at the step along its gradient that is computed and given another name."""
        old, held = root(self.back.step.old[name].value), self.names.tensors[name]
        moved = (u for u in old.users if u.what in UPDATES and u.size == old.size)
        made = next((u for u in moved if any(v is gradient for v in before([u], [old]))), None)
        if made is None or not made.names:
            return None
        return replace(held, observation=replace(observed(made), array=held.observation.array))

    def _written_otherwise(self) -> None:
        """Tanh and sigmoid as quotients of exponentials, or by each other, round by a part of 1, not of their value."""
        for k, layer in enumerate(self.names.network.layers):
            seen = self.back.step.passes[0].tensors.get(f"{k}.output")
            if layer.kind not in EXPONENTIAL or seen is None or _calls(seen.value, layer.kind):
                continue
            u = float(np.finfo(seen.view.array.dtype).eps) / 2
            if layer.kind == "tanh" or _calls(seen.value, "tanh"):
                self.names.slack[f"{k}.output"] = np.asarray(8 * u)
                dy = self.back.expected.get(f"{k}.grad_input")
                if dy is not None:
                    self.names.slack[f"{k}.grad_input"] = 32 * u * (np.abs(dy).max(initial=0) + np.abs(dy))

    def _unjudged(self) -> None:
        """Parameters that moved and of which no new value is judged; of a program, all where none moves."""
        if not self.back.step.new and not self.is_given:
            self.notes.append(UpdateNotJudged(tuple(TensorName(name).new for name in self.back.step.old), moved=False))
        moved = [TensorName(name).new for name in self.back.step.new]
        if left := tuple(name for name in moved if name not in self.names.tensors and name not in self.judged):
            self.notes.append(UpdateNotJudged(left))

    def _penalties(self) -> None:
        """What the loss adds for the weights, and the gradient with it; where both differ, the gradient is wrong."""
        step, computed = self.back.step, {time for aim in self.aims for time in aim.computed}
        until = step.beside if len(self.aims) > 1 else step.until
        in_loss = penalty(of_step(self.back, self.aims), step.old, computed, until)
        of = self.update.of
        in_gradient: dict[str, Law] = {move.name: of[move.name] for move in self.update.moves if move.name in of}
        common = self.update.law
        amounts = {  # of a law with another rate, beside a gradient with a wrong factor
            n: (law.decay or law.shrink) * (law.rate / common.rate if common is not None else 1.0)
            for n, law in in_gradient.items()
            if law.decay or law.shrink
        }
        by_value = self.update.penalties
        if self.optimizer is not None or by_value:
            amounts = {n: amount for n, (amount, _) in by_value.items()}
            in_gradient = {move.name: Law(1.0) for move in self.update.moves}
        is_l1 = any(law.shrink for law in in_gradient.values()) or any(kind == "L1" for _, kind in by_value.values())
        kind = "L1" if is_l1 else "L2"
        if self.stated is not None:
            in_loss = self._as_declared(in_loss)
            self._told({n: a for n, a in amounts.items() if n not in in_loss.names}, "gradient", kind)
            amounts = self._of_the_kind(in_loss, in_gradient)
            in_loss = replace(in_loss, names=tuple(amounts))
        if in_loss is None:
            self._told(amounts, "gradient", kind)
            return
        known = {*in_gradient, *amounts}
        wrong = [n for n in in_loss.names if n in known and not _near(amounts.get(n, 0.0), in_loss.amount)]
        right = {n: in_loss.amount for n in in_loss.names if n not in wrong}
        self._told(right, "both" if self.stated is None else "text", in_loss.kind)
        if self._is_turned_beside(wrong, amounts, in_loss.amount):
            self._turn_gradients()
            return
        for name in map(TensorName, wrong):
            self._without(name, amounts.get(name, 0.0), in_loss)

    def _is_turned_beside(self, wrong: Sequence[str], amounts: Mapping[str, float], wanted: float) -> bool:
        """Whether the step goes uphill along the gradient, and downhill along the penalty: the gradient is turned."""
        laws = [self.update.of[n] for n in wrong if n in self.update.of]
        is_turned = all(_near(-amounts.get(n, 0.0), wanted) for n in wrong)
        return bool(wrong) and is_turned and len(laws) == len(wrong) and all(law.rate < 0 for law in laws)

    def _turn_gradients(self) -> None:
        """All that were found are the other way than the step takes them, whatever the sign of their scale."""
        for name, found in self.back.found.items():
            held = self.names.tensors[name]
            self.names.tensors[name] = replace(held, scale=-math.copysign(held.scale, found.scale))

    @property
    def stated(self) -> Declared | None:
        """The penalty in the network's text."""
        return self.back.network.penalty

    def _as_declared(self, in_loss: Penalty | None) -> Penalty:
        """The text's penalty on all weights, and on the biases that the loss has in it. Another loss is wrong."""
        assert self.stated is not None
        old, amount, kind = self.back.step.old, self.stated.amount, self.stated.kind
        weights = [n for n in old if n.endswith(".weight")]
        beside = [n for n in in_loss.names if n not in weights] if in_loss is not None else []
        wanted = Penalty(amount, kind, (*weights, *beside))
        if in_loss is None or (
            in_loss.kind == kind and set(in_loss.names) == set(wanted.names) and _near(in_loss.amount, amount)
        ):
            return wanted
        whole = sum(size(old[n], kind) for n in wanted.names)
        found = in_loss.amount * sum(size(old[n], in_loss.kind) for n in in_loss.names) / (whole or 1.0)
        self.notes.append(PenaltyDiffers("loss", kind, found if in_loss.kind == kind else 0.0, 0.0, amount))
        if (loss := self.names.tensors.get("loss")) is not None:
            array = np.asarray(loss.view.array + abs(loss.scale) * (found - amount) * whole, loss.view.array.dtype)
            self.names.tensors["loss"] = replace(loss, view=replace(loss.view, array=array))
        return wanted

    def _of_the_kind(self, wanted: Penalty, laws: dict[str, Law]) -> dict[str, float]:
        """The amounts in the gradients; the wanted one where it explains the move as well as what was found.

        Of a parameter that never moves the gradient itself tells; one that moved by no law that is known is left out.
        """
        amounts, part = {}, "decay" if wanted.kind == "L2" else "shrink"
        moves = {move.name: move for move in self.update.moves}
        for name in map(TensorName, wanted.names):
            if (self.optimizer is not None or self.update.penalties) and name in moves:
                amount, kind = self.update.penalties.get(name, (0.0, ""))
                amounts[name] = amount if kind == wanted.kind else 0.0
            elif name in laws:
                law = replace(laws[name], decay=0.0, shrink=0.0)
                is_wanted = replace(law, **{part: wanted.amount}).explains(moves[name])
                amounts[name] = wanted.amount if is_wanted else getattr(laws[name], part)
            elif name not in self.back.step.new and name.gradient in self.back.expected:
                gradient = self.back.expected[name.gradient] + wanted.amount * self._slope(name, wanted.kind)
                amounts[name] = wanted.amount if self.back.whole(name, gradient) is not None else 0.0
        return {str(name): amount for name, amount in amounts.items()}

    def _slope(self, name: TensorName, kind: str) -> Array:
        """The derivative of a penalty of 1."""
        old = np.asarray(self.back.step.old[name].view.array, dtype=np.float64)
        return old if kind == "L2" else np.sign(old)

    def _told(self, amounts: dict[str, float], where: str, kind: str) -> None:
        for amount in dict.fromkeys(float(f"{a:.6g}") for a in amounts.values()):
            on = [n for n, a in amounts.items() if float(f"{a:.6g}") == amount]
            held = tuple(self.names.tensors[n].observation.name for n in on)
            self.notes.append(PenaltyFound(kind, amount, held, where))

    def _without(self, name: TensorName, amount: float, in_loss: Penalty) -> None:
        """The gradient with its own penalty, less the loss's: what is left is wrong. Not of one that was wrong."""
        seen = self.back.found.get(name.gradient)
        if not amount and seen is not None and not seen.equal:
            return
        move = next((m for m in self.update.moves if m.name == name), None)
        slope = self._slope(name, in_loss.kind)
        gradient = self.back.expected[name.gradient] if move is None else move.gradient
        found = self.back.whole(name, gradient + amount * slope)
        held = self.names.tensors.get(name.gradient)
        if not amount and self._is_scaled_beside(name, in_loss.amount, slope):
            return
        declared = None if self.stated is None else self.stated.amount
        if held is None or (found is None and declared is None):
            return
        if found is not None:
            array = np.asarray(found.view.array, dtype=np.float64) - found.scale * in_loss.amount * slope
            made = Named(observed(found.value), replace(found.view, array=array), found.scale, equal=False)
        else:  # what no line holds with its penalty, such as a gradient that the change of the weights alone shows
            array = np.asarray(held.view.array, dtype=np.float64) + held.scale * (amount - in_loss.amount) * slope
            made = replace(held, view=replace(held.view, array=array), equal=False)
        self.names.tensors[name.gradient] = made
        self.notes.append(PenaltyDiffers(name.gradient, in_loss.kind, in_loss.amount, amount, declared))
        if (new := self.names.tensors.get(name.new)) is not None:
            beyond = self.names.rate or 0.0
            moved = np.asarray(new.view.array - beyond * (amount - in_loss.amount) * slope)
            self.names.tensors[name.new] = replace(new, view=replace(new.view, array=moved))

    def _is_scaled_beside(self, name: TensorName, amount: float, slope: Array) -> bool:
        """Whether the penalty's part is computed for this gradient: what it is added to is then named as what is wrong.

        That is the last multiple of the gradient, by a factor that is none of the known ones.
        """
        found = self.back.found.get(name.gradient)
        if found is None or not found.equal:
            return False
        usual, last = self.back.usual(), None
        size = found.value.size
        views = ((v, updates.reread(self.back, name, v)) for v in self.back.step.behind if v.size == size)
        held = [(v, view) for v, view in views if view is not None]
        parts = [_times(view.array, slope) for _, view in held]
        if not any(_near(part, amount * each.value) for part in parts if part for each in self.back.known_of_few):
            return False
        for value, view in held:
            if factor := _times(view.array, found.view.array) if value.time > found.value.time else None:
                is_known = nearest(factor * found.scale, self.back.known) is not None
                last = last if is_known else (value, view)
        if last is not None:
            self.names.tensors[name.gradient] = Named(observed(last[0]), last[1], usual, False)
        return last is not None

    # --- the loss's factor --------------------------------------------------------------------------------------------

    def _scale(self) -> float:
        """The factor of the reported loss by which the step has a rate that is written; else the gradients' own."""
        if self.convention.factor is not None:
            return self.convention.factor * (self.convention.rate or 1.0)
        law, losses = self.update.law, reported(self.back, self.aims)
        finals = [g.scale for n, g in self.back.found.items() if g.equal and n.endswith(("weight", "bias"))]
        usual = abs(most(finals) if finals else self.back.usual())
        if law is None and self.optimizer is None and finals and max(finals) < 0:
            usual = -usual  # which way the step goes is not known
        if not self.back.step.new and self.optimizer is None:
            return self._unmoved(finals)
        if law is None:
            return losses[0] if losses and usual not in losses else usual
        rate = abs(law.rate)
        good = [f for f in losses if is_written(rate / f, self.update.rates)]
        if good:
            return good[0]
        if losses:
            return losses[0]
        if is_written(rate / usual, self.update.rates):
            return usual
        known = [abs(f.value) for f in self.back.known_of_few if is_written(rate / abs(f.value), self.update.rates)]
        return known[0] if known else usual

    def _unmoved(self, finals: Sequence[float]) -> float:
        """Without an update, the gradients' own factor, if the reported loss has it; else that of the loss.

        A log-likelihood may be reported beside the gradient of its negative.
        """
        losses = [f for each in self.aims[:1] for _, f in sorted(each.losses, key=lambda pair: not pair[0].names)]
        usual = most(finals) if finals else 1.0
        is_of_loss = usual in losses or usual in map(abs, losses)
        return usual if is_of_loss or not losses else losses[0]

    def _loss(self, scale: float) -> None:
        if len(self.aims) != 1:
            return
        if not self.aims[0].losses:
            self._other_loss()
            return
        value, factor = min(self.aims[0].losses, key=lambda pair: (abs(pair[1]) != scale, not pair[0].names))
        view = View(value.array.reshape(()), "number")
        if self._is_guarded(value, factor):
            self._other_loss(may_be_wrong=False)
            return
        self.names.tensors["loss"] = Named(observed(value), view, self.convention.factor or factor)
        self.names.slack["loss"] = np.asarray(abs(factor) * self._lost_in_probabilities(value))

    def _lost_in_probabilities(self, value: Value) -> float:
        network, tensors = self.back.network, self.back.tensors
        y, t = tensors.get(f"{len(network.layers) - 1}.output"), tensors.get("target")
        if y is None or t is None:
            return 0.0
        count = network.loss.divisor(t, len(y), y.size)
        return network.loss.lost_in_probabilities(y, t, count, Precision.of(value.array.dtype))

    def _other_loss(self, may_be_wrong: bool = True) -> None:
        """A loss that is kept finite is said, and not judged; a wrong one is judged where the target is given."""
        if (found := guarded(self.back)) is not None:
            value, factor, self.names.guard = found
            self.names.tensors["loss"] = Named(observed(value), View(value.array.reshape(()), "number"), factor)
        elif may_be_wrong and self.is_given and (wrong := called(self.back)) is not None:
            value, factor = wrong
            self.names.tensors["loss"] = Named(observed(value), View(value.array.reshape(()), "number"), factor, False)

    def _is_guarded(self, value: Value, factor: float) -> bool:
        """Whether a small number in its logarithms keeps it finite: it is then near the loss, and not judged."""
        tensors, last = self.back.tensors, f"{len(self.back.network.layers) - 1}.output"
        if not self.back.network.loss.logarithmic or last not in tensors:
            return False
        loss = float(self.back.network.loss.loss(tensors[last], tensors["target"], backward.EXACT).value)
        return value.array.dtype == np.float64 and abs(number(value.array) / factor - loss) > GUARDED * abs(loss)

    # --- rates --------------------------------------------------------------------------------------------------------

    def _rate(self, rate: float, scale: float) -> float:
        """The rate on torch's gradient by which the step is judged, as it is written where it is."""
        nearest = min((*self.update.rates, 1.0), key=lambda w: abs(w - rate / scale))
        if is_written(rate / scale, [nearest]):
            return nearest * scale
        self.is_fitted = True
        meant = absorbed(self.back, rate / scale, self.update.rates)
        return abs(rate) if meant is None else meant * scale

    def _scales(self, scale: float, rate: float | None) -> None:
        """A gradient whose parameter moved right has its own scale; that of another one has the loss's."""
        tensors, of = self.names.tensors, self.update.of
        moved = {n for n, law in of.items() if rate is not None and updates.same(law.rate, rate)}
        finals = [TensorName(n) for n in tensors if n.endswith((".grad_weight", ".grad_bias"))]
        new = self.back.step.new
        stayed = {n for n in finals if new and n.parameter not in new}
        wrong = [n for n in finals if not tensors[n].equal or (n.parameter not in moved and n not in stayed)]
        usual, ratio = self._usual(finals, moved, scale), self._ratio(finals)
        right = {n for n in finals if not new and tensors[n].equal and tensors[n].scale == usual}
        for name in wrong:
            if not tensors[name].equal and (own_scale := self._by_its_move(name, rate)) is not None:
                tensors[name] = replace(tensors[name], scale=own_scale)
                continue
            if tensors[name].equal and (turned := self._turned(name, rate)) is not None:
                tensors[name] = turned
                continue
            if tensors[name].equal and self._is_only_uphill(name, rate, usual):
                continue
            if rate is None and new and tensors[name].equal and self._has_a_rate(tensors[name].scale / usual):
                continue
            own = self._where_it_went_wrong(name, rate, usual)
            is_alone = self._is_alone(name, finals, wrong) or not right.isdisjoint(_of_layer(name))
            if tensors[name].equal and tensors[name].scale != usual and not is_alone:  # else it came with the factor
                for between in self._between(int(name.layer)):
                    tensors[between] = self._with_the_factor(between, name, usual, ratio)
            tensors[name] = replace(tensors[name], scale=own)

    def _has_a_rate(self, ratio: float) -> bool:
        """Whether a number of the code makes the difference: where no rule of the step is known, it may be the rate."""
        numbers = self.update.written
        return ratio != 1 and is_written(abs(ratio), [*numbers, *(1 / number for number in numbers)])

    def _is_alone(self, name: TensorName, finals: Sequence[TensorName], wrong: Sequence[TensorName]) -> bool:
        """Whether as many gradients are right that come of the same one before it, or after it, as have its factor."""
        beside = [n for n in finals if n not in wrong and int(n.layer) <= int(name.layer)]
        found = self.back.found
        alike = [n for n in wrong if n in found and name in found and found[n].scale == found[name].scale]
        return bool(beside) and len(beside) >= len(alike)

    def _with_the_factor(self, between: str, name: TensorName, usual: float, ratio: float) -> Named:
        """What a parameter's gradient is computed from, where that comes with its factor: on the scale without it."""
        held, found = self.names.tensors[between], self.back.found
        if not held.equal:
            return replace(held, scale=found[between].scale / found[name].scale * usual)
        if held.scale == usual * ratio:
            return held
        other = self.back.sampled(TensorName(between), self.names.tensors[name].scale * ratio)
        return replace(held if other is None else _gradient(other, None), scale=usual * ratio)

    def _turned(self, name: TensorName, rate: float | None) -> Named | None:
        """The gradient by which its parameter moved, where that is it in another order."""
        if not rate or name.parameter in self.update.of or name.parameter not in self.back.step.new:
            return None
        found = self.back.reordered(name)
        return _gradient(found, None) if found is not None else None

    def _is_only_uphill(self, name: TensorName, rate: float | None, usual: float) -> bool:
        """Whether its parameter moved by it at the right rate and in the wrong direction, which the step has made."""
        own = self.update.of.get(name.parameter)
        if own is None or not rate or not updates.same(own.rate, -rate):
            return False
        return not any(self._is_turned(each.scale, usual) for each in self.back.multiples.get(name, ()))

    def _is_turned(self, scale: float, usual: float) -> bool:
        """Whether it has the other sign, and no rate in it: what has one is the step."""
        return scale * usual < 0 and nearest(abs(scale), self.back.known_of_few) is not None

    def _by_its_move(self, name: TensorName, rate: float | None) -> float | None:
        """The scale of a wrong gradient by which its parameter moved at the rate of the others, if that is a count."""
        own, found = self.update.of.get(name.parameter), self.back.found.get(name)
        if own is None or found is None or not rate or not own.rate:
            return None
        factor = nearest(rate / own.rate, self.back.known_of_few, 1e-6)
        return found.scale * factor.value if factor is not None else None

    def _where_it_went_wrong(self, name: TensorName, rate: float | None, usual: float) -> float:
        """Name the first multiple that has the factor, or else the sign, by which a parameter moved wrongly.

        The scale that it should have.
        """
        own, found = self.update.of.get(name.parameter), self.back.multiples.get(name, [])
        if own is None or not rate:
            return usual
        wanted = own.rate / rate * usual
        turned = [each for each in found if self._is_turned(each.scale, usual)] if wanted * usual < 0 else []
        turned.sort(key=lambda each: (not each.value.names, each.value.time))
        for each in turned or (each for each in found if updates.same(each.scale, wanted)):
            self.names.tensors[name] = Named(observed(each.value), each.view, each.scale)
            return abs(each.scale) * float(np.sign(usual)) if turned else usual
        if wanted * usual > 0 and (scaled := self.back.times(name, wanted)) is not None:
            self.names.tensors[name] = _gradient(scaled, None)
        return usual

    def _between(self, k: int) -> list[str]:
        """The gradients of layer k's output, and of what comes after it, that were seen."""
        later = range(k, len(self.names.network.layers))
        parts = (f"{j}.{part}" for j in later for part in ("grad_output", "grad_input"))
        return [n for n in parts if n in self.names.tensors and n != f"{k}.grad_input"]

    def _usual(self, finals: Sequence[TensorName], moved: set[str], scale: float) -> float:
        scales = [self.names.tensors[n].scale for n in finals if n.parameter in moved and self.names.tensors[n].equal]
        return max(scales, key=scales.count) if scales else scale

    def _ratio(self, finals: Sequence[TensorName]) -> float:
        """Tensors between over parameter gradients: 1, or m where the mean is taken last."""
        found = []
        for name in finals:
            tensors, k = self.names.tensors, int(name.layer)
            leaving = tensors.get(f"{k}.grad_output") or tensors.get(f"{k + 1}.grad_input")
            if leaving is not None and leaving.equal and tensors[name].equal:
                found.append(leaving.scale / tensors[name].scale)
        return max(found, key=found.count) if found else 1.0

    def _moved(self, rate: float | None) -> None:
        """New values as plain steps have them: what decay and momentum add is taken off, with its rounding."""
        law = self.update.law
        for move in self.update.moves:
            name, own = move.name.new, self.update.of.get(move.name) or law
            if rate is None or own is None or self._is_unsure(move):
                continue
            is_common = law is None or not law.momentum or own in tuple(law.variants())
            if updates.same(own.rate, rate):
                own = replace(own, rate=rate)  # as it is written, and not as it was fitted
            momentum = 0.0 if is_common else own.momentum_of(move)
            if momentum and law is not None and not _near(momentum, law.momentum):
                self._other_momentum(move, own, momentum)
                own, beside = law, law.beside(move)  # one momentum for all, or none
            else:
                beside = own.beside(move) if own.explains(move) else np.zeros_like(move.change)
            view = updates.reread(self.back, move.name, move.value)
            assert view is not None
            terms = np.abs(move.change) + np.abs(beside) + np.abs(own.rate * move.gradient)
            is_fitted = self.is_fitted or not own.is_written(self.update.rates)
            lost = 4 * (1 + abs(own.momentum)) * move.lost  # the change before is no better known
            rounded = ROUNDED if move.direction is None else 2 * ROUNDED  # both sides round the root and the quotient
            self.names.slack[name] = lost + (FITTED if is_fitted else rounded) * terms
            if own.rate * rate < 0 and updates.same(own.rate, -rate) and own.explains(move):
                self._is_added(move)
            self._other_rate(move, own)
            if np.any(beside):
                view = replace(view, array=np.asarray(view.array + beside, dtype=view.array.dtype))
            self.names.tensors[name] = Named(self._step_of(move, own) or observed(move.value), view)
            if move.name.gradient not in self.names.tensors:
                self._recover(move, rate, beside)

    def _is_added(self, move: Move) -> None:
        found = self.back.found.get(move.name.gradient)
        if found is not None and found.equal and found.scale > 0:
            self.notes.append(StepAdded((move.name.new,)))

    def _other_rate(self, move: Move, own: Law) -> None:
        """One step along the right gradient whose rate is a number of the code's, but another than the others have."""
        law, update, found = self.update.law, self.update, self.back.found.get(move.name.gradient)
        if law is None or own.rate * law.rate <= 0 or updates.same(own.rate, law.rate) or not own.explains(move):
            return
        if found is None or not found.equal or replace(own, rate=law.rate) not in (law, *law.variants()):
            return
        others = [other for other in update.moves if other is not move and law.explains(other)]
        is_other = any(update.is_another_number(move, other, own.rate / law.rate) for other in others)
        counts = {float(self.back.step.m), float(self.back.network.sizes[-1])} - {1.0}
        ratio = max(own.rate / law.rate, law.rate / own.rate)
        is_count = is_written(ratio, [*counts, math.prod(counts)])
        if is_other and not is_count and updates.is_one_step(self.back, move):
            rates = (float(f"{abs(each.rate / move.scale):.6g}") for each in (own, law))
            self.notes.append(RateDiffers(move.name.new, *rates))

    def _other_momentum(self, move: Move, own: Law, momentum: float) -> None:
        """One step along the right gradient, whose momentum goes the other way than that of the others."""
        law, found = self.update.law, self.back.found.get(move.name.gradient)
        if law is None or found is None or not found.equal or not own.explains(move):
            return
        if updates.same(own.rate, law.rate) and updates.same(momentum, -law.momentum):
            self.notes.append(MomentumDiffers(move.name.new, *(float(f"{m:.6g}") for m in (momentum, law.momentum))))

    def _step_of(self, move: Move, own: Law) -> Observation | None:
        """The new value at what is added to the old one, where its rate is another and it has a name of its own."""
        law = self.update.law
        assert law is not None
        found = self.back.found.get(move.name.gradient)
        if own.rate * law.rate <= 0 or updates.same(own.rate, law.rate) or len(move.value.operands) != 2:
            return None
        added = move.value.operands[1]
        if added.size != move.value.size or not added.names or (found is not None and added is found.value):
            return None
        return replace(observed(added), array=move.value.array)

    def _forgotten(self, rate: float | None) -> None:
        """A velocity that is zero again in a later step is judged as the momentum that it should be."""
        law = self.update.law
        for move in self.update.moves if rate and law is not None and not law.momentum else ():
            found = updates.forgotten(self.back, move)
            if found is None or move.earlier is None or not np.any(move.earlier) or not rate:
                continue
            momentum, zeros = found
            self.names.optimizer = OptimizerSpec("SGD", {"lr": rate, "momentum": momentum})
            before_it = Observation(move.earlier / rate, f"the velocity of {move.value.name}")
            held = Named(before_it, View(before_it.array, "state"))
            self.names.tensors[move.name.with_state("momentum_buffer")] = held
            if (new := self.names.tensors.get(move.name.new)) is None:
                continue
            at = replace(observed(zeros), array=new.view.array)
            self.names.tensors[move.name.new] = replace(new, observation=at)

    def _is_unsure(self, move: Move) -> bool:
        """Of a step with momentum or a penalty, what no law explains may follow one that is not known.

        Of the first step, only few numbers may.
        """
        law = self.update.law
        assert law is not None
        is_first = move.earlier is None or not np.any(move.earlier)
        if is_first and (not law.terms or move.change.size > FEW):
            return False
        own = self.update.of.get(move.name)
        if own is not None and nearest(abs(own.rate / law.rate), self.back.known_of_few, 1e-6) is not None:
            return False
        is_told = own is not None and move.change.size > FEW
        return not is_told and not any(each.explains(move) for each in law.variants())

    def _recover(self, move: Move, rate: float, beside: Array) -> None:
        """A gradient that no line holds is the change over the rate, as exactly as that is known."""
        change = move.change - beside
        if (number := updates.broadcast(move)) is not None:
            held = replace(observed(number), array=change)
        else:
            held = replace(observed(move.value), array=change, name=f"the change of {move.value.name}")
        self.names.tensors[move.name.gradient] = Named(held, View(change, "change"), rate, True, rate=rate)
        self.names.recovered[move.name.gradient] = move.lost


def _of_layer(name: TensorName) -> set[str]:
    """The gradients of its layer's parameters."""
    return {f"{name.layer}.grad_weight", f"{name.layer}.grad_bias"}


def observed(value: Value) -> Observation:
    """As the notes and places want it."""
    place = value.place
    function = value.site.function if value.site else ""
    where = place.name, place.file, place.line, function, value.time, place.cell, place.span
    return Observation(value.array, *where)


def _gradient(found: Gradient, again: Binding | None) -> Named:
    o = observed(found.value)
    if again is not None and not found.equal:
        o = replace(o, name=again.name, line=again.site.line, cell=again.site.cell, span=None)
    return Named(o, found.view, found.scale, found.equal)


def _at(observation: Observation, value: Value) -> Observation:
    """What was observed, named where another value is computed."""
    return replace(observed(value), array=observation.array)


def _times(a: Array, b: Array) -> float | None:
    """By what number a is b, where it is; None where by none."""
    factor = multiple(a, np.asarray(b, dtype=np.float64))
    return factor if factor is not None and distance(a, factor * b) <= tight(a) else None


def _calls(value: Value, function: str) -> bool:
    return any(v.what == f"call:{function}" for v in (value, *near(value)))


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-5 * max(abs(a), abs(b))
