"""Foreign code, checked as it is: objects, functions, scripts and arrays under any names and in any layout.

The code is run as it stands and the arrays that its lines bind are watched; naming says by value which of them is which
tensor of the step; the check then judges them like any record, and the report gives file and line.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from compare.checking import check_records
from compare.foreign import second_step
from compare.foreign.convention import Convention
from compare.foreign.findings import describe
from compare.foreign.module_record import record_module, torch_loss
from compare.foreign.naming.named import Named, Names
from compare.foreign.naming.search import NotFound, find
from compare.foreign.side_effects import Written, followed, given_back, in_words, shared, written_into
from compare.foreign.two_rates import RATES, at_half_the_rate, dependence, is_rate, rate_argument, updates
from compare.judging.step import rules
from compare.judging.verdict import Diagnosis
from compare.network.architecture import Architecture
from compare.network.optimizer import OptimizerSpec
from compare.network.tensor_name import TensorName
from compare.numbers.allowance import Precision
from compare.recording.batches import consecutive
from compare.recording.numbers import numbers
from compare.recording.record import Record, load_records, same_bits
from compare.report.report import Report
from compare.watching.observation import Observation
from compare.watching.watch import Watched, watch_call, watch_script

Array = NDArray[Any]

CALLS = 2  # of a step function: all rows, then half of them, so that a factor of m is no constant
OTHERS = 3  # tensors that are wrong, too, and are named in one line
AROUND = 2  # lines of source shown before and after the one that is wrong


def check_foreign(candidate: Any, x: Array, t: Array, network: Any, loss: Any, convention: Convention | None) -> Report:
    """A dictionary, a torch module, an object or a function. TypeError in one line for anything else."""
    if isinstance(candidate, nn.Module):
        return check_module(
            candidate, x, t, Architecture.of(candidate if network is None else network, loss), loss, convention
        )
    if not isinstance(candidate, Mapping) and not callable(candidate) and _method(candidate, BACKWARD) is None:
        raise TypeError(
            f"got {type(candidate).__name__}, expected a network, an object with forward and backward, a function "
            "step(x, t), a dictionary of arrays, or the path of a script or a record"
        )
    wanted = Architecture.of(network, loss)
    if isinstance(candidate, Mapping):
        if convention is None and _is_record(candidate, wanted):
            return check_dictionary(candidate, x, t, wanted)
        return check_arrays(candidate, x, t, wanted, convention)
    if _method(candidate, BACKWARD) is not None:
        return check_object(candidate, x, t, wanted, convention)
    return check_call(candidate, x, t, wanted, convention)


def _is_record(arrays: Mapping[Any, Any], network: Architecture) -> bool:
    """Whether the names are meant to be a record's: at least one is, or there is nothing to be found by value."""
    known = _record_names(network)
    return not arrays or any(name in known or not isinstance(name, str) for name in arrays)


def check_file(
    path: Path, x: Array | None, t: Array | None, network: Architecture, convention: Convention | None, **limits: Any
) -> Report:
    """A script, or a record as a file. ValueError in one line where it is neither."""
    if path.suffix == ".py":
        if not path.is_file():
            raise ValueError(f"{path}: no such file")
        return check_script(path, network, convention, **limits)
    if path.suffix not in (".safetensors", ".npz"):
        raise ValueError(f"{path}: expected a script (.py) or a record (.safetensors, .npz)")
    records = load_records(path, network)
    if convention is None and all(any(name in _record_names(network) for name in record) for record in records):
        return check_records(records)
    return check_arrays(records[0], x, t, network, convention)


def check_dictionary(arrays: Mapping[str, Any], x: Array, t: Array, network: Architecture) -> Report:
    """A dictionary of arrays by record name. ValueError for a name that the network has no tensor of."""
    tensors = {name: numbers(name, a) for name, a in arrays.items()}
    record = Record(network, {"input": x, "target": t} | tensors, plain_loss=type(arrays.get("loss")) in (int, float))
    return check_records([record], {"input": x, "target": t})


def _record_names(network: Architecture) -> set[str]:
    return {"input", "target", "loss", *(rule.name for rule in rules(network, None, 1, ())), *network.parameters()}


def check_arrays(
    arrays: Mapping[str, Any], x: Array | None, t: Array | None, network: Architecture, convention: Convention | None
) -> Report:
    """A dictionary of arrays under any names. NotFound in one line where the network's own are not among them."""
    observations = [Observation(np.asarray(a), name, time=k) for k, (name, a) in enumerate(arrays.items())]
    report = _report([Step(find(network, observations, x, t, convention))])
    report.side_effects = [*shared(arrays)]
    return report


