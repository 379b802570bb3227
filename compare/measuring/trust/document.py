"""Document: docs/trust.md from a results file."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch

from compare.measuring.faults import corpus
from compare.measuring.trust import tables
from compare.measuring.trust.baselines import OWN_BITS
from compare.measuring.trust.blind import BLIND_SETS, BlindSet
from compare.measuring.trust.measurement import DTYPES, SIDES, Plan, blind_faults, tasks
from compare.measuring.trust.settings import SETTINGS, Setting
from compare.measuring.trust.tables import Line

TEMPLATE = Path(__file__).parents[1] / "templates" / "trust.md"


def render(lines: Sequence[Line], *, command: str, results: str, quick: bool = False) -> str:
    """The whole document, as Markdown."""
    lines = in_order(lines)
    code = next(line for line in lines if line["part"] == "code")
    plan = next(line for line in reversed(lines) if line["part"] == "plan")
    faults = [line for line in lines if line["part"] == "fault"]
    random = [line for line in lines if line["part"] == "random" and line["side"] == "scratch"]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    shapes = [s for s in dict.fromkeys(line["shape"] for line in faults) if s != "own"]
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        command=command,
        results=results,
        quick=quick,
        environment=versions(),
        digest=code["digest"][:12],
        commit=code["commit"],
        plan=plan,
        unfinished=unfinished(lines, plan),
        seeds=", ".join(map(str, sorted({line["seed"] for line in faults}))),
        last_seed=max((line["seed"] for line in random), default=0),
        alarms=alarms(lines),
        pursuits=len({line["seed"] for line in lines if line["part"] == "pursuit"}),
        shapes=len(shapes),
        shape_names=", ".join(shapes),
        scales=", ".join(s for s in dict.fromkeys(line["scale"] for line in faults) if s != "own"),
        summary=tables.summary(lines),
        own_bits=OWN_BITS,
        blind=[
            {
                "name": blind.name,
                "nature": blind.nature,
                "count": len(blind.faults),
                "commit": blind.commit,
                "first": first_run(blind),
                "rates": tables.blind_rates(lines, blind),
                "faults": tables.blind_faults(lines, blind),
            }
            for blind in BLIND_SETS
        ],
        tables={
            "false_alarms": tables.false_alarms(lines),
            "accused": _listed(tables.accused(lines)),
            "pursuits": tables.pursuits(lines),
            "outcomes": tables.outcomes(lines),
            "by_family": tables.rates(lines, lambda line: str(line["family"]), "kind"),
            "by_shape": tables.rates(lines, lambda line: str(line["shape"]), "network"),
            "by_scale": tables.rates(lines, lambda line: str(line["scale"]), "inputs"),
            "by_dtype": tables.rates(lines, lambda line: str(line["dtype"]), "precision"),
            "misses": _listed(tables.misses(lines)),
            "confusion": tables.confusion(lines),
            "notes": tables.notes(),
            "wrong": tables.wrong_causes(lines),
            "floors": tables.floors(lines),
            "baselines32": tables.baselines(lines, "float32"),
            "scales32": tables.baselines_by_scale(lines, "float32"),
            "baselines64": tables.baselines(lines, "float64"),
            "scales64": tables.baselines_by_scale(lines, "float64"),
        },
    )


def in_order(lines: Sequence[Line]) -> list[Line]:
    """By precision, setting, fault and seed: they were measured in another order, so that tables do not hang on it."""
    settings = {(s.shape, s.scale): i for i, s in enumerate(SETTINGS)}
    names = {fault.name: i for i, fault in enumerate((*corpus(), *blind_faults()))}

    def place(line: Line) -> tuple[int, ...]:
        return (
            DTYPES.index(line["dtype"]) if "dtype" in line else -1,
            SIDES.index(line["side"]) if "side" in line else -1,
            settings.get((line.get("shape", ""), line.get("scale", "")), -1),
            names.get(line.get("fault", ""), -1),
            line.get("seed", -1),
        )

    return sorted(lines, key=place)


PARTS = {"fault": "faults", "blind": "blind faults", "floor": "floors", "pursuit": "hunts", "random": "networks"}


def unfinished(lines: Sequence[Line], plan: Line) -> str:
    """ "faults 312 of 11,611, networks 0 of 24,000": the parts that lack runs; "" where none does."""
    options: dict[str, Any] = {f.name: plan[f.name] for f in fields(Plan)}
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    options["floors"] = tuple(Setting(*name.split(", inputs ")) for name in plan["floors"])
    asked = Plan(**options)
    done, wanted = {line["key"] for line in lines}, Counter[str]()
    there = Counter[str]()
    for task in tasks(asked):
        wanted[task.part] += len(task.keys)
        there[task.part] += sum(key in done for key in task.keys)
    short = [part for part in PARTS if there[part] < wanted[part]]
    return ", ".join(f"{PARTS[part]} {there[part]:,} of {wanted[part]:,}" for part in short)


def alarms(lines: Sequence[Line]) -> str:
    """ "0 of 10,000 in float32, 0 of 10,000 in float64", all forms together."""
    found = []
    for dtype in ("float32", "float64"):
        correct = [li for li in lines if li["part"] in ("random", "correct", "pursuit") and li["dtype"] == dtype]
        count = sum(line.get("tried", 1) for line in correct)
        found.append(f"{sum(li['verdict'] == 'mismatch' for li in correct):,} of {count:,} in {dtype}")
    return ", ".join(found)


def first_run(blind: BlindSet) -> str:
    """ "right cause 69 % (78 of 113), confidently wrong 0 % (0 of 113), in float64"."""
    found = tables.first_judgements(blind, "float64").values()
    right, wrong = sum(verdict == "right" for verdict, _ in found), sum(is_wrong for _, is_wrong in found)
    n = len(found)
    return f"right cause {tables.share(right, n)}, confidently wrong {tables.share(wrong, n)}, in float64"


def versions() -> str:
    """What a reader needs to repeat it, without the machine's name."""
    cores = os.cpu_count()
    return (
        f"Python {platform.python_version()}, NumPy {np.__version__}, PyTorch {torch.__version__}, "
        f"{platform.system()} on {platform.machine()}, {cores} cores"
    )


def _listed(text: str) -> str:
    return text if text == "none\n" else f"\n\n{text}"
