"""Candidate + reference -> Report: the one entry point, for every kind of candidate."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import scratch
from compare.architecture import LOSS_TYPES, Architecture, named_parameters
from compare.convention import Convention
from compare.diagnosis import diagnose
from compare.power import power
from compare.record import Batch, Record, record_scratch, record_torch, same_bits
from compare.reference import STATES
from compare.report import Report, Row
from compare.step import Rule, rules
from compare.sweep import Sweep, judgement, roots, updated_names
from compare.weights import to_torch, to_torch_loss, to_torch_optimizer
from torch_ref.learner import existing

Array = NDArray[Any]

STEPS = 3  # one step cannot show momentum, a stale or an accumulated gradient


def check(
    candidate: Any,
    x: Array | None = None,
    t: Array | None = None,
    *,
    network: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    steps: int = STEPS,
    convention: Convention | None = None,
    **limits: Any,
) -> Report:
    """Check a candidate's backpropagation on inputs x (m, in) and targets t, tensor by tensor.

    candidate, any of:

    - a scratch.Sequential or a torch.nn.Sequential, which bring their layers; `loss` (and `optimizer`, to check
      updates) is an object of the same side. They are not changed: copies are trained;
    - a dictionary of arrays by record name ({"0.weight": W, "0.grad_weight": dW, ...}), or under any other names, or a
      file of them (.safetensors, .npz);
    - an object with forward and backward, or a function step(x, t) that does one training step: it is called on two
      batches and watched (an object is copied first);
    - another torch.nn.Module, a port or a fused layer, whose `loss` is torch's;
    - a script's path (.py), watched while it runs in a process of its own, for at most `seconds` and `memory` bytes;
      x and t are then its own.

    `network` says what is to be computed: a text such as "784-256-10 relu, softmax cross-entropy", or a scratch network
    or a torch module with its `loss`. `convention` declares how arrays are laid out and scaled; what it leaves out is
    found by value and said in `Report.findings`.

    Of somebody's code, `Report.side_effects` says what backward writes into. Where backward updates the weights itself
    and the learning rate can be set, it runs at two rates: a gradient that depends on the rate is an update before
    delta. Of a script the second step is judged too, where the first is right.

    ValueError or TypeError, in one line, for what cannot be checked.
    """
    from compare import foreign

    if isinstance(candidate, str | Path):
        return foreign.check_file(Path(candidate), x, t, Architecture.of(network, loss), convention, **limits)
    if limits:
        raise TypeError(
            f"got {', '.join(limits)}, which limit a script only; the candidate is {type(candidate).__name__}"
        )
    for name, a in (("x", x), ("t", t)):
        if a is None:
            raise TypeError(f"{name}: got None, expected an array: only a script brings its own data")
    x, t = _array("x", x), _array("t", t)
    for name, a in (("x", x), ("t", t)):
        if a.ndim == 0:
            raise ValueError(f"{name}: got one number, expected an array of samples as rows")
    if isinstance(candidate, scratch.Sequential) or (isinstance(candidate, nn.Sequential) and network is None):
        return _check_network(candidate, x, t, network, loss, optimizer, steps)
    return foreign.check_foreign(candidate, x, t, network, loss, convention)


def _check_network(candidate: Any, x: Array, t: Array, network: Any, loss: Any, optimizer: Any, steps: int) -> Report:
    """A network of either side, recorded through consecutive steps."""
    batches = consecutive(x, t, steps if optimizer is not None else 1)
    given = given_batches(batches)
    if isinstance(candidate, scratch.Sequential):
        loss = _loss(loss, network)
        Architecture.of(candidate, loss)
        originals = named_parameters(candidate)
        records = record_scratch(*copy.deepcopy((candidate, loss, optimizer)), batches, originals=originals)
        return check_records(records, given | _as_given(originals, records[0]))
    copies = copy.deepcopy((candidate, loss, optimizer))
    return check_records(record_torch(*copies, batches, originals=named_parameters(candidate)), given)


def _as_given(originals: Mapping[str, Array], record: Record) -> dict[str, Array]:
    """The parameters before the first step; in the record's memory where it has their bits: the owner's may change."""
    return {n: record[n] if n in record and same_bits(record[n], p) else p.copy() for n, p in originals.items()}


def check_dictionary(arrays: Mapping[str, Any], x: Array, t: Array, network: Architecture) -> Report:
    """A dictionary of arrays by record name. ValueError for a name that the network has no tensor of."""
    tensors = {name: _array(name, a) for name, a in arrays.items()}
    record = Record(network, {"input": x, "target": t} | tensors, plain_loss=type(arrays.get("loss")) in (int, float))
    return check_records([record], {"input": x, "target": t})


def check_parity(
    network: scratch.Sequential,
    loss: scratch.Loss,
    optimizer: scratch.Optimizer | None,
    batches: Sequence[Batch],
    *,
    device: str = "cpu",
) -> Report:
    """NumPy and PyTorch from the same weights through consecutive training steps, each judged by the same bounds.

    The Report is on the scratch side; its `reference` is the Report on PyTorch's own run, and `end_to_end` the largest
    differences between the two runs, for information. Neither network is changed: copies are trained. PyTorch's run is
    on `device`; ValueError where that is not there.
    """
    ours = copy.deepcopy((network, loss, optimizer))
    given = given_batches(batches) | _weights(network, loss)
    model = to_torch(network).to(existing(device))
    theirs = to_torch_optimizer(optimizer, model) if optimizer else None
    records = record_scratch(*ours, batches)
    torch_records = record_torch(model, to_torch_loss(loss), theirs, batches)
    report = check_records(records, given)
    report.reference = check_records(torch_records, given)
    report.end_to_end = end_to_end(records[0], torch_records[0])
    return report


def end_to_end(ours: Record, theirs: Record) -> dict[str, float]:
    """Name -> largest difference relative to the largest value, where both records hold the tensor in one shape."""
    found = {}
    for name, a in ours.items():
        b = theirs.get(name)
        if b is not None and a.shape == b.shape and a.dtype.kind == "f":
            with np.errstate(all="ignore"):
                found[name] = float(np.max(np.abs(a - b), initial=0) / max(np.max(np.abs(b), initial=0), 1e-300))
    return found


def assert_parity(candidate: Any, x: Array | None = None, t: Array | None = None, **options: Any) -> None:
    """`check`, as an assertion: AssertionError with the first screen of the report unless the verdict is parity."""
    report = check(candidate, x, t, **options)
    assert report.verdict == "parity", f"\n{report}"


def consecutive(x: Array, t: Array, steps: int) -> list[Batch]:
    """`steps` batches from one: all rows; every second step the first half, in reverse order (at least one row).

    A gradient kept from the step before, or a batch size kept from the first, then shows.
    """
    half = slice((len(x) + 1) // 2 - 1, None, -1)
    return [(x, t) if step % 2 == 0 else (x[half].copy(), t[half].copy()) for step in range(steps)]


def given_batches(batches: Sequence[Batch]) -> dict[str, Array]:
    """What each step was given, by record name: "1/input", "1/target", "2/input", ..."""
    return {
        f"{k}/{name}": a
        for k, batch in enumerate(batches, 1)
        for name, a in zip(("input", "target"), batch, strict=True)
    }


def _weights(network: scratch.Sequential, loss: scratch.Loss) -> dict[str, Array]:
    """Copies of the parameters by record name, once the layers are known to be what can be checked."""
    Architecture.of(network, loss)
    return {name: p.copy() for name, p in named_parameters(network).items()}


def _array(name: Any, a: Any) -> Array:
    """As an array of numbers. TypeError or ValueError naming it otherwise."""
    if not isinstance(name, str):
        raise TypeError(f"got the name {name!r}, expected a text such as '0.weight'")
    if isinstance(a, torch.Tensor):
        a = a.detach().cpu().numpy()
    try:
        found = np.asarray(a)
    except ValueError:
        raise ValueError(f"{name}: got rows of different lengths, expected an array") from None
    if found.dtype.kind not in "fiub":
        what = "None" if a is None else f"a {type(a).__name__}" if found.dtype.kind == "O" else str(found.dtype)
        raise TypeError(f"{name}: got {what}, expected an array of numbers")
    return found


def scratch_loss(network: Architecture) -> scratch.Loss:
    """The scratch loss that an architecture names."""
    found = next(t for t, kind in LOSS_TYPES.items() if kind == network.loss and issubclass(t, scratch.Loss))
    loss: scratch.Loss = found(network.reduction)
    return loss


def _loss(loss: Any, network: Any) -> scratch.Loss:
    if isinstance(loss, scratch.Loss):
        return loss
    if loss is None and network is not None:
        wanted = Architecture.of(network)
        return scratch_loss(wanted)
    raise TypeError(f"got loss {type(loss).__name__}, expected a scratch loss, such as CrossEntropyLoss()")


def check_records(records: Sequence[Record], given: Mapping[str, Array] | None = None) -> Report:
    """The Report on consecutive training steps of one candidate.

    `given` holds the tensors that were handed to the candidate before the first step (`input`, `target`, weights),
    which must be found in its record bit for bit; `inputs` of later steps may be given as "2/input".
    """
    given = dict(given or {})
    rows: list[Row] = []
    sweeps: list[Sweep] = []
    expected_names: list[tuple[int, str]] = []
    before: Record | None = None
    for record in records:
        known = _given_at(record.step, given, before)
        step_rules = rules(record.network, record.optimizer, record.step, record)
        _expect_known_names(record, step_rules)
        sweeps.append(Sweep(record, step_rules, known))
        rows += sweeps[-1].rows()
        expected_names += [(record.step, name) for name in _required(record, step_rules, known)]
        before = record
    report = Report.of(records, rows, expected_names)
    report.diagnosis = diagnose(report, sweeps)
    report.ambiguous = sum(sweep.ambiguous for sweep in sweeps)
    report.power_of = cache(lambda: power(report.rows, sweeps))
    report.judgement_of = lambda row: judgement(row, sweeps)
    return report


def _given_at(step: int, given: Mapping[str, Array], before: Record | None) -> dict[str, Array]:
    """What is known of this step's roots: as given for it, else what the step before left behind."""
    known = {
        name.removeprefix(f"{step}/"): a for name, a in given.items() if "/" not in name or name.startswith(f"{step}/")
    }
    if before is None:
        return known
    known = {name: a for name, a in known.items() if f"{step}/{name}" in given}
    return known | {name.replace(".new_", "."): a for name, a in before.items() if ".new_" in name}


