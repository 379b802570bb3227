"""One measurement of the benchmark, in a process of its own; the answer is JSON in the last line of stdout.

    python scripts/_benchmark_job.py JOB ORDER

ORDER is a JSON object: "data" (an .npz of uint8 images (n, 28, 28) and labels (n,)), "batch_size", "threads", "seed".
What is timed is one epoch of 784-256-10, ReLU, cross-entropy, AdamW (lr 1e-3) in float32, on data in memory as each
library likes it best, shuffled anew, after a warm-up on a few batches. Libraries are imported where they are needed:
no job pays for another one's.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

Order = dict[str, Any]
Epoch = Callable[[], object]  # trains once over all samples
SIZES, RATE, DECAY = (784, 256, 10), 1e-3, 1e-2
WARM_UP = 20  # batches
LATER = 5  # the epoch timed too (the report says "fifth"): by then moments without a gradient are subnormal


def images(order: Order) -> tuple[Any, Any]:
    """(uint8 (n, 28, 28), int64 (n,))."""
    import numpy as np

    with np.load(order["data"]) as found:
        return found["images"], found["labels"]


def rows(order: Order) -> tuple[Any, Any]:
    """x (n, 784) float32 in [0, 1], t (n,) int64."""
    import numpy as np

    pixels, t = images(order)
    x = np.empty((len(pixels), 784), np.float32)
    np.divide(pixels.reshape(x.shape), np.float32(255), out=x, dtype=np.float32)
    return x, t


def network(seed: int, sizes: Sequence[int] = SIZES, dtype: str = "float32") -> Any:
    import numpy as np

    from scratch import Linear, ReLU, Sequential

    rng, layers = np.random.default_rng(seed), []
    for n, m in pairwise(sizes):
        layers += [Linear(n, m, rng=rng, dtype=dtype), ReLU()]
    return Sequential(*layers[:-1])


# --- one epoch, by whom ----------------------------------------------------------------------------------------------


def in_batches(learner: Any, data: Any, order: Order) -> Epoch:
    """The loop of this project, without checkpoints and validation: either learner's train_step on every batch."""
    import numpy as np

    rng, m = np.random.default_rng(order["seed"]), order["batch_size"]
    n = len(data[0])

    def epoch() -> None:
        at = rng.permutation(n)
        for start in range(0, n, m):
            learner.train_step(data, at[start : start + m])

    for start in range(0, WARM_UP * m, m):
        learner.train_step(data, np.arange(start, start + m) % n)
    if n % m:
        learner.train_step(data, np.arange(n % m))
    return epoch


def scratch(order: Order) -> Epoch:
    from scratch import AdamW, CrossEntropyLoss
    from scratch.engine import Engine

    net = network(order["seed"])
    learner = Engine(net, CrossEntropyLoss(), AdamW(net, RATE, weight_decay=DECAY))
    return in_batches(learner, learner.place(*rows(order)), order)


def scratch_processes(order: Order) -> Epoch:
    """As many processes as the others have threads; they end with this one."""
    from scratch import AdamW, CrossEntropyLoss
    from scratch.parallel_engine import ParallelEngine

    net = network(order["seed"])
    optimizer = AdamW(net, RATE, weight_decay=DECAY)
    learner = ParallelEngine(net, CrossEntropyLoss(), optimizer, processes=order["threads"])
    return in_batches(learner, learner.place(*rows(order)), order)


def plain(order: Order) -> Epoch:
    from scratch import AdamW, CrossEntropyLoss
    from scratch.learner import ScratchLearner

    net = network(order["seed"])
    learner = ScratchLearner(net, CrossEntropyLoss(), AdamW(net, RATE, weight_decay=DECAY))
    return in_batches(learner, learner.place(*rows(order)), order)


def torch_ref(order: Order) -> Epoch:
    import torch

    from torch_ref.learner import TorchLearner

    model = torch_model(order)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    learner = TorchLearner(model, torch.nn.CrossEntropyLoss(), optimizer)
    return in_batches(learner, learner.place(*rows(order)), order)


