"""Tables: what a results file says, as Markdown; every number in docs/trust.md is counted here and nowhere else."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from compare import operations
from compare.measuring.trust.baselines import OWN_BITS, RULES
from compare.measuring.trust.blind import SET_OF, BlindSet
from compare.measuring.trust.causes import CAUSES_OF, Causes

Line = Mapping[str, Any]
Lines = Sequence[Line]

LARGE = 4.0  # times the allowance: what is larger must be found
CONFIDENT = 0.8
OURS = "this checker"
JUDGEMENTS = ("right", "tied", "vague", "unknown", "wrong")


def is_large(line: Line) -> bool:
    """A fault that makes a difference larger than four times the allowance, where the correct code is in parity."""
    return line.get("outcome") == "planted" and line["sound"] and (line["size"] is None or line["size"] > LARGE)


def is_detected(line: Line) -> bool:
    return bool(line["verdict"] == "mismatch")


def is_located(line: Line) -> bool:
    """The first divergence is in the very tensor, at the very step."""
    return is_detected(line) and line["found"][:2] in line["places"]


def judgement(line: Line) -> str:
    """Of the cause named for a fault, by the hand-written tables."""
    known = SET_OF[line["fault"]].causes if line["part"] == "blind" else CAUSES_OF
    return known[line["fault"]].judge([(cause, confidence) for cause, confidence, _ in line["diagnosis"]])


def is_confidently_wrong(line: Line) -> bool:
    return judgement(line) == "wrong" and line["diagnosis"][0][1] >= CONFIDENT


# --- Markdown --------------------------------------------------------------------------------------------------------


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, numbers to the right."""
    found = [[_cell(cell) for cell in row] for row in rows]
    if not found:
        return "none\n"
    numbers = [all(_is_number(row[i]) for row in found) for i in range(len(headers))]
    lines = [headers, ["---:" if right else "---" for right in numbers], *found]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(x: object) -> str:
    if isinstance(x, float):
        return f"{x:.3g}"
    return (f"{x:,}" if isinstance(x, int) else str(x)).replace("|", "\\|")


def _is_number(text: str) -> bool:
    return text == "" or text[0].isdigit() or text[:2].strip("-").isdigit()


def share(part: int, whole: int) -> str:
    """ "99.2 % (123 of 124)"; 100 % only where nothing is missing."""
    if not whole:
        return "-"
    percent = f"{100 * part / whole:.1f}" if part in (0, whole) else f"{min(max(100 * part / whole, 0.1), 99.9):.1f}"
    return f"{percent.removesuffix('.0')} % ({part:,} of {whole:,})"


def where(line: Line) -> str:
    """What repeats a run, in one cell."""
    return f"{line['dtype']}, {line['shape']}, inputs {line['scale']}, seed {line['seed']}"


def _size(line: Line) -> str:
    return "exact" if line["size"] is None else f"{line['size']:.3g}"


# --- false alarms ----------------------------------------------------------------------------------------------------


def false_alarms(lines: Lines) -> str:
    """Correct networks by precision and side, with the verdicts and the largest ratio."""
    rows = []
    for (dtype, side), found in _by(_correct(lines), lambda line: (line["dtype"], _side(line))).items():
        verdicts = Counter(line["verdict"] for line in found)
        ratios = [line["ratio"] for line in found if line["ratio"] is not None and line["verdict"] != "mismatch"]
        rows.append([
            dtype,
            side,
            sum(verdicts.values()),
            verdicts["mismatch"],
            verdicts["incomplete"],
            _below(max(ratios, default=0.0)),
        ])  # fmt: skip
    headers = ("precision", "correct networks", "checked", "false alarms", "incomplete (overflow)", "largest ratio")
    return table(headers, rows)


def _correct(lines: Lines) -> list[Line]:
    return [line for line in lines if line["part"] in ("random", "correct")]


def _side(line: Line) -> str:
    names = {"scratch": "random", "torch": "random, in PyTorch", "other forms": "random, in other correct forms"}
    return names[line["side"]] if line["part"] == "random" else "the faults' own, without the fault"