def _required(record: Record, step_rules: Sequence[Rule], known: Mapping[str, Array]) -> list[str]:
    """The tensors that a complete record holds and that can be checked."""
    found = [name for name in roots(record) if name in known]
    return found + [rule.name for rule in step_rules if not rule.optional or rule.name in record]


def _states_before(record: Record) -> set[str]:
    """The optimiser's state in a record that does not name the optimiser."""
    return {f"{name}.{part}" for name in record.network.parameters() for part in STATES}


def _expect_known_names(record: Record, step_rules: Sequence[Rule]) -> None:
    names = {*roots(record), *(rule.name for rule in step_rules)}
    if record.optimizer is None:
        names |= set(updated_names(record)) | _states_before(record)
    for name in record:
        if name not in names:
            raise ValueError(f"{name}: no such tensor in {record.network}; expected one of {', '.join(sorted(names))}")


def lab_batches(x: Array, t: Array, m: int) -> list[Batch]:
    """Three batches of m, m / 2 and m different rows, where there are so many; else from the first m rows."""
    half = (m + 1) // 2
    if len(x) < 2 * m + half:
        return consecutive(x[:m], t[:m], STEPS)
    ends = [0, m, m + half, 2 * m + half]
    return [(x[a:b], t[a:b]) for a, b in pairwise(ends)]