def torch_model(order: Order) -> Any:
    import torch
    from torch import nn

    torch.set_num_threads(order["threads"])
    torch.manual_seed(order["seed"])
    return nn.Sequential(nn.Linear(*SIZES[:2]), nn.ReLU(), nn.Linear(*SIZES[1:]))


def torch_loop(order: Order, *, fused: bool = False, compiled: bool = False) -> Epoch:
    """As one writes it by hand, with all samples in two tensors."""
    import torch
    from torch.nn.functional import cross_entropy

    model = torch_model(order)
    x, t = map(torch.from_numpy, rows(order))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY, fused=fused or None)
    m = order["batch_size"]

    def loss_of(x: Any, t: Any) -> Any:
        return cross_entropy(model(x), t)

    forward = torch.compile(loss_of, dynamic=False) if compiled else loss_of

    def step(at: Any) -> None:
        optimizer.zero_grad()
        forward(x[at], t[at]).backward()
        optimizer.step()

    def epoch() -> None:
        for at in torch.randperm(len(x)).split(m):
            step(at)

    for start in range(0, WARM_UP * m, m):
        step(torch.arange(start, start + m) % len(x))
    if len(x) % m:
        step(torch.arange(len(x) % m))
    return epoch


def torch_default(order: Order) -> Epoch:
    return torch_loop(order)


def torch_fused(order: Order) -> Epoch:
    return torch_loop(order, fused=True)


def torch_compiled(order: Order) -> Epoch:
    return torch_loop(order, fused=True, compiled=True)


