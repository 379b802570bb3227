"""Mistakes in the derivative of an activation, and in that of the softmax."""

from __future__ import annotations

import ast

from compare.measuring.programs.forward import is_bound
from compare.measuring.programs.marks import Mark
from compare.measuring.programs.mistakes.mistake import mistake
from compare.measuring.programs.mistakes.site import Site, bare, parsed

LOST = ("derivative-missing", "activation-derivative-lost")


@mistake("derivative", 17, *LOST)
def derivative_lost(site: Site) -> bool:
    in_place, slopes = site.one_layer("mask"), site.one_layer("derivative")
    if in_place and (not slopes or site.r.random() < 0.5):
        slopes = []
        site.remove(site.statement(in_place[0].call))
    for found in slopes:
        product = site.parent(found.call)
        if not isinstance(product, ast.BinOp) or not isinstance(product.op, ast.Mult):
            return False
        site.replace(product, product.left if bare(product.right) is bare(found.call) else product.right)
    return bool(in_place or slopes)


@mistake("derivative", 4, "derivative-of-pre-activation", "derivative-of-activated")
def derivative_at_the_wrong_argument(site: Site) -> bool:
    found = site.one_layer("argument")
    if not found or not is_bound(site.notation, found[0].layer):
        return False
    k = found[0].layer
    other = site.notation.out(k) if site.style.derivative_at == "pre" else site.notation.pre(k)
    for each in found:
        site.rewrite(each, lambda _: parsed(other))
    return True


@mistake("derivative", 3, "derivative-incomplete", "wrong-derivative", "parentheses-missing", "value-for-derivative")
def derivative_incomplete(site: Site) -> bool:
    inside = site.marks("inside")
    found = inside[:1] if inside and site.r.random() < 0.7 else site.one_layer("derivative")
    if not all(_formula_edited(site, each) for each in found):
        return False
    if inside and found == inside[:1]:
        site.blame(*(m.call for m in site.marks("derivative")))
    return bool(found)


def _formula_edited(site: Site, found: Mark) -> bool:
    """h (1 - h) -> 1 - h, 1 - h^2 -> 1 - h, (1 + h) (1 - h) -> 1 - h; not for a call or a mask."""
    e = bare(found.expression)
    if isinstance(e, ast.BinOp) and isinstance(e.op, ast.Mult):
        site.rewrite(found, lambda _: e.right)
        return True
    if isinstance(e, ast.BinOp) and isinstance(e.op, ast.Sub) and isinstance(bare(e.right), ast.BinOp):
        inner = bare(e.right)
        assert isinstance(inner, ast.BinOp)
        site.rewrite(found, lambda _: ast.BinOp(e.left, ast.Sub(), inner.left))
        return True
    return False


@mistake("derivative", 1, "relu-mask-inverted")
def relu_mask_inverted(site: Site) -> bool:
    found = [c for m in [*site.one_layer("derivative"), *site.one_layer("mask")] for c in ast.walk(m.call)
             if isinstance(c, ast.Compare)]  # fmt: skip
    for each in found:
        each.ops = [ast.Lt() if isinstance(each.ops[0], ast.Gt) else ast.Gt()]
        site.blame(each)
    return bool(found)


@mistake("softmax", 4, "softmax-diagonal", "derivative-twice", "wrong-derivative", "wrong-loss-gradient")
def softmax_derivative_as_of_a_sigmoid(site: Site) -> bool:
    """(p - t) p (1 - p): the softmax's derivative is in p - t already."""
    found = site.marks("error")
    if site.style.squared or not found:
        return False
    p = site.outer.out(site.style.layers)
    site.rewrite(found[0], lambda e: ast.BinOp(e, ast.Mult(), parsed(f"({p}) * (1 - ({p}))")))
    return True
