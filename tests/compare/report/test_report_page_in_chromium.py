"""The report page as a browser reads it: nothing breaks, nothing is asked for, nothing sticks out, in both schemes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from compare.report.page import Reproduction, write
from compare.report.report import Report
from tests.compare.report.chromium import Chromium, find_chromium
from tests.compare.report.test_report_page import HOSTILE, hostile, made

CHECKOUT = Path(__file__).resolve().parents[3]
AXE = Path(os.environ.get("BACKPROP_AXE", CHECKOUT / "node_modules" / "axe-core" / "axe.min.js"))
LONG = "a" * 300

pytestmark = pytest.mark.slow


def annotated() -> Report:
    """With everything that a page may have."""
    report = replace(made("backward"), reference=made("forward"))
    report.findings = [f"finding {LONG}"]
    report.origins = {row.tensor: f"{LONG}.py line 41, dz1" for row in report.rows}
    report.excerpt = f"> 41  dz1 = {LONG * 3}"
    return report


PAGES = {
    "parity": lambda: [made("parity beside torch"), made("parity")],
    "mismatch": lambda: [made("parity"), made("update"), made("overflow")],
    "incomplete": lambda: [made("incomplete"), made("nan on both sides"), made("nothing")],
    "annotated": lambda: [annotated(), made("shape")],
    "hostile": lambda: [hostile(), replace(hostile(), network=LONG, optimizer=LONG)],
}
NAMES = sorted(PAGES)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium found: install one, or name it in BACKPROP_CHROMIUM")
    with Chromium(path) as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("pages")
    for name, reports in PAGES.items():
        write(found / f"{name}.html", reports(), Reproduction(f"python {LONG} {HOSTILE}", "3", (HOSTILE, LONG)))
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("name", NAMES)
def test_a_page_fits_and_keeps_to_itself(browser: Chromium, folder: Path, name: str, width: int, scheme: str) -> None:
    url = (folder / f"{name}.html").as_uri()
    page = browser.page(url, width, scheme)
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = f"""[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll > *, svg')
        && e.getBoundingClientRect().right > {width}).map(e => e.outerHTML.slice(0, 80))"""
    assert page.evaluate(outside) == []
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light is (scheme == "light")
    assert [u for u in page.reading.requests if u != url and not u.startswith("data:")] == []
    assert page.reading.complaints == []


def test_the_page_runs_no_script_and_fetches_nothing(browser: Chromium, folder: Path) -> None:
    source = (folder / "parity.html").read_text(encoding="utf-8")
    planted = "<script>document.title = 'ran'</script><img src='http://127.0.0.1:9/x' onerror=\"document.title='ran'\">"
    (folder / "planted.html").write_text(source.replace("<main", f"{planted}<main"), encoding="utf-8")
    page = browser.page((folder / "planted.html").as_uri(), 800, "light")
    assert page.evaluate("document.title").startswith("Parity")
    assert any("Content Security Policy" in complaint for complaint in page.reading.complaints)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing(browser: Chromium, folder: Path, name: str, width: int, scheme: str) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core was not found: name its axe.min.js in BACKPROP_AXE")
    page = browser.page((folder / f"{name}.html").as_uri(), width, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    page.evaluate(AXE.read_text(encoding="utf-8") + "; 0")
    words = "axe.run().then(r => r.violations.map(v => [v.impact, v.id, v.nodes[0].html.slice(0, 200)]))"
    assert page.evaluate(words) == []