def assignment(order: Order) -> Epoch:
    """The assignment's own loop: torchvision's way from image to tensor, one by one, and a DataLoader."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision.transforms import ToTensor

    from torch_ref.assignment import MLP, Console, Display, train_epoch

    pixels, labels = images(order)
    transform = ToTensor()

    class Images(Dataset[Any]):
        """What torchvision.datasets.FashionMNIST does with an index."""

        def __len__(self) -> int:
            return len(pixels)

        def __getitem__(self, index: int) -> Any:
            return transform(Image.fromarray(pixels[index])), int(labels[index])

    torch_model(order)
    model, m = MLP(), order["batch_size"]
    criterion, optimizer = torch.nn.CrossEntropyLoss(), torch.optim.AdamW(model.parameters(), lr=RATE)
    display = Display(1, Console(quiet=True))
    data: Any = Images()
    few = DataLoader(torch.utils.data.Subset(data, range(WARM_UP * m % len(data))), m)
    train_epoch(model, few, criterion, optimizer, display, 1)
    loader = DataLoader(data, m, shuffle=True)
    return lambda: train_epoch(model, loader, criterion, optimizer, display, 1)


def scikit_learn(order: Order) -> Epoch:
    """Adam: it has no AdamW."""
    from sklearn.neural_network import MLPClassifier

    x, t = rows(order)
    m = order["batch_size"]
    model = MLPClassifier(SIZES[1:-1], solver="adam", alpha=0, batch_size=m, learning_rate_init=RATE, random_state=0)
    model.partial_fit(x[: WARM_UP * m], t[: WARM_UP * m], classes=range(10))
    return lambda: model.partial_fit(x, t)


def jax_step(order: Order) -> Epoch:
    import jax
    import numpy as np

    (x, t), (state, step) = rows(order), jax_parts()
    rng, m, held = np.random.default_rng(order["seed"]), order["batch_size"], [state]
    step = jax.jit(step, donate_argnums=0)

    def run(at: Any) -> None:
        held[0] = step(held[0], (x[at], t[at]))[0]

    def epoch() -> None:
        at = rng.permutation(len(x))
        for start in range(0, len(x), m):
            run(at[start : start + m])
        jax.block_until_ready(held[0])

    for size in (m, len(x) % m or m):
        run(np.arange(size))
    jax.block_until_ready(held[0])
    return epoch


def jax_scan(order: Order) -> Epoch:
    """The whole epoch as one compiled program; the last, smaller batch comes after the scan."""
    import jax
    import numpy as np
    from jax import numpy as jnp

    (x, t), (state, step) = map(jnp.asarray, rows(order)), jax_parts()
    rng, m, held = np.random.default_rng(order["seed"]), order["batch_size"], [state]
    whole = len(x) // m * m

    def run(state: Any, at: Any, x: Any, t: Any) -> Any:
        def one(state: Any, at: Any) -> Any:
            return step(state, (x[at], t[at]))

        state, _ = jax.lax.scan(one, state, at[:whole].reshape(-1, m))
        return step(state, (x[at[whole:]], t[at[whole:]]))[0] if whole < len(x) else state

    compiled = jax.jit(run, donate_argnums=0)

    def epoch() -> None:
        held[0] = jax.block_until_ready(compiled(held[0], rng.permutation(len(x)), x, t))

    epoch()
    return epoch


def jax_parts() -> tuple[Any, Callable[..., Any]]:
    """(the state: parameters, two moments, the step's number; the step, which returns the state and the loss)."""
    import jax
    import numpy as np
    from jax import numpy as jnp

    params = {name: jnp.asarray(p) for name, p in network(0).params.items()}
    zeros = jax.tree.map(jnp.zeros_like, params)

    def loss_of(p: Any, x: Any, t: Any) -> Any:
        h = jax.nn.relu(x @ p["0.weight"].T + p["0.bias"])
        s = h @ p["2.weight"].T + p["2.bias"]
        return -jnp.take_along_axis(jax.nn.log_softmax(s), t[:, None], axis=1).mean()

    def step(state: Any, batch: Any) -> Any:
        p, m, v, k = state
        loss, g = jax.value_and_grad(loss_of)(p, *batch)
        k = k + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)

        def update(p: Any, m: Any, v: Any) -> Any:
            root = jnp.sqrt(v) / jnp.sqrt(1 - 0.999**k) + 1e-8
            return p * (1 - RATE * DECAY) - RATE / (1 - 0.9**k) * m / root

        return (jax.tree.map(update, p, m, v), m, v, k), loss

    return (params, zeros, jax.tree.map(jnp.copy, zeros), np.float32(0)), step


EPOCHS: dict[str, Callable[[Order], Epoch]] = {
    each.__name__: each
    for each in (
        *(scratch, scratch_processes, plain, torch_ref, torch_default, torch_fused, torch_compiled),
        *(scikit_learn, jax_step, jax_scan, assignment),
    )
}


# --- what is measured ------------------------------------------------------------------------------------------------


