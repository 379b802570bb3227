"""Mistakes of a factor: the mean over the samples, the 2 of a square, one layer that is scaled."""

from __future__ import annotations

import ast

from compare.measuring.programs.marks import Mark
from compare.measuring.programs.mistakes.mistake import mistake
from compare.measuring.programs.mistakes.site import Site, bare, parsed, times

FACTOR = ("factor", "factor-two", "factor-half")


def _says_its_loss(site: Site) -> bool:
    """Where no loss is reported, a factor that all gradients have is a convention."""
    return site.style.report != "none"


@mistake("factor", 2, "mean-missing", "wrong-mean", "factor")
def mean_missing(site: Site) -> bool:
    place = site.style.mean_at
    found = site.marks("mean")
    if place == "rate":
        return False
    if place == "gradient" and not (_says_its_loss(site) and site.r.random() < 0.4):
        found = _some(site, found)
    if place == "error" and not _says_its_loss(site):
        return False
    for each in found:
        division = bare(each.expression)
        assert isinstance(division, ast.BinOp)
        site.rewrite(each, lambda _, division=division: division.left)  # type: ignore[misc]
    return bool(found)


def _some(site: Site, found: list[Mark]) -> list[Mark]:
    """The marks of one statement, where there are others besides."""
    statements = list(dict.fromkeys(site.statement(m.call) for m in found))
    if len(statements) < 2:
        return []
    one = site.r.choice(statements)
    return [m for m in found if site.statement(m.call) is one]


@mistake("factor", 1, "mean-doubled", "wrong-mean", "factor")
def mean_doubled(site: Site) -> bool:
    if site.style.mean_at == "rate" or site.style.reduction == "sum" or site.style.one_by_one:
        return False
    found = _some(site, site.marks("gradient") + site.marks("gradient_bias"))
    for each in found:
        site.rewrite(each, lambda e: ast.BinOp(e, ast.Div(), parsed(site.notation.m)))
    return bool(found)


@mistake("factor", 1, "factor-half", "factor", "wrong-mean")
def two_forgotten(site: Site) -> bool:
    found = site.marks("two")
    if not found or not _says_its_loss(site):
        return False
    product = bare(found[0].expression)
    assert isinstance(product, ast.BinOp)
    site.rewrite(found[0], lambda _: product.right)
    return True


@mistake("factor", 1, "factor-two", "factor", "wrong-mean")
def two_too_many(site: Site) -> bool:
    found = site.marks("error")
    if site.style.loss != "half squared error" or not found or not _says_its_loss(site):
        return False
    site.rewrite(found[0], lambda e: times("2", e))
    return True


@mistake("factor", 1, *FACTOR, "wrong-mean")
def one_gradient_scaled(site: Site) -> bool:
    found = _some(site, site.marks("gradient") + site.marks("gradient_bias"))
    factor = site.r.choice(("2", "0.5", "3"))
    for each in found:
        site.rewrite(each, lambda e: times(factor, e))
    return bool(found)


@mistake("factor", 1, "mean-over-other-batch", "wrong-mean", "factor", "mean-doubled")
def divided_by_the_whole_batch(site: Site) -> bool:
    """The last batch has fewer samples, and is divided by the size of the others."""
    found = site.marks("count")
    uneven = site.style.count % site.style.batch
    if site.style.loop not in ("mini", "shuffled") or not uneven or site.style.loss == "mse":
        return False
    for each in found:
        site.rewrite(each, lambda _: parsed(str(site.style.batch)))
    return bool(found)
