"""Mistakes of a wrong tensor: another array, a transpose, the gradient of a bias, what is forward."""

from __future__ import annotations

import ast
from itertools import pairwise

from compare.measuring.programs.forward import is_bound
from compare.measuring.programs.mistakes.mistake import mistake
from compare.measuring.programs.mistakes.site import Site, bare, parsed


@mistake("tensor", 2, "pre-activation-input", "wrong-input")
def gradient_from_the_pre_activation(site: Site) -> bool:
    found = [m for m in site.one_layer("entering") if m.layer > 1 and is_bound(site.notation, m.layer - 1)]
    if site.style.bias == "last column":
        return False
    for each in found:
        site.rewrite(each, lambda _, k=each.layer - 1: parsed(site.notation.pre(k)))  # type: ignore[misc]
    return bool(found)


@mistake("tensor", 2, "wrong-input", "another-tensor", "wrong-gradient", "activation-derivative-lost")
def gradient_from_another_layer(site: Site) -> bool:
    """The delta of the layer behind, or what left the layer instead of what entered it: where the sizes agree."""
    sizes, c = site.style.sizes, site.notation
    places = [(m, c.out(m.layer)) for m in site.marks("entering")
              if sizes[m.layer] == sizes[m.layer - 1] and site.style.bias != "last column"]  # fmt: skip
    places += [(m, c.delta(m.layer + 1)) for m in site.marks("delta_used")
               if m.layer < site.style.layers and sizes[m.layer] == sizes[m.layer + 1]]  # fmt: skip
    if not places:
        return False
    place, other = site.r.choice(places)
    site.rewrite(place, lambda _: parsed(other))
    return True


@mistake("tensor", 2, "activation-derivative-lost", "wrong-gradient", "derivative-missing")
def gradient_before_the_derivative(site: Site) -> bool:
    """dA in the place of dZ."""
    if not site.style.bind_back:
        return False
    found = [m for m in site.one_layer("delta_used") if site.marks("derivative", m.layer)]
    for each in found:
        site.rewrite(each, lambda _, k=each.layer: parsed(site.notation.grad_out(k)))  # type: ignore[misc]
    return bool(found)


@mistake("tensor", 1, "wrong-weight", "another-tensor")
def back_through_another_weight(site: Site) -> bool:
    sizes = site.style.sizes
    shapes = list(pairwise(sizes))
    places = [(m, k) for m in site.marks("weight_back") for k in range(1, len(sizes))
              if k != m.layer and shapes[k - 1] == shapes[m.layer - 1]]  # fmt: skip
    if not places:
        return False
    place, k = site.r.choice(places)
    site.rewrite(place, lambda _: parsed(site.notation.weight(k)))
    return True


@mistake("transposed", 2, "weight-transposed", "operands-swapped")
def weight_transposed_on_the_way_back(site: Site) -> bool:
    places = [m for m in site.marks("weight_back") if site.style.sizes[m.layer] == site.style.sizes[m.layer - 1]]
    if not places or site.style.bias == "last column":
        return False
    k = site.r.choice(places).layer
    for place in [m for m in places if m.layer == k]:
        outer = site.parent(place.call)
        if isinstance(outer, ast.Attribute):
            site.replace(outer, outer.value)
        else:
            site.rewrite(place, lambda e: ast.Attribute(e, "T", ast.Load()))
    return True


@mistake("transposed", 1, "transposed", "operands-swapped")
def gradient_transposed(site: Site) -> bool:
    sizes = site.style.sizes
    found = [m for m in site.one_layer("gradient") if sizes[m.layer] == sizes[m.layer - 1]]
    if site.style.bias == "last column":
        return False
    for each in found:
        site.rewrite(each, lambda e: ast.Attribute(e, "T", ast.Load()))
    return bool(found)


@mistake("bias", 1, "mean-doubled", "wrong-mean", "factor", "mean-over-other-batch")
def bias_gradient_is_a_mean(site: Site) -> bool:
    """np.mean where the division by the samples is made already."""
    found = site.one_layer("sum")
    if site.style.one_by_one:
        return False
    for each in found:
        call = bare(each.expression)
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Attribute)
        call.func.attr = "mean"
        site.blame(each.call)
    return bool(found)


@mistake("bias", 1, "last-sample-only", "first-sample-only")
def bias_gradient_of_one_sample(site: Site) -> bool:
    found = site.one_layer("sum")
    if site.style.one_by_one or site.style.samples == "columns":
        return False
    for each in found:
        d = next(m for m in site.marks("delta_summed", each.layer) if any(m.call is n for n in ast.walk(each.call)))
        one = d.call
        site.rewrite(each, lambda _, one=one: ast.Subscript(one, parsed(site.r.choice(("-1", "0"))), ast.Load()))  # type: ignore[misc]
    return bool(found)


@mistake("bias", 1, "activation-derivative-lost", "wrong-gradient", "another-tensor")
def bias_gradient_of_another_delta(site: Site) -> bool:
    """The delta before its derivative, or of the layer behind where the sizes agree."""
    c, sizes = site.notation, site.style.sizes
    places = []
    for m in site.marks("delta_summed"):
        if site.style.bind_back and site.marks("derivative", m.layer):
            places.append((m, c.grad_out(m.layer)))
        elif m.layer < site.style.layers and sizes[m.layer] == sizes[m.layer + 1]:
            places.append((m, c.delta(m.layer + 1)))
    if not places:
        return False
    place, other = site.r.choice(places)
    site.rewrite(place, lambda _: parsed(other))
    return True


@mistake("forward", 1, "bias-missing")
def bias_not_added(site: Site) -> bool:
    found = site.one_layer("bias")
    for each in found:
        total = site.parent(each.call)
        assert isinstance(total, ast.BinOp)
        site.replace(total, total.left)
    return bool(found)


@mistake("forward", 1, "softmax-wrong-axis", "softmax-over-batch")
def softmax_over_the_wrong_axis(site: Site) -> bool:
    found = site.marks("classes")
    if not found or site.style.one_by_one:
        return False
    for each in found:
        call = bare(each.expression)
        assert isinstance(call, ast.Call)
        axis = next(k for k in call.keywords if k.arg == "axis")
        axis.value = parsed("0" if ast.unparse(axis.value) == "1" else "1")
        site.blame(each.call, *(m.call for m in site.marks("activation", site.style.layers)))
    return True


@mistake("samples", 1, "targets-shuffled", "previous-batch", "rows-in-another-order")
def targets_in_another_order(site: Site) -> bool:
    found = site.marks("drawn")
    for each in found:
        site.rewrite(each, lambda e: ast.Call(parsed("np.sort"), [e], []))
    return bool(found)
