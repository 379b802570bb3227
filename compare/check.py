"""Candidate + reference -> Report: the one entry point, for every kind of candidate."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import scratch
from compare.checking import check_recorded, check_records
from compare.foreign.arrays import read_dictionary, read_file
from compare.foreign.convention import Convention
from compare.foreign.functions import watch_function
from compare.foreign.modules import run_module
from compare.foreign.objects import has_backward, watch_object
from compare.foreign.scripts import run_script
from compare.network.architecture import Architecture, named_parameters
from compare.network.masks import same_masks
from compare.network.optimizer import OptimizerSpec
from compare.network.traced import as_sequence, expect_same
from compare.network.weights import dtype_of, to_torch, to_torch_loss, to_torch_optimizer
from compare.numbers.array import Array
from compare.numbers.same_bits import same_bits
from compare.recording.batches import STEPS, Batch, consecutive, given_batches
from compare.recording.numbers import numbers
from compare.recording.record import Record
from compare.recording.recorded import Recorded
from compare.recording.scratch_recorder import record_scratch
from compare.recording.torch_recorder import record_torch
from compare.report.report import Report
from torch_ref.learner import existing


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
    - a script's or notebook's path (.py, .ipynb), watched while it runs in a process of its own, for at most `seconds`
      and `memory` bytes, with `answers` for its input(), while `progress(seconds, values)` hears how far it is;
      x and t are then its own.

    `network` says what is to be computed: a text such as "784-256-10 relu, softmax cross-entropy", also in torch's
    names, such as "Linear(4, 8), ReLU, Linear(8, 3); CrossEntropyLoss", or a scratch network or a torch module with its
    `loss`. Of a script, a function or an object it may be left out: it is then read off what the code computes, and the
    report's first line says so. `convention` declares how arrays are laid out and scaled; what it leaves out is
    found by value and said in `Report.findings`.

    Of somebody's code, `Report.side_effects` says what backward writes into. Where backward updates the weights itself
    and the learning rate can be set, it runs at two rates: a gradient that depends on the rate is an update before
    delta. Of a script the second step is judged too, where the first is right.

    ValueError or TypeError, in one line, for what cannot be checked.
    """
    if isinstance(candidate, str | Path):
        return check_recorded(_from_file(Path(candidate), x, t, _said(network, loss), convention, limits))
    if limits:
        raise TypeError(
            f"got {', '.join(limits)}, which limit a script only; the candidate is {type(candidate).__name__}"
        )
    for name, a in (("x", x), ("t", t)):
        if a is None:
            raise TypeError(f"{name}: got None, expected an array: only a script brings its own data")
    x, t = numbers("x", x), numbers("t", t)
    for name, a in (("x", x), ("t", t)):
        if a.ndim == 0:
            raise ValueError(f"{name}: got one number, expected an array of samples as rows")
    if isinstance(candidate, nn.Module) and network is None:
        module, candidate = candidate, as_sequence(candidate)
        expect_same(module, candidate, torch.from_numpy(x))
    if isinstance(candidate, scratch.Sequential) or (isinstance(candidate, nn.Sequential) and network is None):
        return _check_network(candidate, x, t, network, loss, optimizer, steps)
    return check_recorded(_recorded(candidate, x, t, network, loss, convention))


def _from_file(
    path: Path,
    x: Array | None,
    t: Array | None,
    network: Architecture | None,
    convention: Convention | None,
    limits: Mapping[str, Any],
) -> Recorded:
    """A script, or a file of arrays. ValueError in one line where it is neither."""
    if path.suffix in (".py", ".ipynb"):
        if network is not None:
            network.expect_known_by_value()
        return run_script(path, network, convention, **limits)
    return read_file(path, x, t, network, convention)


def _recorded(candidate: Any, x: Array, t: Array, network: Any, loss: Any, convention: Convention | None) -> Recorded:
    """A torch module, a dictionary, an object or a function. TypeError in one line for anything else."""
    if isinstance(candidate, nn.Module):
        wanted = Architecture.of(candidate if network is None else network, loss)
        wanted.expect_known_by_value()
        return run_module(candidate, x, t, wanted, loss, convention)
    if not isinstance(candidate, Mapping) and not callable(candidate) and not has_backward(candidate):
        raise TypeError(
            f"got {type(candidate).__name__}, expected a network, an object with forward and backward, a function "
            "step(x, t), a dictionary of arrays, or the path of a script or a record"
        )
    if isinstance(candidate, Mapping):
        return read_dictionary(candidate, x, t, Architecture.of(network, loss), convention)
    watch, said = watch_object if has_backward(candidate) else watch_function, _said(network, loss)
    return watch(candidate, x, t, said, convention)


def _said(network: Any, loss: Any) -> Architecture | None:
    """None where neither is said: of code that is watched, the network is read off it then."""
    if network is None and loss is None:
        return None
    said = Architecture.of(network, loss)
    said.expect_known_by_value()
    return said


def _check_network(candidate: Any, x: Array, t: Array, network: Any, loss: Any, optimizer: Any, steps: int) -> Report:
    """A network of either side, recorded through consecutive steps."""
    OptimizerSpec.expect_fresh(optimizer)
    batches = consecutive(x, t, steps if optimizer is not None else 1)
    given = given_batches(batches)
    if isinstance(candidate, scratch.Sequential):
        if isinstance(network, str):
            Architecture.of(network).expect_no_penalty()
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
    Architecture.of(network, loss)  # each layer is known to be one that can be checked
    OptimizerSpec.expect_fresh(optimizer)
    ours = copy.deepcopy((network, loss, optimizer))
    given = given_batches(batches) | {name: p.copy() for name, p in named_parameters(network).items()}
    model = to_torch(network).to(existing(device))
    theirs = to_torch_optimizer(optimizer, model) if optimizer else None
    with same_masks(ours[0], model):
        records = record_scratch(*ours, batches)
        torch_records = record_torch(model, to_torch_loss(loss, dtype_of(model)), theirs, batches)
    reference = check_records(torch_records, given)
    return check_records(records, given, reference=reference, end_to_end=end_to_end(records[0], torch_records[0]))


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


def _loss(loss: Any, network: Any) -> scratch.Loss:
    if isinstance(loss, scratch.Loss):
        return loss
    if loss is None and network is not None:
        wanted = Architecture.of(network)
        return wanted.loss.to_scratch()
    raise TypeError(f"got loss {type(loss).__name__}, expected a scratch loss, such as CrossEntropyLoss()")
