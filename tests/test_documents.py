"""README.md and docs/: short enough to be read, and no link leads nowhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!\w+:)([^)\s]+)\)")
TAG = re.compile(r'<a (?:id|name)="(.+?)"')


def without_code(text: str) -> str:
    return CODE.sub("", text)


def anchors(text: str) -> set[str]:
    """What a page can be linked at: its headings as GitHub turns them into anchors, and its own tags."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {anchor(heading) for heading in headings} | set(TAG.findall(text))


def anchor(heading: str) -> str:
    kept = (c for c in heading.lower() if c in " -_" or unicodedata.category(c)[0] in "LN")
    return "".join(kept).replace(" ", "-")


def broken_links(page: Path) -> Iterator[str]:
    for link in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        path, _, at = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (at and at not in anchors(target.read_text(encoding="utf-8"))):
            yield link


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert not list(broken_links(page))


def test_the_readme_links_every_page() -> None:
    linked = set(LINK.findall(README.read_text(encoding="utf-8")))
    assert not {page.relative_to(ROOT).as_posix() for page in PAGES[1:]} - linked


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# What is 1/m?\n[a](page.md) [b](none.md) [c](#what-is-1m) [d](#what) [e](https://host/none) `[f](none)`\n"
        "```\n# No heading\n[g](none)\n```\n[h](page.md#no-heading)\n"
    )
    assert list(broken_links(page)) == ["none.md", "#what", "page.md#no-heading"]
