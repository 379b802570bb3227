"""The report page and the notebook's form: what they say of every kind of report, and that nothing reaches out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import compare
import scratch
from compare.exact.exact import exact_check
from compare.judging.judged_step import Wrong
from compare.judging.reasons import Diagnosis, Unknown
from compare.judging.verdict import Row
from compare.measuring.faults import find, run
from compare.recording.scratch_recorder import record_scratch
from compare.report import page as report_page
from compare.report.figures import CELLS, RATIOS, block_maximum, difference_and_ratio, heat_maps, histogram
from compare.report.page import Reproduction, View, bar, to_fragment, to_page
from compare.report.report import Report
from compare.report.text import closing
from tests.compare.report.html_page import HtmlPage

TEXT = "7-6-4 tanh, softmax cross-entropy"
CSS = (Path(report_page.__file__).parent / "templates" / "report.css").read_text()


def network(dtype: type = np.float32) -> scratch.Sequential:
    rng = np.random.default_rng(1)
    return scratch.Sequential(
        scratch.Linear(7, 6, rng=rng, dtype=dtype), scratch.Tanh(), scratch.Linear(6, 4, rng=rng, dtype=dtype)
    )


def data(m: int = 9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.standard_normal((m, 7)).astype(np.float32), rng.integers(0, 4, m)


def arrays(m: int = 9) -> dict[str, np.ndarray]:
    """One correct step, by record name."""
    record = record_scratch(network(), scratch.CrossEntropyLoss(), None, [data(m)])[0]
    return {name: a for name, a in record.items() if name not in ("input", "target")}


def on_arrays(found: dict[str, np.ndarray], m: int = 9) -> Report:
    return compare.check(found, *data(m), network=TEXT)


def trained(m: int = 9) -> Report:
    net = network()
    return compare.check(net, *data(m), loss=scratch.CrossEntropyLoss(), optimizer=scratch.Adam(net, lr=0.01))


def beside_torch() -> Report:
    net = network()
    return compare.check_parity(net, scratch.CrossEntropyLoss(), scratch.SGD(net, lr=0.1), [data(), data(4)])


def fault(name: str) -> Callable[[], Report]:
    return lambda: run(find(name), "float32")


def changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[], Report]:
    def report() -> Report:
        found = arrays()
        return on_arrays(found | {name: change(found[name])})

    return report


def partial_record() -> Report:
    return on_arrays({name: a for name, a in arrays().items() if name.endswith("weight")})


def across_gaps() -> Report:
    kept = ("weight", "bias")
    return on_arrays({name: a for name, a in arrays().items() if name.rpartition("_")[2].rpartition(".")[2] in kept})


def with_nan(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a[1, 2], a[0, 1] = np.nan, np.inf
    return a


# name -> how to make it, its verdict, and words that its page must have
REPORTS: dict[str, tuple[Callable[[], Report], str, list[str]]] = {
    "parity": (trained, "parity", ["118 of 118 tensors compared", "This check would show", "side effects: none"]),
    "parity beside torch": (beside_torch, "parity", ["PyTorch's own float32 by the same bounds: parity", "end to end"]),
    "exact parity": (
        lambda: exact_check("8-6-4 relu, mse", dtype="float32"),
        "parity",
        ["exact mode, equality bit for bit", "no tolerance"],
    ),
    "one row": (lambda: trained(1), "parity", ["batch 1"]),
    "forward": (fault("bias-missing"), "mismatch", ["y = x W^T + b", "the bias is not added", "42 of 42 elements"]),
    "backward": (
        fault("sigmoid-derivative-of-activated"),
        "mismatch",
        ["dx = dy y (1 - y)", "1.grad_input[0, 5]", "sigmoid is applied once more", "confidence 95 %"],
    ),
    "loss": (fault("cross-entropy-loss-summed"), "mismatch", ["the loss", "mean-missing"]),
    "update": (fault("rate-missing"), "mismatch", ["p <- p - lr v", "or else", "learning-rate-missing"]),
    "side effect": (fault("activation-changed-by-backward"), "mismatch", ["backward leaves 1.output as it was"]),
    "wiring": (fault("activations-skipped-on-the-way-back"), "mismatch", ["it must have the same bits"]),
    "overflow": (fault("softmax-without-shift"), "mismatch", ["20 of 42 elements are NaN or infinite", "not finite"]),
    "not finite": (changed("2.grad_weight", with_nan), "mismatch", ["2 of 24 elements are NaN or infinite"]),
    "shape": (changed("0.grad_weight", np.transpose), "mismatch", ["shape (7, 6), expected (6, 7)", "is transposed"]),
    "incomplete": (partial_record, "incomplete", ["was not handed in, and the verdict needs it", "2 of 16 tensors"]),
    "across gaps": (across_gaps, "incomplete", ["spanning", "not looked for"]),
    "nothing": (lambda: on_arrays({}), "incomplete", ["2 of 16 tensors compared"]),
    "nan on both sides": (
        lambda: on_arrays(arrays() | {"0.weight": np.full((6, 7), np.nan, np.float32)}),
        "incomplete",
        ["not checked", "overflow or are NaN on both sides"],
    ),
}


@cache
def made(name: str) -> Report:
    return REPORTS[name][0]()


@pytest.mark.parametrize("name", REPORTS)
def test_the_page_says_what_the_report_says(name: str) -> None:
    report, (_, verdict, words) = made(name), REPORTS[name]
    assert report.verdict == verdict
    page = HtmlPage(to_page([report]))
    text = page.text
    assert page.all("h1")[0].text.strip() == f"{verdict.capitalize()}: {report.network}"
    for each in [*words, report.coverage, *closing(report)]:
        assert each in text
    if report.first:
        assert report.first.tensor in text
        assert report.first.formula in text
        assert [d.explanation for d in report.diagnosis[:2] if d.explanation not in text] == []
    rows = [e for e in page.all("tr") if "tbody" in e.around and "details" in e.around]
    assert len(rows) == len(report.rows)


@pytest.mark.parametrize("name", REPORTS)
def test_the_page_is_whole_and_needs_nothing_else(name: str) -> None:
    source = to_page([made(name), made("parity")], Reproduction("python check.py", "3"))
    assert_self_contained(source)
    page = HtmlPage(source)
    assert source.startswith("<!DOCTYPE html>\n<html lang=")
    assert page.all("html")[0].attributes["lang"] == "en"
    assert [len(page.all(tag)) for tag in ("title", "main", "header", "footer", "h1")] == [1, 1, 1, 1, 1]
    levels = [int(e.tag[1]) for e in page.all("h1", "h2", "h3", "h4")]
    assert all(b <= a + 1 for a, b in zip([0, *levels], levels, strict=False))
    assert [t for t in page.all("table") if not t.text.strip()] == []
    assert len(page.all("caption")) == len(page.all("table"))
    for image in page.all("svg"):
        assert image.attributes.get("aria-hidden") == "true" or (
            image.attributes["role"] == "img" and len(image.attributes["aria-label"]) > 20
        )
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(set(ids)) == len(ids)
    links = [e.attributes["href"] for e in page.all("a")]
    assert {link.removeprefix("#") for link in links} <= set(ids)


@pytest.mark.parametrize("name", REPORTS)
def test_a_notebook_gets_one_element_without_a_style_sheet(name: str) -> None:
    report = made(name)
    source = report._repr_html_()
    page = HtmlPage(source)
    assert_self_contained(source)
    assert [e.tag for e in page.elements if not e.around] == ["div"]
    assert not page.all("style", "link", "html", "body")
    assert not [e for e in page.elements if "id" in e.attributes or "class" in e.attributes]
    text = " ".join(page.elements[0].text.split())
    assert report.verdict.upper() in text
    assert report.coverage in text
    if report.first:
        assert report.first.tensor in text
        assert report.first.formula in text
        assert all(d.explanation in text for d in report.diagnosis[:2])
    assert len(page.all("tr")) == 1 + len(View(report).layers)


def assert_self_contained(source: str) -> None:
    page = HtmlPage(source)
    assert not page.all("script", "iframe", "object", "embed", "base", "form", "img")
    assert [a for e in page.elements for a in e.attributes if a.startswith("on")] == []
    for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
        found = [e.attributes[name] for e in page.elements if name in e.attributes]
        assert [url for url in found if not url.startswith(("#", "data:,"))] == []
    styles = "".join(e.text for e in page.all("style")) + "".join(e.attributes.get("style", "") for e in page.elements)
    assert not re.search(r"url\(|@import|expression", styles)
    assert "://" not in source


# --- the worse first, and the blocks that are broken open -------------------------------------------------------------


@pytest.mark.parametrize("order", [("parity", "backward"), ("backward", "parity"), ("parity", "incomplete")])
def test_of_two_reports_the_worse_comes_first(order: tuple[str, str]) -> None:
    page = HtmlPage(to_page([made(name) for name in order]))
    titles = [e.text.strip() for e in page.all("h2")]
    worse = "Mismatch" if "backward" in order else "Incomplete"
    assert page.all("h1")[0].text.strip().startswith(worse)
    assert titles[0].startswith(worse)
    assert titles[1].startswith("Parity")
    assert page.text.count("tensors compared") >= 4


def test_only_blocks_with_something_off_are_open() -> None:
    page = HtmlPage(to_page([made("backward")]))
    blocks = [e for e in page.all("details") if "tensors in order of execution" in e.text]
    opened = [e for e in blocks if "open" in e.attributes]
    assert len(blocks) == 8
    assert len(opened) == 2
    assert all("1 Sigmoid: 1 of 4 off" in " ".join(e.text.split()) for e in opened)
    assert not [e for e in HtmlPage(to_page([made("parity")])).all("details") if "open" in e.attributes]


def test_no_reports_are_refused() -> None:
    with pytest.raises(ValueError, match="got no reports, expected at least one"):
        to_page([])


def test_how_to_repeat_it() -> None:
    command = "python scripts/check_parity.py digits --inject 'a b'"
    text = HtmlPage(to_page([made("parity")], Reproduction(command, "7, the lab's own", ("said on the way",)))).text
    assert command in text
    assert "7, the lab's own" in text
    assert "said on the way" in text
    assert np.__version__ in text
    assert "Repeat the call" in HtmlPage(to_page([made("parity")])).text


def test_pytorch_that_is_wrong_itself_is_told() -> None:
    report = replace(made("parity"), reference=made("backward"))
    text = HtmlPage(to_page([report])).text
    assert "PyTorch's own run By the same bounds it is a mismatch. First divergence: 1.grad_input" in text


def test_what_was_found_of_conventions_and_lines_is_shown_where_there_is_any() -> None:
    report = replace(made("backward"))
    report.findings = ["your gradient is that of the summed loss: 18 x the mean's"]
    report.origins = {"1.grad_input": "student.py line 41, dz1"}
    report.where = "/home/anna/student.py:41:7"
    report.excerpt = "  40  da1 = dz2 @ W2.T\n> 41  dz1 = da1 * s(a1)\n            ^^^^^^^^^^^"
    for source in (to_page([report]), to_fragment(report)):
        text = HtmlPage(source).elements[0].text
        assert report.findings[0] in text
        assert "student.py line 41, dz1" in text
        assert "student.py:41:7" in text
        assert "anna" not in text
    assert report.excerpt in HtmlPage(to_page([report])).elements[0].text


# --- names from strangers ---------------------------------------------------------------------------------------------

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"' onload=alert(3) {{ 7*7 }} </style></svg></title>&"


def hostile() -> Report:
    row = Row(1, "0", HOSTILE, HOSTILE, (2, 3), HOSTILE, 1.0, (0, 1), 0.5, 2.0, "off", HOSTILE, HOSTILE, 1.5, 0.5, 1)
    report = Report(
        HOSTILE,
        HOSTILE,
        [row, replace(row, layer=HOSTILE), replace(row, layer="77", status="not checked")],
        [HOSTILE],
        [HOSTILE],
        [HOSTILE],
        steps=2,
        batch=3,
        total=4,
        optimizer=HOSTILE,
        diagnosis=[Diagnosis(HOSTILE, HOSTILE, 0.5, HOSTILE, Unknown(), HOSTILE)],
        end_to_end={HOSTILE: 1.0},
    )
    report.findings, report.origins = [HOSTILE], {HOSTILE: HOSTILE}
    report.where = report.excerpt = HOSTILE
    return report


def test_everything_is_escaped() -> None:
    report = hostile()
    reproduction = Reproduction(f"python {HOSTILE}", HOSTILE, (HOSTILE,))
    page = to_page([report, replace(report, rows=[], reference=report)], reproduction)
    for source in (page, to_fragment(report)):
        assert_self_contained(source)
        assert "<script" not in source
        assert "<img" not in source
        assert HtmlPage(source).elements[0].text.count(HOSTILE) >= 8
    assert HOSTILE in HtmlPage(page).all("title")[0].text


def test_names_that_are_no_text_do_not_stop_the_page(tmp_path: Path) -> None:
    name = "net\udcff\x00.npz"  # as Python reads a file name that is not UTF-8
    report = replace(made("parity"), network=name)
    report.to_html(tmp_path / "r.html", Reproduction(name))
    assert "\\udcff" in (tmp_path / "r.html").read_text(encoding="utf-8")
    to_fragment(report).encode("utf-8")


@pytest.mark.parametrize("path", ["no/such/folder/r.html", "."])
def test_a_page_that_cannot_be_written_is_an_oserror(tmp_path: Path, path: str) -> None:
    with pytest.raises(OSError, match="Errno"):
        made("parity").to_html(tmp_path / path)


# --- figures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["parity", "forward", "backward", "update", "wiring", "side effect", "exact parity"])
def test_elementwise_ratios_are_those_of_the_rows(name: str) -> None:
    report = made(name)
    for row in report.rows:
        judged = report.judgement(row)
        assert judged is not None
        difference, ratio = difference_and_ratio(judged)
        assert ratio.shape == row.shape
        assert ratio.max(initial=0) == row.ratio
        assert ratio[row.index] == row.ratio
        assert difference[row.index] == abs(row.found - row.expected)


def judged(name: str, row: Row | None = None) -> tuple[Wrong, Row]:
    report = made(name)
    row = row or report.first
    found = report.judgement(row)
    assert found is not None
    return found, row


def test_a_heat_map_has_every_cell_once_and_rings_the_worst() -> None:
    found, row = judged("backward")
    for heat in heat_maps(found, row.index):
        assert (heat.rows, heat.columns, heat.block, heat.worst) == (6, 7, (1, 1), row.index)
        assert painted(heat) == [(y, x) for y in range(6) for x in range(7)]
    assert {level.label for level in heat.levels} <= {label for most, label in RATIOS if most > 1}


def painted(heat: object) -> list[tuple[int, int]]:
    runs = [m for level in heat.levels for m in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", level.path)]
    return sorted((int(y), int(x) + k) for x, y, n in runs for k in range(int(n)))


def test_what_is_not_finite_has_a_shade_of_its_own() -> None:
    found, row = judged("not finite")
    for heat in heat_maps(found, row.index):
        (nan,) = [level for level in heat.levels if level.shade == "nan"]
        assert set(painted(replace(heat, levels=(nan,)))) == {(1, 2), (0, 1)}
    assert histogram(found).left_out == 2


@pytest.mark.parametrize(("shape", "block"), [((48, 48), (1, 1)), ((49, 3), (2, 1)), ((10, 784), (1, 17))])
def test_large_matrices_are_drawn_by_block_maximum(shape: tuple[int, int], block: tuple[int, int]) -> None:
    a = np.random.default_rng(0).uniform(size=shape)
    cells = block_maximum(a, block)
    assert max(cells.shape) <= CELLS
    assert cells.shape == tuple(-(-n // size) for n, size in zip(shape, block, strict=True))
    for y, x in np.ndindex(cells.shape):
        assert cells[y, x] == a[y * block[0] : (y + 1) * block[0], x * block[1] : (x + 1) * block[1]].max()


def test_a_large_matrix_says_that_its_cells_are_blocks() -> None:
    rng = np.random.default_rng(0)
    net = scratch.Sequential(scratch.Linear(130, 60, rng=rng), scratch.Tanh(), scratch.Linear(60, 4, rng=rng))
    x = rng.standard_normal((8, 130)).astype(np.float32)
    report = compare.check(net, x, rng.integers(0, 4, 8), loss=scratch.CrossEntropyLoss())
    (picture,) = View(report).pictures
    assert picture.maps[0].block != (1, 1)
    words = f"each cell is the largest of a block of {' x '.join(map(str, picture.maps[0].block))} elements"
    assert words in HtmlPage(to_page([report])).text
    assert "each cell is the largest" not in HtmlPage(to_page([made("backward")])).text


def test_a_histogram_counts_every_finite_value_of_both_sides() -> None:
    found, _ = judged("backward")
    drawn = histogram(found)
    assert sum(drawn.candidate) == sum(drawn.reference) == found.got.size
    both = np.concatenate([found.got.ravel(), found.expected.value.ravel()])
    assert (drawn.low, drawn.high) == (both.min(), both.max())


def test_what_has_no_range_has_no_histogram() -> None:
    assert histogram(judged("loss")[0]) is None
    found, _ = judged("backward")
    one = np.ones_like(found.got)
    value = replace(found.expected, value=one.astype(float))
    assert histogram(replace(found, got=one, expected=value)) is None
    neighbour = replace(found.expected, value=np.nextafter(one.astype(float), 2))
    assert histogram(replace(found, got=one, expected=neighbour)) is None


def test_a_report_draws_a_few_tensors_each_once_and_the_first_divergence_first() -> None:
    report = made("update")
    drawn = [picture.row.tensor for picture in View(report).pictures]
    assert drawn == ["0.new_weight", "2.new_weight"]
    assert View(report).pictures[0].row is report.first
    assert [picture.row.kind for picture in View(made("parity")).pictures] == ["update"]


@pytest.mark.parametrize("name", ["shape", "loss", "nothing", "incomplete"])
def test_without_a_matrix_to_draw_nothing_is_drawn(name: str) -> None:
    first = made(name).first
    drawn = View(made(name)).pictures
    assert [picture for picture in drawn if picture.row is first] == []


RATIO_BARS = [(0.0, 0.0), (1e-5, 0.0), (1.0, 100 / 3), (1e6, 100.0), (1e30, 100.0), (np.inf, 100.0), (np.nan, 0.0)]


@pytest.mark.parametrize(("ratio", "reach"), RATIO_BARS)
def test_a_bar_is_logarithmic_and_ends(ratio: float, reach: float) -> None:
    assert bar(ratio) == pytest.approx(reach, abs=0.1)
    assert 0 < bar(0.5) < bar(1.0) < bar(2.0) < 100


# --- contrast ---------------------------------------------------------------------------------------------------------


def luminance(color: str) -> float:
    """Relative luminance of WCAG 2."""
    channels = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


SCHEMES = [dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", part)) for part in re.findall(r":root \{(.*?)\}", CSS, re.S)]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("text", ["ink", "soft", "parity", "mismatch", "incomplete"])
def test_text_has_the_contrast_that_aa_asks_for(text: str, scheme: dict[str, str]) -> None:
    assert len(SCHEMES) == 3
    for ground in ("paper", "panel"):
        assert contrast(scheme[text], scheme[ground]) >= 4.5


def test_shades_grow_darker_so_that_they_are_told_apart_without_hue() -> None:
    for kind, count in (("ratio", len(RATIOS)), ("difference", 7)):
        shades = dict(re.findall(rf"\.({kind}-\d)[ ,][^{{]*\{{ fill: (#[0-9a-f]{{6}})", CSS))
        shades[f"{kind}-0"] = "#ffffff"
        levels = [luminance(shades[f"{kind}-{k}"]) for k in range(count)]
        assert levels == sorted(levels, reverse=True)
        assert len(set(levels)) == count
