"""The benchmark's numbers as tables on the screen, as Markdown, as JSON and as a figure."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

HEADER = ("one epoch", "median", "spread", "to scratch", "the fifth")
AIMS = {  # of the ratio to another's median
    "PyTorch, fused AdamW": 0.75,
    "PyTorch, default AdamW": 0.5,
    "scikit-learn MLPClassifier": 0.5,
    "JAX, a jitted step": 1.0,
}
LIMITS = (  # of the ratio of the first's median to the second's
    *(("scratch, processes", theirs, limit) for theirs, limit in AIMS.items()),
    *(("scratch, fast BLAS", theirs, limit) for theirs, limit in AIMS.items()),
    ("torch_ref", "the assignment's DataLoader", 0.125),
)


class Line(NamedTuple):
    """Of one contender: seconds an epoch, the median over that of scratch (None without scratch), the fifth epoch."""

    name: str
    median: float
    lowest: float
    highest: float
    ratio: float | None
    later: float

    @property
    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        spread = f"{self.lowest:.3f} to {self.highest:.3f} s"
        return self.name, f"{self.median:.3f} s", spread, ratio, f"{self.later:.3f} s"


def lines(epochs: Mapping[str, list[dict[str, Any]]]) -> list[Line]:
    """The fastest first."""
    seconds = {name: [each["seconds"] for each in answers] for name, answers in epochs.items()}
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    later = {name: statistics.median(each["later_seconds"] for each in answers) for name, answers in epochs.items()}
    ours = medians.get("scratch")
    found = [
        Line(name, medians[name], min(each), max(each), medians[name] / ours if ours else None, later[name])
        for name, each in seconds.items()
    ]
    return sorted(found, key=lambda line: line.median)


def title(found: Mapping[str, Any]) -> str:
    rounds, threads = (_count(found[name], name[:-1]) for name in ("rounds", "threads"))
    return f"784-256-10, batch {found['batch_size']}, AdamW, float32, {found['data']}; {rounds}, {threads}"


def facts(found: Mapping[str, Any]) -> list[str]:
    """What is known beside the table, a line each."""
    by_name = {line.name: line for line in lines(found["epochs"])}
    said = [f"left out: {name}: {reason}" for name, reason in found["left_out"].items()]
    for ours, theirs, limit in LIMITS:
        if ours in by_name and theirs in by_name:
            a, b = by_name[ours], by_name[theirs]
            ratio, later = a.median / b.median, a.later / b.later
            found_so = "met" if ratio <= limit else "missed"
            said.append(f"{ours} / {theirs}: {ratio:.3f} (aim: at most {limit}, {found_so}); fifth epoch {later:.3f}")
    for name, answers in found["epochs"].items():
        if "products_share" in answers[0]:
            keys = ("products_share", "products_gflops", "sgemm_gflops", "update_share")
            share, rate, best, update = (statistics.median(a[key] for a in answers) for key in keys)
            said.append(
                f"{name} ({answers[0]['kernels']} kernels): matrix products take {share:.0%} of the epoch, "
                f"at {rate:.0f} GFLOP/s (a product of 2048 x 2048 runs at {best:.0f}); the updates take {update:.0%}"
            )
    if memory := found["memory"]:
        megabytes, data = memory["peak_bytes"] / 1e6, 70000 * 784 * 4 / 1e6
        torch = "was loaded" if memory["imports_torch"] else "was not loaded"
        said.append(
            f"train.py fashion_mnist --backend scratch: at most {megabytes:.0f} MB resident, {megabytes / data:.2f} x "
            f"the {data:.1f} MB of its data in float32; PyTorch {torch}"
        )
    if found["imports"]:
        said.append("import " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found["imports"].items()))
    for each in found["checks"]:
        if "ratio" in each:
            sizes = named(each["sizes"])
            said.append(
                f"check of {sizes}, batch {each['batch_size']}: {each['check_seconds']:.3f} s, {each['ratio']:.1f} x a "
                f"float64 forward and backward in PyTorch; {each['peak_more_bytes'] / 1e6:.0f} MB more than before"
            )
    if large := found["large_check"]:
        sizes, share = named(large["sizes"]), large["peak_more_bytes"] - large["activation_bytes"]
        said.append(
            f"check of {sizes}, batch {large['batch_size']}: {large['parameter_bytes'] / 4e6:.0f} million parameters "
            f"in {large['seconds']:.0f} s; beside one batch of activations {share / large['parameter_bytes']:.2f} x "
            "their memory, the network itself included"
        )
    for each in found.get("convolutions", []):
        if "ratio" in each:
            shape = " x ".join(map(str, each["shape"]))
            said.append(
                f"Conv2d of {shape} to {each['channels']} channels, 3 x 3, forward and backward: "
                f"{each['scratch'] * 1e3:.1f} ms, {each['ratio']:.2f} x PyTorch's, one thread each"
            )
    return said


def show(found: Mapping[str, Any], console: Console) -> None:
    table = Table(*HEADER, title=title(found), title_justify="left")
    for line in lines(found["epochs"]):
        table.add_row(*line.cells)
    console.print(table)
    for name, rows in found["sweeps"].items():
        sweep = Table(name, "scratch", "PyTorch, fused AdamW", "ratio", title=f"a training step against {name}")
        for row in rows:
            sweep.add_row(*_sweep_cells(name, row))
        console.print(sweep)
    for fact in facts(found):
        console.print(fact, highlight=False, soft_wrap=True, markup=False)


def write(found: Mapping[str, Any], folder: Path, elsewhere: Path | None) -> None:
    """benchmark.json (and `elsewhere`), benchmark.md, benchmark.png."""
    text = json.dumps(found, indent=1) + "\n"
    for path in (folder / "benchmark.json", elsewhere):
        if path:
            path.write_text(text, encoding="utf-8")
    (folder / "benchmark.md").write_text(markdown(found), encoding="utf-8")
    draw(found, folder / "benchmark.png")


BEGIN, END = "<!-- made by scripts/benchmark.py --publish -->", "<!-- end of the benchmark -->"


def publish(found: Mapping[str, Any], checkout: Path) -> None:
    """docs/benchmark.json, .md and .png, and the table between the two marks of docs/how-fast.md."""
    docs = checkout / "docs"
    how_fast = docs / "how-fast.md"
    (docs / "benchmark.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (docs / "benchmark.md").write_text(page(found), encoding="utf-8")
    draw(found, docs / "benchmark.png")
    before, _, rest = how_fast.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    how_fast.write_text(f"{before}{BEGIN}\n{table(found)}{END}{after}", encoding="utf-8")


def page(found: Mapping[str, Any]) -> str:
    """docs/benchmark.md."""
    head = "# The benchmark\n\n"
    head += "Written by `python scripts/benchmark.py --sweeps --publish`; numbers: `benchmark.json`.\n"
    picture = "![Seconds an epoch, and a step against batch size, width and depth](benchmark.png)\n"
    return f"{head}\n{markdown(found)}\n{picture}"


def markdown(found: Mapping[str, Any]) -> str:
    return f"{table(found)}\n" + "".join(f"- {fact}\n" for fact in facts(found))


def table(found: Mapping[str, Any]) -> str:
    rows = [HEADER, ("---", *["---:"] * (len(HEADER) - 1)), *(line.cells for line in lines(found["epochs"]))]
    return f"{title(found)}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def named(sizes: Sequence[int]) -> str:
    """(784, 256, 256, 256, 10) -> "784-3x256-10"."""
    runs = [(size, len(list(run))) for size, run in groupby(sizes)]
    return "-".join(f"{n}x{size}" if n > 2 else "-".join([str(size)] * n) for size, n in runs)


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Bars of the medians with every single epoch as a point, and a panel for each sweep."""
    from matplotlib.figure import Figure

    import scratch.plots

    sweeps = found["sweeps"]
    figure = Figure(figsize=(11, 5 + 4 * bool(sweeps)), layout="constrained")
    grid = figure.add_gridspec(2 if sweeps else 1, max(len(sweeps), 1))
    axes, shown = figure.add_subplot(grid[0, :]), lines(found["epochs"])[::-1]
    for place, line in enumerate(shown):
        colour = "#0072B2" if line.name.startswith("scratch") else "#999999"
        axes.barh(place, line.median, color=colour)
        seconds = [each["seconds"] for each in found["epochs"][line.name]]
        axes.plot(seconds, [place] * len(seconds), "k|", markersize=9)
        axes.annotate(f" {line.median:.2f} s", (max(seconds), place), va="center", fontsize=11)
    axes.set_yticks(range(len(shown)), [line.name for line in shown], fontsize=11)
    axes.set_xlabel("seconds an epoch: median, and every single one", fontsize=12)
    axes.margins(x=0.1)
    axes.set_title(title(found), fontsize=12)
    for place, (name, rows) in enumerate(sweeps.items()):
        panel = figure.add_subplot(grid[1, place])
        for by, style in (("scratch", "o-"), ("torch", "s--")):
            points = [(_swept(name, row), row[by]) for row in rows if row[by]]
            panel.loglog(*zip(*points, strict=True), style, label={"torch": "PyTorch"}.get(by, by))
        panel.set_xlabel(name, fontsize=12)
        panel.set_ylabel("seconds a step", fontsize=12)
        panel.legend(fontsize=11)
    scratch.plots.save(figure, path, dpi=120)


def _swept(name: str, row: Mapping[str, Any]) -> int:
    values = {"batch size": row["batch_size"], "width": row["sizes"][1], "depth": len(row["sizes"]) - 2}
    return int(values[name])


def _sweep_cells(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    ours, theirs = row["scratch"], row["torch"]
    times = [f"{each * 1e3:.3f} ms" if each else "left out" for each in (ours, theirs)]
    return str(_swept(name, row)), *times, f"{ours / theirs:.2f}" if ours and theirs else ""


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"