def check_module(
    candidate: nn.Module, x: Array, t: Array, network: Architecture, loss: Any, convention: Convention | None
) -> Report:
    """A torch module of any make: its parameters, their gradients, and what its parts return and are given back."""
    model = copy.deepcopy(candidate)
    criterion = copy.deepcopy(loss) if isinstance(loss, nn.Module) else torch_loss(network)
    return check_arrays(record_module(model, criterion, x, t), x, t, network, convention)


def check_call(
    step: Callable[[Array, Array], Any],
    x: Array,
    t: Array,
    network: Architecture,
    convention: Convention | None,
) -> Report:
    """A function that does one training step in somebody's code, watched while it runs, on two batches.

    Where its rate is an argument, it runs once more at half of it; that says something where it makes its weights anew.
    """
    found = _calls(step, x, t, network, convention)
    report = _report(found)
    if (argument := rate_argument(step)) is not None and updates(found[0].names):
        name, rate = argument
        _at_two_rates(report, found[0], partial(step, **{name: rate / 2}), (rate, rate / 2), (x, t), convention)
    return report


def _calls(
    step: Callable[[Array, Array], Any], x: Array, t: Array, network: Architecture, convention: Convention | None
) -> list[Step]:
    found = []
    for batch in consecutive(x, t, CALLS):
        theirs = [a.copy() for a in batch]
        _, seen = watch_call(step, *theirs)
        found.append(Step.of(_found(network, seen, *batch, convention), seen))
        for name, before, after in zip(("input", "target"), batch, theirs, strict=True):
            if (written := given_back(name, before, after, seen)) is not None:
                found[-1].written.setdefault(name, written)
    return found


def _at_two_rates(
    report: Report,
    first: Step,
    step: Callable[[Array, Array], Any],
    rates: tuple[float, float],
    batch: tuple[Array, Array],
    convention: Convention | None,
) -> None:
    """Say in the report what depends on the rate, of the first step and the same at another one."""
    _, seen = watch_call(step, *(a.copy() for a in batch))
    try:
        names = find(first.names.network, seen.observations, *batch, convention)
    except NotFound:
        return
    found = dependence(first.names, names, rates)
    if found is None:
        return
    report.findings.append(str(found))
    if report.first is not None and report.diagnosis[0].cause == "unknown":
        report.diagnosis = [Diagnosis("updated-weights", found.layer, AT_TWO_RATES, str(found))]


def check_object(candidate: Any, x: Array, t: Array, network: Architecture, convention: Convention | None) -> Report:
    """An object with forward and backward, called as their arguments' names ask; a copy is run.

    Where it updates its weights itself, another copy runs at half the learning rate.
    """
    found = _calls(driver(copy.deepcopy(candidate), network), x, t, network, convention)
    report = _report(found)
    if not updates(found[0].names):
        return report
    if _takes_a_rate(candidate):
        other = driver(copy.deepcopy(candidate), network, RATE / 2)
        _at_two_rates(report, found[0], other, (RATE, RATE / 2), (x, t), convention)
    elif (half := at_half_the_rate(candidate)) is not None:
        _at_two_rates(report, found[0], driver(half[0], network), half[1], (x, t), convention)
    return report


def _takes_a_rate(candidate: Any) -> bool:
    """Whether backward takes the learning rate as an argument."""
    backward = _method(candidate, BACKWARD)
    return backward is not None and any(is_rate(name) for name in inspect.signature(backward).parameters)


def check_script(path: str | Path, network: Architecture, convention: Convention | None, **limits: Any) -> Report:
    """A script, unedited, in a process of its own. ValueError in one line where it could not be run."""
    watched = watch_script(path, **limits)
    if not watched.observations:
        how = "it ran to its end" if watched.complete else watched.ended
        raise ValueError(f"{path}: {how}, and no array was bound")
    first = _found(network, watched, None, None, convention)
    report = _report([Step.of(first, watched)])
    return report if report.first is not None else _with_second_step(report, first, network, watched, convention)