def _below(ratio: float) -> str:
    """Cut off, not rounded: what is below 1 is not to be read as 1."""
    return f"{math.floor(ratio * 1e4) / 1e4:.4f}" if ratio < 1 else f"{ratio:.3g}"


def accused(lines: Lines) -> str:
    """Every false alarm, with what repeats it."""
    rows = [
        (_side(line), line["dtype"], line["seed"], line["found"][1], line["ratio"] or "infinite")
        for line in _correct(lines)
        if line["verdict"] == "mismatch"
    ]
    return table(("network", "precision", "seed", "tensor", "ratio"), rows)


def pursuits(lines: Lines) -> str:
    """How near hypothesis could drive a correct network to its allowance."""
    rows = []
    for (dtype,), found in _by([li for li in lines if li["part"] == "pursuit"], lambda li: (li["dtype"],)).items():
        worst = max(found, key=lambda line: line["ratio"])
        alarms = sum(line["verdict"] == "mismatch" for line in found)
        quarry = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in worst["quarry"].items())
        ratio = _below(worst["ratio"])
        rows.append((dtype, sum(li["tried"] for li in found), alarms, ratio, worst["tensor"], quarry))
    return table(("precision", "networks tried", "false alarms", "largest ratio", "tensor", "the network"), rows)


# --- planted faults --------------------------------------------------------------------------------------------------


def outcomes(lines: Lines) -> str:
    """What became of every fault that was to be planted."""
    rows = []
    for (dtype,), found in _by(_faults(lines), lambda line: (line["dtype"],)).items():
        count = Counter(_outcome(line) for line in found)
        rows.append((dtype, len(found), *(count[name] for name in OUTCOMES)))
    return table(("precision", "runs", *OUTCOMES), rows)


OUTCOMES = (
    "crash",
    "no difference at all",
    "correct code overflows too",
    "up to 1 allowance",
    "1 to 4 allowances",
    "larger",
)


def _faults(lines: Lines) -> list[Line]:
    return [line for line in lines if line["part"] == "fault"]


def _outcome(line: Line) -> str:
    if line["outcome"] != "planted":
        return "crash" if line["outcome"] == "crashes" else "no difference at all"
    if not line["sound"]:
        return "correct code overflows too"
    if is_large(line):
        return "larger"
    return "up to 1 allowance" if line["size"] <= 1 else "1 to 4 allowances"


def rates(lines: Lines, key: Callable[[Line], str], name: str) -> str:
    """Detection, location and cause of the large faults, by whatever the key says."""
    rows = []
    for (group,), found in _by([li for li in _faults(lines) if is_large(li)], lambda li: (key(li),)).items():
        rows.append((group, *_rates(found)))
    return table((name, "faults", "detected", "right tensor", *(f"cause {j}" for j in JUDGEMENTS)), rows)


def _rates(found: Lines) -> list[object]:
    detected, located = sum(map(is_detected, found)), sum(map(is_located, found))
    causes = Counter(judgement(line) for line in found if is_detected(line))
    n = len(found)
    return [n, _percent(detected, n), _percent(located, n), *(_percent(causes[j], n) for j in JUDGEMENTS)]


def _percent(part: int, whole: int) -> str:
    return share(part, whole).partition(" (")[0]


def summary(lines: Lines) -> dict[str, Any]:
    """The few numbers that the text itself quotes."""
    large = [line for line in _faults(lines) if is_large(line)]
    detected = [line for line in large if is_detected(line)]
    causes = Counter(judgement(line) for line in detected)
    small = [li for li in _faults(lines) if li["outcome"] == "planted" and li["sound"] and not is_large(li)]
    overflowing = [line for line in _faults(lines) if line["outcome"] == "planted" and not line["sound"]]
    return {
        "faults": len({line["fault"] for line in _faults(lines)}),
        "large": len(large),
        "detected": share(len(detected), len(large)),
        "located": share(sum(map(is_located, large)), len(large)),
        "right": share(causes["right"], len(large)),
        "right_or_tied": share(causes["right"] + causes["tied"], len(large)),
        "confidently_wrong": share(sum(map(is_confidently_wrong, detected)), len(large)),
        "small_seen": share(sum(map(is_detected, small)), len(small)),
        "known_causes": len(operations.causes()),
        "crashes": sum(line["outcome"] == "checker crashed" for line in _faults(lines)),
        "overflowing_seen": share(sum(map(is_detected, overflowing)), len(overflowing)),
    }