def seconds_of(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def best_of(action: Callable[[], object], times: int) -> float:
    action()
    return min(seconds_of(action) for _ in range(times))


def timed(name: str, order: Order) -> dict[str, Any]:
    """Seconds of one epoch, and of the LATER-th.

    For scratch also what its matrix products and updates take of another epoch, and the machine's best.
    """
    by_numpy = name in ("scratch", "scratch_processes")
    before = {"sgemm_gflops": sgemm_gflops(), "kernels": kernels()} if by_numpy else {}
    epoch = EPOCHS[name](order)
    found = {"seconds": seconds_of(epoch), "later_seconds": [seconds_of(epoch) for _ in range(LATER - 1)][-1]}
    return {**before, **found, **(parts(epoch, order) if by_numpy else {})}


def kernels() -> str:
    """Those that NumPy's BLAS has chosen, where it can be asked."""
    from threadpoolctl import threadpool_info

    return next((str(pool["architecture"]) for pool in threadpool_info() if "architecture" in pool), "unknown")


def parts(epoch: Epoch, order: Order) -> dict[str, float]:
    """What np.matmul takes of one epoch of scratch (x W^T, dy^T x, and dy W above layer 0), and what the updates take.

    Both are timed where they are called; of several processes in the first, which has its part of every one.
    """
    import numpy as np

    from scratch.flat import FlatOptimizer

    (a, b, c), n = SIZES, len(images(order)[1])
    with watched(np, "matmul") as products, watched(FlatOptimizer, "update") as updates:
        seconds = seconds_of(epoch)
    operations = n * (4 * a * b + 6 * b * c)
    return {"products_seconds": products[0], "products_share": products[0] / seconds,
            "products_gflops": operations / products[0] / 1e9, "update_share": updates[0] / seconds}  # fmt: skip


@contextmanager
def watched(owner: Any, name: str) -> Iterator[list[float]]:
    """The seconds spent in a function, as one number that grows."""
    function, spent = getattr(owner, name), [0.0]

    def timed_function(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        result = function(*arguments, **options)
        spent[0] += time.perf_counter() - start
        return result

    setattr(owner, name, timed_function)
    try:
        yield spent
    finally:
        setattr(owner, name, function)


def sgemm_gflops(k: int = 2048) -> float:
    """The rate of a product of two (k, k) matrices."""
    import numpy as np

    a, out = np.random.default_rng(0).random((k, k), np.float32), np.empty((k, k), np.float32)
    return 2 * k**3 / best_of(lambda: np.matmul(a, a, out=out), 3) / 1e9


def memory(order: Order) -> dict[str, Any]:
    """Peak resident memory of `train.py fashion_mnist --backend scratch` over one epoch. MiB are not meant: 10^6."""
    import contextlib
    import io
    import tempfile

    import _exit_code
    import train

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
        arguments = ["fashion_mnist", "--backend", "scratch", "--epochs", "1", "--out", str(Path(folder, "run"))]
        code = _exit_code.exit_code(train.main, arguments + order["arguments"])
    if code != 0:
        raise RuntimeError(f"the training run ended with exit code {code}: {said.getvalue()[-200:]}")
    return {"peak_bytes": peak_bytes(), "imports_torch": "torch" in sys.modules}


def peak_bytes() -> int:
    """VmHWM: unlike ru_maxrss it does not begin with what the parent had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status: found no VmHWM")


def imports(order: Order) -> dict[str, Any]:
    """Seconds to import a module in a fresh process."""
    return {"seconds": seconds_of(lambda: importlib.import_module(order["module"]))}


def step_time(order: Order) -> dict[str, Any]:
    """Seconds of a training step of a network of order["sizes"], by scratch or by PyTorch with fused AdamW."""
    import numpy as np

    sizes, m = order["sizes"], order["batch_size"]
    rng = np.random.default_rng(0)
    data = rng.random((m, sizes[0]), np.float32), rng.integers(0, sizes[-1], m)
    net = network(0, sizes)
    if order["by"] == "scratch":
        from scratch import AdamW, CrossEntropyLoss
        from scratch.engine import Engine

        learner: Any = Engine(net, CrossEntropyLoss(), AdamW(net))
    else:
        import torch

        from compare.network.weights import to_torch
        from torch_ref.learner import TorchLearner

        torch.set_num_threads(order["threads"])
        model = to_torch(net)
        learner = TorchLearner(model, torch.nn.CrossEntropyLoss(), torch.optim.AdamW(model.parameters(), fused=True))
    placed, at = learner.place(*data), np.arange(m)
    return {"seconds": best_of(lambda: learner.train_step(placed, at), 5)}


def convolution(order: Order) -> dict[str, Any]:
    """Seconds of forward and backward of a 3 x 3 convolution, by NumPy and by PyTorch in turns, and their ratio."""
    import statistics

    import numpy as np
    import torch

    from scratch import Conv2d

    torch.set_num_threads(order["threads"])
    rng, shape, channels = np.random.default_rng(0), order["shape"], order["channels"]
    ours, theirs = Conv2d(shape[1], channels, 3, rng=rng), torch.nn.Conv2d(shape[1], channels, 3)
    x = np.asarray(rng.random(shape, np.float32))
    dy = np.asarray(rng.random((shape[0], channels, shape[2] - 2, shape[3] - 2), np.float32))
    inputs, upstream = torch.from_numpy(x).requires_grad_(), torch.from_numpy(dy)

    def by_numpy() -> None:
        ours.forward(x)
        ours.backward(dy)

    def by_torch() -> None:
        theirs(inputs).backward(upstream)

    turns = [(seconds_of(by_numpy), seconds_of(by_torch)) for _ in range(WARM_UP)]
    a, b = (statistics.median(each) for each in zip(*turns, strict=True))
    return {"scratch": a, "torch": b, "ratio": a / b}


def check(order: Order) -> dict[str, Any]:
    """A check of one side in float32, its record given, against a float64 forward and backward in PyTorch."""
    import numpy as np
    import torch

    from compare.checking import check_records
    from compare.network.weights import to_torch
    from compare.recording.scratch_recorder import record_scratch
    from scratch import CrossEntropyLoss

    torch.set_num_threads(order["threads"])
    sizes, m = order["sizes"], order["batch_size"]
    rng = np.random.default_rng(0)
    x, t = rng.random((m, sizes[0]), np.float32), rng.integers(0, sizes[-1], m)
    net = network(0, sizes)
    records = record_scratch(net, CrossEntropyLoss(), None, [(x, t)])
    model = to_torch(net).double()
    inputs, targets = torch.from_numpy(x).double().requires_grad_(), torch.from_numpy(t)

    def reference() -> None:
        model.zero_grad()
        inputs.grad = None
        torch.nn.functional.cross_entropy(model(inputs), targets).backward()

    times = order.get("times", 3)
    before = peak_bytes()
    ours, theirs = best_of(lambda: check_records(records), times), best_of(reference, times)
    parameters = sum(p.nbytes for p in net.params.values())
    verdict = check_records(records).verdict if times > 1 else ""
    return {"check_seconds": ours, "reference_seconds": theirs, "ratio": ours / theirs, "parameter_bytes": parameters,
            "peak_more_bytes": peak_bytes() - before, "verdict": verdict}  # fmt: skip


def large_check(order: Order) -> dict[str, Any]:
    """Peak memory of compare.check of a network of order["sizes"], the network itself included."""
    import numpy as np
    import torch

    import compare
    from scratch import CrossEntropyLoss

    torch.set_num_threads(order["threads"])
    rng, sizes, m = np.random.default_rng(0), order["sizes"], order["batch_size"]
    batch = rng.random((m, sizes[0]), np.float32), rng.integers(0, sizes[-1], m)
    small = (8, 4, sizes[-1])
    compare.check(network(0, small), batch[0][:, :8], batch[1], loss=CrossEntropyLoss())  # loads what is loaded late
    before = peak_bytes()
    net = network(0, sizes)
    seconds, parameters = time.perf_counter(), sum(p.nbytes for p in net.params.values())
    verdict = compare.check(net, *batch, loss=CrossEntropyLoss()).verdict
    activations = m * (2 * sum(sizes) - sizes[0] - sizes[-1])  # into and out of every ReLU
    return {"seconds": time.perf_counter() - seconds, "parameter_bytes": parameters, "verdict": verdict,
            "peak_more_bytes": peak_bytes() - before, "activation_bytes": 4 * activations,
            "sizes": sizes, "batch_size": m}  # fmt: skip


def main(job: str, order: Order) -> dict[str, Any]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: order["threads"]])
    kinds = {"memory": memory, "imports": imports, "step_time": step_time, "check": check,
             "large_check": large_check, "convolution": convolution}  # fmt: skip
    return timed(job, order) if job in EPOCHS else kinds[job](order)


if __name__ == "__main__":
    sys.path.insert(1, str(Path(__file__).resolve().parents[1]))
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
