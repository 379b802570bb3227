"""What test_team.py runs under torchrun: real ranks, and what rank 0 found, as JSON in the file given."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import scratch
from compare.checking import check_records
from compare.judging.judged_step import JudgedStep
from compare.judging.step import rules
from compare.measuring.faults import DISTRIBUTED_FAULTS, Case
from compare.network.architecture import Architecture, named_gradients, named_parameters
from compare.network.weights import to_torch, to_torch_loss, to_torch_optimizer
from compare.ranks.ranks import check_ranks, joined, judge_ranks, record_rank
from compare.recording.batches import Batch, given_batches
from compare.recording.record import Record
from scratch.engine import Engine
from scratch.labs import LABS
from torch_ref.distributed import ShardedLearner
from torch_ref.learner import TorchLearner
from torch_ref.team import Team


def faults(team: Team) -> list[dict[str, Any]]:
    """Every planted fault of several ranks: where it was found, and as what."""
    found = []
    for fault in DISTRIBUTED_FAULTS:
        for dtype in fault.dtypes:
            case = Case.of(fault, dtype)
            with fault.planted():
                both = check_ranks(case.network, case.loss, case.optimizer, case.batches, team)
            right = check_ranks(case.network, case.loss, case.optimizer, case.batches, team)
            if both and right:
                first = both[0].first
                row = {"place": [first.layer, first.tensor], "step": first.step} if first else {}
                verdicts = {"without": right[0].verdict, "numpy": both[1].verdict}
                cause = both[0].diagnosis[0].cause if both[0].diagnosis else None
                found.append({"name": fault.name, "dtype": dtype, "cause": cause, **row, **verdicts})
    return found


NETWORKS = [
    ("6-5-4 relu, softmax cross-entropy", "AdamW"),
    ("6-5-4 tanh, softmax cross-entropy sum", "SGD"),
    ("6-5-3 sigmoid, mse", "Adam"),
    ("6-5-3 relu, half squared error sum", "SGD"),
    ("6-5-1 relu, sigmoid binary cross-entropy", "SGD"),
]


def networks(team: Team) -> list[dict[str, Any]]:
    """Both reductions, shards of unequal sizes and of none: the check, and a free run against a single process."""
    found = []
    for text, name in NETWORKS:
        for dtype in ("float64", "float32"):
            architecture = Architecture.of(text)
            net, loss = network(architecture, dtype), architecture.loss.to_scratch()
            optimizer = getattr(scratch, name)(net, lr=0.05, **({"momentum": 0.9} if name == "SGD" else {}))
            x, t = points(architecture, 41, dtype)
            batches = [(x[:8], t[:8]), (x[8:15], t[8:15]), (x[15:16], t[15:16]), (x[16:21], t[16:21])]
            both = check_ranks(net, loss, optimizer, batches, team)
            apart = free_run(team, net, loss, optimizer, x, t)
            if both:
                ratio = both[0].worst.ratio if both[0].worst else None
                found.append({"network": text, "dtype": dtype, "verdict": both[0].verdict, "ratio": ratio, **apart})
    return found


def network(architecture: Architecture, dtype: str) -> scratch.Sequential:
    rng = np.random.default_rng(1)
    kinds = {"relu": scratch.ReLU, "tanh": scratch.Tanh, "sigmoid": scratch.Sigmoid}
    layers = [
        scratch.Linear(s.in_features, s.out_features, rng=rng, dtype=dtype) if s.kind == "linear" else kinds[s.kind]()
        for s in architecture.layers
    ]
    return scratch.Sequential(*layers)


def points(architecture: Architecture, n: int, dtype: str) -> Batch:
    rng, columns = np.random.default_rng(2), architecture.sizes[-1]
    x = rng.standard_normal((n, architecture.sizes[0])).astype(dtype)
    if "softmax" in str(architecture):
        return x, rng.integers(0, columns, n)
    t = rng.integers(0, 2, (n, columns)) if columns == 1 else rng.standard_normal((n, columns))
    return x, t.astype(dtype)


def free_run(team: Team, net: Any, loss: Any, optimizer: Any, x: Any, t: Any) -> dict[str, float]:
    """Three epochs of batches of 10, the last of one row: how far apart, relative, from a run in this process alone."""
    learners: list[TorchLearner] = []
    for kind, options in ((TorchLearner, {}), (ShardedLearner, {"team": team})):
        model = to_torch(net)
        learners.append(kind(model, to_torch_loss(loss), to_torch_optimizer(optimizer, model), **options))
    data, figures, rng = learners[0].place(x, t), 0.0, np.random.default_rng(3)
    for _ in range(3):
        order = rng.permutation(len(x))
        for rows in (order[i : i + 10] for i in range(0, len(x), 10)):
            figures = max(figures, differ(*(learner.train_step(data, rows) for learner in learners)))
        figures = max(figures, differ(*(learner.evaluate(data) for learner in learners)))
    alone, sharded = (learner.state_dict() for learner in learners)
    apart = max(float(np.linalg.norm(sharded[n] - a) / max(np.linalg.norm(a), 1e-300)) for n, a in alone.items())
    return {"apart": apart, "figures": figures}


def differ(a: tuple[float, float], b: tuple[float, float]) -> float:
    """(loss, correct): infinitely, where the predictions do."""
    return abs(a[0] - b[0]) / abs(a[0]) if abs(a[1] - b[1]) < 1e-12 else float("inf")


def not_finite(team: Team) -> dict[str, Any]:
    """An infinite input in the last rank's shard alone, in training and evaluation: the same words on every rank."""
    architecture = Architecture.of(NETWORKS[0][0])
    net = network(architecture, "float64")
    model = to_torch(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    learner = ShardedLearner(model, to_torch_loss(architecture.loss.to_scratch()), optimizer, team=team)
    x, t = points(architecture, 12, "float64")
    x[-1, 0] = np.inf
    before, said = learner.weights(), []
    placed = learner.place(x, t)
    for act in (lambda: learner.train_step(placed, np.arange(12)), lambda: learner.evaluate(placed)):
        try:
            act()
        except FloatingPointError as error:
            said.append(str(error))
    same = all(np.array_equal(a, before[name]) for name, a in learner.weights().items())
    everywhere = team.gather(said)
    return {"said": said, "everywhere": everywhere == [said] * team.size, "weights_kept": same}


def in_lockstep(team: Team, lab: str, rows: int | None, folder: Path | None) -> list[dict[str, Any]]:
    """Every step of the first epoch of `rows` rows in float64: all ranks' gradients and NumPy's, from NumPy's weights.

    Judged across the whole step from input and weights (spanning), tensor by tensor (isolated), and against NumPy's.
    """
    chosen = LABS[lab]
    data = chosen.load(folder, "float64", chosen.seed)
    setup = chosen.set_up(data, seed=chosen.seed)
    net, samples = setup.network, setup.samples
    ours = Engine(net, setup.loss, setup.optimizer, threshold=chosen.threshold)
    model = to_torch(net)
    theirs = ShardedLearner(model, to_torch_loss(setup.loss), to_torch_optimizer(setup.optimizer, model), team=team)
    architecture = Architecture.of(net, setup.loss)
    n = rows or len(samples.x_train)
    x, t = samples.x_train[:n], samples.t_train[:n]
    placed = ours.place(x, t)
    order, found = setup.rng.permutation(n), []
    for own in (order[i : i + setup.batch_size] for i in range(0, n, setup.batch_size)):
        weights = {name: p.copy() for name, p in named_parameters(net).items()}
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(torch.from_numpy(weights[name]))
        ranks = team.gather(record_rank(theirs, (x[own], t[own])))
        ours.train_step(placed, own)
        numpys = {name.replace(".", ".grad_"): g.copy() for name, g in named_gradients(net).items()}
        if team.leads:
            found.append(step_in_lockstep(architecture, ranks, weights, (x[own], t[own]), numpys))
    return found


def step_in_lockstep(network: Architecture, ranks: Any, weights: Any, batch: Batch, numpys: Any) -> dict[str, Any]:
    given = given_batches([batch]) | weights
    whole = joined(network, None, ranks, 1)
    names = ["input", "target", *weights, f"{len(network.layers) - 1}.output", *numpys]
    across = check_records([Record(network, {name: whole[name] for name in names})], given)
    kept = [{name: a for name, a in rank.items() if ".new_" not in name and ".exp_" not in name} for rank in ranks]
    alone = Record(network, {name: whole[name] for name in ("input", "target", *weights)})
    judged = JudgedStep(alone, rules(network, None, 1, alone), given)
    judged.rows()
    ratios = []
    for name, g in numpys.items():
        apart, allowance = np.abs(whole[name] - g), judged.known[name].allowance
        assert allowance is not None
        allowed = 2 * allowance.for_difference(apart / 2)  # either side may be as far from the exact gradient
        ratios.append(float(np.max(np.where(apart > 0, apart / np.maximum(allowed, 1e-300), 0))))
    isolated = judge_ranks(network, None, [kept], given)
    return {
        "rows": len(batch[0]),
        "across": across.verdict,
        "isolated": isolated.verdict,
        "numpy": max(ratios),
        "compared": len(ratios),
        "bits": "same bits on all" in isolated.findings[0],
    }


def main() -> None:
    """With the folder of Fashion-MNIST: the steps on it alone."""
    out, *folder = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    team = Team()
    found: dict[str, Any] = {}
    if folder:
        found["fashion_mnist"] = in_lockstep(team, "fashion_mnist", 10 * 128 + 31, folder[0])
    else:
        found |= {"faults": faults(team), "networks": networks(team), "not_finite": not_finite(team)}
        found["digits"] = in_lockstep(team, "digits", None, None)
    if team.leads:
        out.write_text(json.dumps(found))
    team.leave()


if __name__ == "__main__":
    main()