def _with_second_step(
    report: Report, first: Names, network: Architecture, watched: Watched, convention: Convention | None
) -> Report:
    """The report on the first step, or, where that one shows nothing wrong and the second does, on the second."""
    seen = second_step.observations(first, watched.observations)
    try:
        second = second_step.with_biases(first, find(network, seen, None, None, convention), seen)
    except NotFound:
        return report
    if not second_step.follows(first, second):
        return report
    for name in second_step.unmoved(first, second):
        held = first.tensors[name].observation.name
        report.findings.append(f"{name} ({held}) is not updated in the first step, and no gradient of it was seen")
    if kept := second_step.never_updated(first, second):
        again = _report([Step.of(replace(first, tensors=first.tensors | kept), watched)])
        if again.first is not None and again.first.tensor in kept:
            words = f"{again.first.tensor}: it is never updated: the second step begins with the same values"
            again.diagnosis = [Diagnosis("update-missing", again.first.layer, NEVER_UPDATED, words)]
        return again
    later = _report([Step.of(second_step.without_updates(second), watched)])
    if later.first is None:
        if later.verdict == "parity":
            report.findings.append("a second step, from the updated weights, is right too")
        return report
    later.findings.append("this is the second step: in the first one, from the initial weights, nothing is wrong")
    return later


def _found(
    network: Architecture, watched: Watched, x: Array | None, t: Array | None, convention: Convention | None
) -> Names:
    try:
        return find(network, watched.observations, x, t, convention)
    except NotFound as error:
        ended = "" if watched.complete else f"; it did not run to its end: {watched.ended}"
        raise NotFound(f"{error}{ended}") from None


# --- objects ----------------------------------------------------------------------------------------------------------

FORWARD = ("forward", "predict", "feedforward", "feed_forward", "forward_pass", "forward_propagation", "__call__")
BACKWARD = ("backward", "backprop", "backpropagate", "backpropagation", "backward_pass", "back_propagation")
TARGETS = ("t", "y", "target", "targets", "label", "labels", "y_true", "ytrue", "truth", "expected")
INPUTS = ("x", "input", "inputs", "data", "batch", "samples")
OUTPUTS = ("out", "output", "outputs", "y_hat", "yhat", "y_pred", "pred", "prediction", "a", "p", "probs")
RATE = 0.01
NEVER_UPDATED = 0.95  # the confidence, where two steps show the same values
AT_TWO_RATES = 0.95  # the confidence: only an update in between makes a gradient depend on the rate


def driver(candidate: Any, network: Architecture, rate: float = RATE) -> Callable[[Array, Array], Any]:
    """One training step of an object: its forward on x, its backward on what its arguments' names say.

    `rate` is for a backward that takes the learning rate as an argument.

    TypeError in one line where it has no such methods, or where an argument's name says nothing: pass a function
    step(x, t) then, that calls the object.
    """
    forward, backward = _method(candidate, FORWARD), _method(candidate, BACKWARD)
    if forward is None or backward is None:
        lacks = "forward" if forward is None else "backward"
        raise TypeError(f"got {type(candidate).__name__} without {lacks}; pass a function step(x, t) that calls it")

    def step(x: Array, t: Array) -> Any:
        output = forward(x)
        offered = {INPUTS: x, TARGETS: t, OUTPUTS: output, RATES: rate}
        backward(*_arguments(backward, offered, output, t, network))
        return output

    return step


def _method(candidate: Any, names: Sequence[str]) -> Callable[..., Any] | None:
    found = (getattr(candidate, name, None) for name in names)
    return next((method for method in found if callable(method)), None)


def _arguments(
    backward: Callable[..., Any], offered: Mapping[tuple[str, ...], Any], output: Array, t: Array, network: Architecture
) -> list[Any]:
    """What backward asks for, argument by argument."""
    found: list[Any] = []
    for parameter in inspect.signature(backward).parameters.values():
        known = [value for names, value in offered.items() if parameter.name.lower().strip("_") in names]
        if known:
            found.append(known[0])
        elif parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            break
        else:
            found.append(_upstream(parameter.name, np.asarray(output), t, network))
    return found


def _upstream(name: str, output: Array, t: Array, network: Architecture) -> Array:
    """The loss's gradient, for an argument that is called like one."""
    if not name.lower().startswith(("d", "g", "delta", "upstream", "error", "loss")):
        raise TypeError(f"backward's argument {name!r} says nothing known; pass a function step(x, t) that calls it")
    columns = output.ndim == 2 and output.shape != (len(t), network.sizes[-1])
    y = output.T if columns else output
    dy = network.loss.gradient(y.astype(np.float64), t, Precision.of(np.float64)).value.astype(y.dtype)
    upstream: Array = dy.T if columns else dy
    return upstream