def misses(lines: Lines) -> str:
    """Every large fault that was not detected, or not where it is."""
    rows = [
        (line["fault"], where(line), _size(line), line["verdict"], (line["found"] or ["", "nothing"])[1],
         ", ".join(f"{tensor} (step {step})" for step, tensor in line["places"]))
        for line in _faults(lines)
        if is_large(line) and not is_located(line)
    ]  # fmt: skip
    return table(("fault", "where", "size", "verdict", "found in", "is in"), rows)


def wrong_causes(lines: Lines) -> str:
    """Every fault that got a wrong cause, the settings counted."""
    rows = []
    large = [line for line in _faults(lines) if is_large(line) and is_detected(line) and judgement(line) == "wrong"]
    for (fault, cause), found in _by(large, lambda li: (li["fault"], li["diagnosis"][0][0])).items():
        confidence = max(line["diagnosis"][0][1] for line in found)
        rows.append((fault, cause, confidence, len(found), where(found[0])))
    return table(("fault", "cause named", "confidence", "runs", "the first of them"), rows)


def confusion(lines: Lines, which: tuple[str, ...] = ("tied", "vague", "wrong", "unknown")) -> str:
    """Causes taken for each other: the fault, what was named, how often, and what cannot be told apart."""
    rows = []
    large = [line for line in _faults(lines) if is_large(line) and is_detected(line)]
    total = Counter(line["fault"] for line in large)
    odd = [line for line in large if judgement(line) in which]
    for (fault, kind, cause), found in _by(odd, lambda li: (li["fault"], judgement(li), li["diagnosis"][0][0])).items():
        rows.append((fault, cause, kind, f"{len(found)} of {total[fault]}", _places(found), CAUSES_OF[fault].note))
    rows.sort(key=lambda row: (which.index(row[2]), -int(row[3].partition(" ")[0])))
    return table(("fault", "named", "which is", "runs", "in", "note"), rows)


def _places(found: Lines) -> str:
    names = list(dict.fromkeys(f"{line['shape']} / {line['scale']}" for line in found))
    return "; ".join(names[:3]) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")


def notes() -> str:
    """What cannot be told apart in principle, by fault."""
    return table(("fault", "why"), [(name, causes.note) for name, causes in CAUSES_OF.items() if causes.note])


# --- baselines -------------------------------------------------------------------------------------------------------


def baselines(lines: Lines, dtype: str) -> str:
    """The same runs judged by the other rules: detection, location, and alarms on correct runs."""
    large = [line for line in _faults(lines) if is_large(line) and line["dtype"] == dtype]
    correct = [
        li for li in _correct(lines) if li["dtype"] == dtype and li.get("baselines") and li["verdict"] == "parity"
    ]
    rows: list[Sequence[object]] = [
        (OURS, *_located(large, is_detected, is_located), share(_alarms(lines, dtype), len(correct)))
    ]
    for rule in (*RULES, OWN_BITS):
        alarms = sum(bool(line["baselines"][rule]) for line in correct)
        detected, located = _flagged(rule), _flagged_there(rule)
        rows.append((rule, *_located(large, detected, located), share(alarms, len(correct))))
    return table(("rule", "detected", "right tensor", "alarm on correct runs"), rows)


def baselines_by_scale(lines: Lines, dtype: str) -> str:
    """Location by scale of the inputs."""
    large = [line for line in _faults(lines) if is_large(line) and line["dtype"] == dtype]
    by = _by(large, lambda line: (line["scale"],))
    rows = []
    for rule in (OURS, *RULES, OWN_BITS):
        test = is_located if rule == OURS else _flagged_there(rule)
        rows.append((rule, *(_percent(sum(map(test, found)), len(found)) for found in by.values())))
    return table(("right tensor, by inputs", *(scale for (scale,) in by)), rows)


def _located(found: Lines, detected: Callable[[Line], bool], located: Callable[[Line], bool]) -> tuple[str, str]:
    return share(sum(map(detected, found)), len(found)), share(sum(map(located, found)), len(found))


