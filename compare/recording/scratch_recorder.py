"""Scratch's recorder: training steps in NumPy, recorded while the side's own code runs.

One hook stands at each layer, at the loss and at the optimiser. What is recorded is what that code was given and what
it returned, copied at that moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import numpy as np

import scratch
from compare.network.architecture import Architecture, flatten, named_buffers, named_gradients, named_parameters
from compare.network.optimizer import OptimizerSpec
from compare.network.tensor_name import TensorName
from compare.numbers.array import Array
from compare.recording import scratch_hooks as hooks
from compare.recording.batches import Batch
from compare.recording.odd_candidate import OddCandidate, StepEnds
from compare.recording.record import Record
from compare.recording.scratch_hooks import hook
from compare.recording.sightings import Sightings
from scratch.learner import ScratchLearner


def record_scratch(
    network: scratch.Sequential,
    loss: scratch.Loss,
    optimizer: scratch.Optimizer | None,
    batches: Sequence[Batch],
    *,
    originals: Mapping[str, Array] | None = None,
) -> list[Record]:
    """One Record a batch: consecutive training steps of the project's own learner. The network is trained by them.

    `originals` says that the network is a copy that is used for nothing else, and what it is a copy of: parameters by
    record name. Without an optimiser the record then holds the network's own arrays, and its weights are held against
    the originals instead of a further copy: a large network is recorded in the memory of its copy and its gradients.

    A step that ends in a value that is not finite, or in a shape with which it cannot go on, ends the recording, with
    what it had computed. ValueError or TypeError in one line, naming the layer, where that shows nothing.
    """
    architecture, spec = Architecture.of(network, loss), OptimizerSpec.of(optimizer) if optimizer else None
    _expect_own_layers(network)
    records: list[Record] = []
    for step, batch in enumerate(batches, start=1):
        seen = Sightings(Record(architecture, {}, spec, step), originals if optimizer is None else None)
        finished = _run_step(seen, network, loss, optimizer, batch)
        if finished and optimizer:
            seen.copy_all(_after_update(network, optimizer))
        records.append(seen.end())
        if not finished:
            break
    return records


def _run_step(
    seen: Sightings,
    network: scratch.Sequential,
    loss: scratch.Loss,
    optimizer: scratch.Optimizer | None,
    batch: Batch,
) -> bool:
    """One training step under hooks; False if it broke off because a value was not finite or a shape did not fit."""
    seen.copy_all(named_parameters(network), watch=True)
    seen.copy_all(named_buffers(network))
    if optimizer:
        seen.copy_all(_state(network, optimizer))
    stepper = optimizer or _NoStep(network)
    learner = ScratchLearner(network, loss, stepper)
    data = learner.place(*batch)
    with ExitStack() as hooked:
        for k, (spec, layer) in enumerate(zip(seen.record.network.layers, flatten(network), strict=True)):
            hooked.enter_context(hook(layer, "forward", hooks.forward, seen, k, spec, layer))
            hooked.enter_context(hook(layer, "backward", hooks.backward, seen, k, layer))
        hooked.enter_context(hook(network, "backward", hooks.network_backward, seen))
        hooked.enter_context(hook(loss, "forward", hooks.loss_forward, seen, loss))
        hooked.enter_context(hook(loss, "backward", hooks.loss_backward, seen, k, loss))
        hooked.enter_context(hook(stepper, "step", hooks.step, seen, network, optimizer))
        try:
            learner.train_step(data, np.arange(len(batch[0])))
        except (FloatingPointError, StepEnds):
            found = named_gradients(network).items()
            seen.gradients({n: g for n, g in found if int(TensorName(n).layer) in seen.reached})
            return False
    return True


def _expect_own_layers(network: scratch.Sequential) -> None:
    """OddCandidate if one layer stands in two places: it keeps only what its last forward saw."""
    layers = flatten(network)
    for k, layer in enumerate(layers):
        first = next(i for i, other in enumerate(layers) if other is layer)
        if first < k:
            raise OddCandidate(
                f"layers {first} and {k} are the same {type(layer).__name__} object, expected one for each place: a "
                "layer keeps what its last forward saw"
            )


def _state(network: scratch.Sequential, optimizer: scratch.Optimizer) -> dict[str, Array]:
    """The optimiser's state, "0.weight.exp_avg", by record names; its own names count nested layers apart."""
    names = dict(zip(network.params, map(TensorName, named_parameters(network)), strict=True))
    return {names[own].with_state(s): a for own, state in optimizer.state.items() for s, a in state.items()}


def _after_update(network: scratch.Sequential, optimizer: scratch.Optimizer) -> dict[str, Array]:
    parameters = named_parameters(network)
    return {TensorName(name).new: a for name, a in (parameters | _state(network, optimizer)).items()}


class _NoStep(scratch.Optimizer):
    """An optimiser that leaves the weights alone, for checking gradients only."""

    def __init__(self, network: scratch.Sequential) -> None:
        super().__init__(network, lr=0.0, weight_decay=0.0)

    def step(self) -> None:
        """Nothing."""
