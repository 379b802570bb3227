"""Reading: a program's values as the names of its training steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from compare.foreign import layout
from compare.foreign.convention import Convention
from compare.foreign.flow import adaptive, backward, updates
from compare.foreign.flow.adaptive import Moments
from compare.foreign.flow.backward import Backward, Gradient
from compare.foreign.flow.given import Given
from compare.foreign.flow.losses import called, guarded
from compare.foreign.flow.multiples import scale_of
from compare.foreign.flow.passes import Pass, Passes, Seen
from compare.foreign.flow.penalties import Penalty, penalty
from compare.foreign.flow.products import MULTIPLIED, moves, near, root
from compare.foreign.flow.target import Aim, aim, stacked
from compare.foreign.flow.training import TrainingStep, steps
from compare.foreign.flow.updates import Law, Move, Update, absorbed, is_written
from compare.foreign.flow.written import written
from compare.foreign.layout import View
from compare.foreign.naming.named import Named, Names, most
from compare.foreign.naming.values import number
from compare.network.architecture import Architecture
from compare.network.optimizer import OptimizerSpec
from compare.network.tensor_name import TensorName
from compare.operations.linear import Linear
from compare.recording.notes import (
    MomentumFound,
    NeverUpdated,
    Note,
    NotUpdated,
    PenaltyDiffers,
    PenaltyFound,
    UpdateNotJudged,
    Written,
)
from compare.watching.dataflow import Array, Dataflow, Value
from compare.watching.observation import Observation

EXPONENTIAL = ("tanh", "sigmoid")
ENDLESS = 1 << 62
ROUNDED = 8 * 2.0**-53  # relative: of a change whose factors are multiplied in another order
BESIDE = 60  # values after the last new parameter among which that of a bias is looked for that is in no sum
SIMULATED = 1e-6  # relative: of Adam's step from moments that were computed along, not seen
VISIBLE = 1e-6  # relative: of a penalty in a gradient
GUARDED = 1e-12  # relative: farther from the loss than its rounding
FEW = 3  # numbers, which many laws explain
FITTED = 1e-9  # relative: of a change by a rate that was fitted


@dataclass
class Read:
    """A step as it was read."""

    step: TrainingStep
    names: Names
    update: Update
    notes: list[Note] = field(default_factory=list)
    number: int = 1  # of the optimiser's steps
    written: dict[str, Written] = field(default_factory=dict)  # tensors of the forward pass, after it

    @property
    def looked_at(self) -> int:
        """How many arrays of the forward pass backward could have written into; 0 where several passes make a step."""
        held = [n for n in self.names.tensors if n in ("input", "target") or n.endswith(".output")]
        return len(held) if len(self.step.passes) == 1 else 0


class Reader:
    """Reads the steps of a program one after the other."""

    def __init__(
        self, network: Architecture, flow: Dataflow, convention: Convention | None, given: Given | None = None
    ) -> None:
        self.network, self.flow, self.convention = network, flow, convention or Convention()
        self.given = given
        self.earlier: dict[str, Move] = {}
        self.moments = Moments()

    def __iter__(self) -> Iterator[Read]:
        for old in self.flow.replaced:
            root(self.flow.values[old]).moves = 2
        left, values = self.given.left if self.given else None, self.flow.values
        for entered in (self.given.entered, None) if self.given else (None,):
            found = False
            for step in steps(Passes(self.network, values, entered), self.flow.replaced, left):
                found = True
                yield self._read(step)
            if found:
                return

    def following(self, given: Given) -> Reader:
        """A reader of the next call, which goes on with the same parameters."""
        made = Reader(self.network, given.flow, self.convention, given)
        made.earlier, made.moments = self.earlier, self.moments
        return made

    def _read(self, step: TrainingStep) -> Read:
        back, found, tensors = self._searched(step)
        if self._add_unused_biases(step, back):
            back, found, tensors = self._searched(step)
        network = back.network
        update = updates.update(back, self.earlier)
        self.earlier = {m.name: updates.with_decay(m, update.of.get(m.name)) for m in update.moves}
        names = Names(network, {n: _named(s) for n, s in tensors.items()}, step.m)
        names.unbiased = [k for k, layer in enumerate(network.layers) if layer != self.network.layers[k]]
        settled = Settled(back, update, found, names, self._adaptive(step, back, update), self.moments)
        settled.is_given, settled.declared = self.given is not None, self.convention
        settled.settle()
        self.moments.take(update.moves, settled.optimizer)
        return Read(step, names, update, settled.notes, max(self.moments.steps, 1), written(step, names, self.flow))

    def _add_unused_biases(self, step: TrainingStep, back: Backward) -> bool:
        """Biases that are updated by the gradient of one, but are in no sum: the forward pass leaves them out."""
        added = False
        for k, layer in enumerate(self.network.layers):
            if isinstance(layer, Linear) and layer.bias and f"{k}.bias" not in step.old:
                delta = back.delta(k)
                found = self._updated_by(step, delta.sum(axis=0), back) if delta is not None else None
                if found is not None:
                    old, new = found
                    for each in step.passes:
                        each.tensors[f"{k}.bias"] = old
                    step.new[f"{k}.bias"] = new
                    added = True
        return added

    def _updated_by(self, step: TrainingStep, wanted: Array, back: Backward) -> tuple[Seen, Value] | None:
        begun = step.passes[0].begin.time
        for value in self.flow.values[begun : step.end + BESIDE]:
            old = value.operands[0] if value.operands else None
            if old is None or old.size != wanted.size or value.size != wanted.size or moves(old) != 2:
                continue
            if old.time < begun and value in old.users:
                for view in layout.biases(old.array, wanted.size):
                    change = view.array - value.array.reshape(-1)
                    if np.any(change) and scale_of(change, wanted, back.known) is not None:
                        return Seen(old, view), value
        return None

    def _searched(self, step: TrainingStep) -> tuple[Backward, list[Aim], dict[str, Seen]]:
        """The step's gradients, what it aims at, and its forward tensors."""
        network = self._without_absent_biases(step)
        until = step.end if step.new else ENDLESS
        aims = [aim(network, each, until, self._target(each)) for each in step.passes]
        tensors = backward.stacked(step.passes)
        found = [each for each in aims if each is not None]
        if len(found) == len(aims):
            tensors["target"] = stacked(found)
        back = Backward(network, step, backward.plain(tensors), [each.target.value for each in found])
        if "target" in tensors:
            back.search()
        return back, found, tensors

    def _target(self, found: Pass) -> tuple[Value, Array] | None:
        """Of a pass, where it is given."""
        rows = None if self.given is None else self.given.targets(found)
        return None if self.given is None or rows is None else (self.given.target, rows)

    def _penalized(self, back: Backward, update: Update) -> None:
        """With the penalty that is in a gradient, which Adam's step cannot show: by value."""
        for k, move in enumerate(update.moves):
            slopes = {"L2": move.old, "L1": np.sign(move.old)}
            for amount, kind in ((a, kind) for a in update.rates if a < 1 for kind in slopes):
                is_seen = np.linalg.norm(amount * slopes[kind]) > VISIBLE * np.linalg.norm(move.gradient)
                if not is_seen or move.value.size <= FEW:
                    continue
                gradient = move.gradient + amount * slopes[kind]
                if back.whole(move.name, gradient) is not None:
                    update.moves[k] = replace(move, gradient=gradient)
                    update.penalties[move.name] = amount, kind
                    break

    def _adaptive(self, step: TrainingStep, back: Backward, update: Update) -> OptimizerSpec | None:
        """Adam, where the step has its square root."""
        if not update.moves or not any(adaptive.has_root(step.behind, move) for move in update.moves):
            return None
        self._penalized(back, update)
        return adaptive.adam(update.moves, update.written, self.moments)

    def _without_absent_biases(self, step: TrainingStep) -> Architecture:
        """A layer that was computed without a bias has none."""
        old = step.old
        layers = tuple(
            replace(layer, bias=False) if isinstance(layer, Linear) and layer.bias and f"{k}.bias" not in old else layer
            for k, layer in enumerate(self.network.layers)
        )
        return replace(self.network, layers=layers)


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
    declared: Convention = field(default_factory=Convention)
    is_fitted: bool = False  # the rate is no number of the code, and only as exact as the changes

    def settle(self) -> None:
        scale = self._scale()
        self._loss(scale)
        law, rate = self.update.law if self.optimizer is None else None, None
        if law is not None:
            rate = self._rate(law.rate, scale)
        taken: set[int] = set()
        for name, found in self.back.found.items():
            self.names.tensors[name] = _gradient(found, again=found.value.time in taken)
            taken.add(found.value.time)
        if self.optimizer is None:
            self._scales(scale, rate)
            self._moved(rate)
            self.names.rate = rate
        else:
            self._adapted()
        for name in self.back.found:
            if name.endswith((".grad_weight", ".grad_bias")) and self.declared.rate is not None:
                self.names.tensors[name] = replace(self.names.tensors[name], rate=self.declared.rate)
        if law is not None and law.momentum:
            self.notes.append(MomentumFound(float(f"{law.momentum:.6g}")))
        self._penalties()
        self._kept()
        self._written_otherwise()
        self._unjudged()

    def _adapted(self) -> None:
        """New values by Adam, and the moments before the step."""
        self.names.optimizer = self.optimizer
        for move in self.update.moves:
            if move.name in self.update.penalties and adaptive.explains(move, self.moments, self.optimizer):
                self.judged.add(move.name.new)
                continue
            view = updates.reread(self.back, move.name, move.value)
            assert view is not None
            self.names.tensors[move.name.new] = Named(observed(move.value), view)
            simulated = SIMULATED * np.abs(move.change) if self.moments.steps else 0.0
            self.names.slack[move.name.new] = self._scaled(move) + 4 * move.lost + simulated
            if self.moments.steps:
                for state, array in zip(("exp_avg", "exp_avg_sq"), self.moments.of(move), strict=True):
                    held = Observation(array, f"{state} of {move.value.name}")
                    self.names.tensors[move.name.with_state(state)] = Named(held, View(array, "state"))

    def _scaled(self, move: Move) -> Array:
        """What the gradient's own factor changes in Adam's step: no more than its epsilon does."""
        assert self.optimizer is not None
        lr, eps = float(self.optimizer.options["lr"]), float(self.optimizer.options["eps"])
        found = self.names.tensors.get(move.name.gradient)
        scale = abs(found.scale) if found is not None else 1.0
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
                self.names.tensors[name.new] = self.names.tensors[name]
                kept.append(name.new)
            elif wanted is not None and np.any(wanted) and name in self.names.tensors:
                self.notes.append(NotUpdated(name, self.names.tensors[name].observation.name))
        if kept:
            self.notes.append(NeverUpdated(tuple(kept)))

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
        """Parameters that moved and of which no new value is judged."""
        moved = [TensorName(name).new for name in self.back.step.new]
        if left := tuple(name for name in moved if name not in self.names.tensors and name not in self.judged):
            self.notes.append(UpdateNotJudged(left))

    def _penalties(self) -> None:
        """What the loss adds for the weights, and the gradient with it; where both differ, the gradient is wrong."""
        in_loss = None
        if len(self.aims) == 1:
            in_loss = penalty(self.aims[0].losses, self.back.step.old, self.aims[0].computed)
        of = self.update.of
        in_gradient: dict[str, Law] = {move.name: of[move.name] for move in self.update.moves if move.name in of}
        amounts = {n: law.decay or law.shrink for n, law in in_gradient.items() if law.decay or law.shrink}
        if self.optimizer is not None:
            amounts = {n: amount for n, (amount, _) in self.update.penalties.items()}
            in_gradient = {move.name: Law(1.0) for move in self.update.moves}
        if in_loss is None:
            self._told(amounts, "gradient", "L1" if any(law.shrink for law in in_gradient.values()) else "L2")
            return
        wrong = [n for n in in_loss.names if n in in_gradient and not _near(amounts.get(n, 0.0), in_loss.amount)]
        right = {n: in_loss.amount for n in in_loss.names if n not in wrong}
        self._told(right, "both", in_loss.kind)
        for name in map(TensorName, wrong):
            self._without(name, amounts.get(name, 0.0), in_loss)

    def _told(self, amounts: dict[str, float], where: str, kind: str) -> None:
        for amount in dict.fromkeys(float(f"{a:.6g}") for a in amounts.values()):
            on = [n for n, a in amounts.items() if float(f"{a:.6g}") == amount]
            held = tuple(self.names.tensors[n].observation.name for n in on)
            self.notes.append(PenaltyFound(kind, amount, held, where))

    def _without(self, name: TensorName, amount: float, in_loss: Penalty) -> None:
        """The gradient with its own penalty, less the loss's: what is left is wrong."""
        move = next(m for m in self.update.moves if m.name == name)
        slope = move.old if in_loss.kind == "L2" else np.sign(move.old)
        found = self.back.whole(name, move.gradient + amount * slope)
        held = self.names.tensors.get(name.gradient)
        if found is None or held is None:
            return
        array = np.asarray(found.view.array, dtype=np.float64) - found.scale * in_loss.amount * slope
        view = replace(found.view, array=array)
        self.names.tensors[name.gradient] = Named(observed(found.value), view, found.scale, equal=False)
        self.notes.append(PenaltyDiffers(name.gradient, in_loss.kind, in_loss.amount, amount))
        if (new := self.names.tensors.get(name.new)) is not None:
            beyond = self.names.rate or 0.0
            moved = np.asarray(new.view.array - beyond * (amount - in_loss.amount) * slope)
            self.names.tensors[name.new] = replace(new, view=replace(new.view, array=moved))

    # --- the loss's factor --------------------------------------------------------------------------------------------

    def _scale(self) -> float:
        """The factor of the reported loss by which the step has a rate that is written; else the gradients' own."""
        if self.declared.factor is not None:
            return self.declared.factor * (self.declared.rate or 1.0)
        law, losses = self.update.law, self._reported()
        finals = [g.scale for n, g in self.back.found.items() if g.equal and n.endswith(("weight", "bias"))]
        usual = abs(most(finals)) if finals else 1.0
        if not self.back.step.new and self.optimizer is None:
            return self._unmoved(finals)
        if law is None:
            return losses[0] if losses and usual not in losses else usual
        good = [f for f in losses if is_written(law.rate / f, self.update.rates)]
        if good:
            return good[0]
        if losses:
            return losses[0]
        if is_written(law.rate / usual, self.update.rates):
            return usual
        known = [abs(f.value) for f in self.back.known_of_few if is_written(law.rate / f.value, self.update.rates)]
        return known[0] if known else usual

    def _unmoved(self, finals: Sequence[float]) -> float:
        """Without an update, the gradients' own factor, if the reported loss has it; else that of the loss.

        A log-likelihood may be reported beside the gradient of its negative.
        """
        losses = [f for each in self.aims[:1] for _, f in sorted(each.losses, key=lambda pair: not pair[0].names)]
        usual = most(finals) if finals else 1.0
        is_of_loss = usual in losses or usual in map(abs, losses)
        return usual if is_of_loss or not losses else losses[0]

    def _reported(self) -> list[float]:
        """The factors of the losses that are reported, those with a name first; added up over passes, a mean or a sum.

        A log-likelihood has the other sign.
        """
        if not self.aims:
            return []
        named = sorted(self.aims[0].losses, key=lambda pair: not pair[0].names)
        passes = len(self.aims)
        whole = passes if passes > 1 and self.back.network.reduction == "mean" else 1
        return [abs(factor) * times for _, factor in named for times in dict.fromkeys((whole, whole / passes))]

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
        self.names.tensors["loss"] = Named(observed(value), view, self.declared.factor or factor)

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
            own, is_alone = self._where_it_went_wrong(name, rate, usual), not right.isdisjoint(_of_layer(name))
            if tensors[name].equal and tensors[name].scale != usual and not is_alone:  # what it is computed from may be
                for between in self._between(int(name.layer)):
                    tensors[between] = replace(tensors[between], scale=usual * ratio)
            tensors[name] = replace(tensors[name], scale=own)

    def _where_it_went_wrong(self, name: TensorName, rate: float | None, usual: float) -> float:
        """Name the first multiple that has the factor, or else the sign, by which a parameter moved wrongly.

        The scale that it should have.
        """
        own, found = self.update.of.get(name.parameter), self.back.multiples.get(name, [])
        if own is None or not rate:
            return usual
        wanted = own.rate / rate * usual
        turned = [each for each in found if each.scale * usual < 0] if wanted * usual < 0 else []
        turned.sort(key=lambda each: (not each.value.names, each.value.time))
        for each in turned or (each for each in found if updates.same(each.scale, wanted)):
            self.names.tensors[name] = Named(observed(each.value), each.view, each.scale)
            return abs(each.scale) * float(np.sign(usual)) if turned else usual
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
            beside = own.beside(move) if own.explains(move) else np.zeros_like(move.change)
            view = updates.reread(self.back, move.name, move.value)
            assert view is not None
            terms = np.abs(move.change) + np.abs(beside) + np.abs(own.rate * move.gradient)
            is_fitted = self.is_fitted or not own.is_written(self.update.rates)
            self.names.slack[name] = 4 * move.lost + (FITTED if is_fitted else ROUNDED) * terms
            if np.any(beside):
                view = replace(view, array=np.asarray(view.array + beside, dtype=view.array.dtype))
            self.names.tensors[name] = Named(observed(move.value), view)
            if move.name.gradient not in self.names.tensors:
                self._recover(move, rate, beside)

    def _is_unsure(self, move: Move) -> bool:
        """Of a step with momentum or a penalty, what no law explains may follow one that is not known."""
        law = self.update.law
        assert law is not None
        if not law.terms and (move.earlier is None or not np.any(move.earlier)):
            return False
        is_told = move.name in self.update.of and move.change.size > FEW
        return not is_told and not any(each.explains(move) for each in law.variants())

    def _recover(self, move: Move, rate: float, beside: Array) -> None:
        """A gradient that no line holds is the change over the rate, as exactly as that is known."""
        change = move.change - beside
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
    return Observation(value.array, place.name, place.file, place.line, function, value.time, cell=place.cell)


def _named(seen: Seen) -> Named:
    return Named(observed(seen.value), seen.view, 1.0, seen.equal)


def _gradient(found: Gradient, again: bool) -> Named:
    """A value that is another tensor already is this one by the last name that it had when it was multiplied.

    delta = dh leaves something out.
    """
    o = observed(found.value)
    last = max((u.time for u in found.value.users if u.what in MULTIPLIED), default=ENDLESS)
    named = zip(found.value.names, found.value.named, strict=True)
    names = [pair for pair, time in named if time <= last]
    if again and len(names) > 1 and not found.equal:
        name, site = names[-1]
        o = replace(o, name=name, line=site.line, cell=site.cell)
    return Named(o, found.view, found.scale, found.equal)


def _calls(value: Value, function: str) -> bool:
    return any(v.what == f"call:{function}" for v in (value, *near(value)))


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-5 * max(abs(a), abs(b))