# --- the report -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One training step of somebody's code: its names, what was watched of it, and what backward wrote into."""

    names: Names
    watched: Watched | None = None
    written: dict[str, Written] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Names, watched: Watched) -> Step:
        """With what backward wrote into, as far as lines show it."""
        return cls(names, watched, written_into(names, watched))


def records(steps: Sequence[Step]) -> list[Record]:
    """What was named, as records of consecutive steps, in torch's layout, with each tensor's own scale.

    A function that makes its network anew at every call begins each step with the same weights: what a step left is
    then not what the next one began with, and is no part of the record.
    """
    found = [_record(each, number) for number, each in enumerate(steps, 1)]
    for record, following in pairwise(found):
        if _begin_alike(record, following):
            record.tensors = {name: a for name, a in record.tensors.items() if ".new_" not in name}
    return found


def _begin_alike(one: Record, other: Record) -> bool:
    """Whether both steps began with the same weights, of those that both hold."""
    held = [name for name in one.network.parameters() if name in one and name in other]
    return bool(held) and all(same_bits(one[name], other[name]) for name in held)


def _record(step: Step, number: int) -> Record:
    optimizer, names = None, step.names
    kept = dict(names.tensors)
    if names.rate is None:
        kept = {name: named for name, named in kept.items() if ".new_" not in name}
    else:
        optimizer = OptimizerSpec("SGD", {"lr": names.rate})
    if names.guard:
        kept.pop("loss", None)  # not the exact formula, by so little that it is told, not judged
    tensors = {name: named.view.array for name, named in kept.items()}
    if tensors["input"].dtype.kind != "f":
        tensors["input"] = tensors["input"].astype(tensors["0.weight"].dtype)
    scales = {name: named.scale for name, named in kept.items() if named.scale != 1}
    scales |= {
        f"{int(name.partition('.')[0]) - 1}.grad_output": s for name, s in scales.items() if "grad_input" in name
    }
    return Record(
        names.network,
        tensors,
        optimizer,
        number,
        touched=_touched(step),
        plain_loss=True,
        scales=scales,
        slack=names.recovered,
        told=True,
    )


def _touched(step: Step) -> dict[str, Array]:
    """What arrays of the forward pass became in the backward pass; weights that are updated, too."""
    held = step.names.tensors
    moved = (name for name in step.names.network.parameters() if _moves(name, held))
    new: dict[str, Array] = {name: held[name.new].view.array for name in moved}
    return new | {name: written.after for name, written in step.written.items()}


def _moves(name: str, held: Mapping[str, Named]) -> bool:
    return name in held and TensorName(name).new in held


def _report(steps: Sequence[Step]) -> Report:
    first, watched = steps[0], steps[0].watched
    report = check_records(records(steps))
    report.findings = describe(first.names)
    report.origins = {name: named.observation.origin for name, named in first.names.tensors.items()}
    if watched is None:
        return report
    if report.first is not None:
        named = steps[report.first.step - 1].names.tensors.get(report.first.tensor)
        if named is not None:
            report.excerpt = _excerpt(named.observation, watched.sources)
        report.findings += _also_wrong(report)
    written = {name: each for step in reversed(steps) for name, each in step.written.items()}
    report.side_effects = [in_words(each, report) for each in written.values()]
    report.watched = followed(first.names, watched)
    if not watched.complete:
        report.findings.append(f"the code did not run to its end: {watched.ended}")
    return report


def _also_wrong(report: Report) -> list[str]:
    """What else is wrong on its own inputs, and where: each is a mistake of its own."""
    first = report.first
    assert first is not None
    others = [r for r in report.rows if r.status == "off" and r.step == first.step and r.tensor != first.tensor]
    shown = [f"{r.tensor} ({report.origins[r.tensor]})" for r in others if r.tensor in report.origins]
    more = f" and {len(shown) - OTHERS} more" if len(shown) > OTHERS else ""
    return [f"also wrong, on its own inputs: {', '.join(shown[:OTHERS])}{more}"] if shown else []


def _excerpt(o: Observation, sources: Mapping[str, Sequence[str]]) -> str:
    """The source around the line that bound it, marked."""
    lines = sources.get(o.file)
    if not lines or not o.line:
        return ""
    first = max(o.line - AROUND, 1)
    shown = enumerate(lines[first - 1 : o.line + AROUND], first)
    return "\n".join(f"{'>' if k == o.line else ' '} {k:4} {line.rstrip()}" for k, line in shown)