def _alarms(lines: Lines, dtype: str) -> int:
    judged = [li for li in _correct(lines) if li["dtype"] == dtype and li.get("baselines")]
    return sum(line["verdict"] == "mismatch" for line in judged)


def _flagged(rule: str) -> Callable[[Line], bool]:
    return lambda line: line["baselines"][rule] is not None


def _flagged_there(rule: str) -> Callable[[Line], bool]:
    return lambda line: line["baselines"][rule] in line["places"]


# --- blind faults, floors ------------------------------------------------------------------------------------------


def blind_rates(lines: Lines, blind: BlindSet) -> str:
    """Right, vague and wrong causes of a blind set: when nothing had been fitted to it, and now."""
    rows = []
    large = [line for line in _of_set(lines, blind) if is_large(line)]
    for dtype in ("float64", "float32"):
        found = [line for line in large if line["dtype"] == dtype]
        rows.append((dtype, "first run", *_judged(list(first_judgements(blind, dtype).values()))))
        rows.append((dtype, "now", *_judged([(judgement(li), is_confidently_wrong(li)) for li in found])))
    headers = ("precision", "", "faults", *(f"cause {j}" for j in JUDGEMENTS), f"wrong, confidence >= {CONFIDENT}")
    return table(headers, rows)


def _of_set(lines: Lines, blind: BlindSet) -> list[Line]:
    return [line for line in lines if line["part"] == "blind" and SET_OF[line["fault"]] is blind]


def first_judgements(blind: BlindSet, dtype: str) -> dict[str, tuple[str, bool]]:
    """fault -> (verdict, whether confidently wrong), of the first run."""
    return {name: first_judgement(blind.causes[name], said) for name, said in blind.said(dtype).items()}


def first_judgement(causes: Causes, said: Sequence[Sequence[Any]]) -> tuple[str, bool]:
    verdict = causes.judge([(cause, confidence) for cause, confidence, *_ in said])
    return verdict, verdict == "wrong" and said[0][1] >= CONFIDENT


def _judged(found: Sequence[tuple[str, bool]]) -> list[object]:
    count = Counter(verdict for verdict, _ in found)
    n = len(found)
    return [n, *(_percent(count[j], n) for j in JUDGEMENTS), _percent(sum(c for _, c in found), n)]


def blind_faults(lines: Lines, blind: BlindSet) -> str:
    """Every fault of a blind set: the true cause, what was said at first and what is said now, in float64."""
    rows = []
    first = first_judgements(blind, "float64")
    for line in _of_set(lines, blind):
        if line["dtype"] == "float64" and line["outcome"] == "planted":
            name = line["fault"]
            words = line["diagnosis"][0][2] if line["diagnosis"] else line["verdict"]
            words = words.partition(": ")[2] or words
            rows.append((name, blind.true[name], words, _aloud(first[name]), judgement(line)))
    return table(("fault", "its author says", "the report says now", "first run", "now"), rows)


def _aloud(judged: tuple[str, bool]) -> str:
    verdict, confidently = judged
    return f"{verdict}, confidently" if confidently else verdict


def floors(lines: Lines) -> str:
    """The smallest size of each graded fault that is still seen."""
    rows = []
    for line in lines:
        if line["part"] == "floor":
            place = f"{line['shape']}, inputs {line['scale']}"
            if "seen" not in line:
                rows.append((line["fault"], line["dtype"], place, "never", "", "", ""))
                continue
            numbers = [line.get(name) for name in ("seen", "seen_multiple", "unseen", "unseen_multiple")]
            rows.append((line["fault"], line["dtype"], place, *("" if x is None else f"{x:.3g}" for x in numbers)))
    headers = ("graded fault", "precision", "network", "seen from", "x allowance", "unseen at", "x allowance")
    return table(headers, rows)


def _by(lines: Iterable[Line], key: Callable[[Line], tuple[str, ...]]) -> dict[tuple[str, ...], list[Line]]:
    found: dict[tuple[str, ...], list[Line]] = defaultdict(list)
    for line in lines:
        found[key(line)].append(line)
    return dict(found)
