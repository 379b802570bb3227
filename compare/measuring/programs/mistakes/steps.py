"""Mistakes of the update: its order, sign, rate and state, and the penalty that goes into it."""

from __future__ import annotations

import ast

from compare.measuring.programs.marks import Mark
from compare.measuring.programs.mistakes.mistake import mistake
from compare.measuring.programs.mistakes.site import Site, bare, parsed, times

STATE = ("kept", "fresh", "kept_square", "fresh_square", "corrected", "decay")
OWN = ("gradient", "gradient_bias", "step", "bound_step", *STATE)
SIGN = ("update-sign", "sign", "sign-of-gradient", "wrong-gradient")
RATE = ("wrong-learning-rate", "factor", "factor-two", "factor-half", "learning-rate-twice", "wrong-mean")


@mistake("order", 5, "updated-weights", "updated-in-backward")
def weights_updated_too_early(site: Site) -> bool:
    """The weights change before the delta of the layer before is computed with them."""
    layers = sorted({m.layer for m in site.marks("weight_back")})
    if not layers:
        return False
    k = site.r.choice(layers)
    back = site.statement(site.marks("weight_back", k)[0].call)
    body = site.body(back)
    at = body.index(back)
    moving = [s for s in body[at + 1 :] if _is_of_layer(site, s, k) or site.holds(s, ["counted"])]
    if not any(site.holds(s, ["step", "bound_step"], k) for s in moving):
        return False
    site.blame(back, *(s for s in moving if site.holds(s, ["step", "bound_step"])))
    others = [s for s in body[at:] if s not in moving]
    body[at:] = [*moving, *others]
    return True


def _is_of_layer(site: Site, s: ast.stmt, k: int) -> bool:
    return site.holds(s, OWN, k) and not site.holds(s, ["weight_back"], k)


@mistake("update", 3, *SIGN)
def ascent(site: Site) -> bool:
    """All updates add where they should take away."""
    return _turned(site, _steps(site))


@mistake("update", 2, *SIGN)
def one_update_adds(site: Site) -> bool:
    steps = _steps(site)
    return len(steps) > 1 and _turned(site, [site.r.choice(steps)])


def _steps(site: Site) -> list[Mark]:
    """What the weights are changed by."""
    return site.marks("bound_step") or site.marks("step")


def _turned(site: Site, steps: list[Mark]) -> bool:
    for each in steps:
        outer = site.parent(each.call)
        assert isinstance(outer, ast.AugAssign | ast.BinOp)
        outer.op = ast.Add() if isinstance(outer.op, ast.Sub) else ast.Sub()
        site.blame(each.call)
    return bool(steps)


@mistake("update", 1, "sign", "sign-of-gradient", "update-sign")
def error_turned_around(site: Site) -> bool:
    """t - y where the update takes away."""
    found = site.marks("error")
    for each in found:
        e = bare(each.expression)
        assert isinstance(e, ast.BinOp)
        site.rewrite(each, lambda _, e=e: ast.BinOp(e.right, ast.Sub(), e.left))  # type: ignore[misc]
    return bool(found)


@mistake("update", 2, *RATE)
def one_rate_is_another(site: Site) -> bool:
    found = site.marks("rate")
    if len(found) < 2:
        return False
    factor = site.r.choice(("0.1", "10", "2", "0.5"))
    site.rewrite(site.r.choice(found), lambda e: times(factor, e))
    return True


@mistake("update", 2, "update-missing", "stale-weights")
def update_forgotten(site: Site) -> bool:
    steps = _steps(site)
    if len(steps) < 2:
        return False
    one = site.r.choice(steps)
    statement = site.statement(one.call)
    site.blame(*_about(site, statement))
    site.remove(statement)
    return True


def _about(site: Site, update: ast.stmt) -> list[ast.stmt]:
    """The lines that speak of what an update changes and of its gradient: any may be named where it is missing."""
    target = update.target if isinstance(update, ast.AugAssign) else update.targets[0]  # type: ignore[attr-defined]
    names = {ast.unparse(target)} | {ast.unparse(bare(m.expression)) for m in site.marks("used")
                                     if site.statement(m.call) is update}  # fmt: skip
    bound = site.statements(lambda s: isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) in names)
    return [s for s in bound if s is not update]


@mistake("update", 1, "update-missing", "stale-weights")
def update_bound_to_another_name(site: Site) -> bool:
    """dW = W - lr * dW."""
    found = [m for m in site.marks("used") if isinstance(site.statement(m.call), ast.Assign)
             and site.style.optimizer == "sgd" and not site.style.bind_step and site.style.bind_gradient]  # fmt: skip
    if not found:
        return False
    one = site.r.choice(found)
    statement = site.statement(one.call)
    assert isinstance(statement, ast.Assign)
    name = bare(one.expression)
    if not isinstance(name, ast.Name | ast.Attribute):
        return False
    statement.targets = [ast.parse(f"{ast.unparse(name)} = 0").body[0].targets[0]]  # type: ignore[attr-defined]
    site.blame(statement)
    return True


@mistake("accumulated", 1, "accumulated")
def sums_not_set_to_zero(site: Site) -> bool:
    """The sums of the gradients begin at zero once, and not in every epoch."""
    if site.style.loop != "accumulated":
        return False
    names = {g for k in range(1, site.style.layers + 1) for g in site.notation.gradients(k)}
    zeros = site.statements(lambda s: isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) in names)
    body = site.body(zeros[0])
    loop = next(n for n in site.chain(zeros[0]) if isinstance(n, ast.For))
    outer = site.body(loop)
    for each in zeros:
        body.remove(each)
    at = outer.index(loop)
    outer[at:at] = zeros
    site.blame(*zeros, *(site.statement(m.call) for kind in ("gradient", "gradient_bias") for m in site.marks(kind)))
    return True


@mistake("penalty", 1.5, "weight-decay-missing", "weight-penalty", "weight-decay-in-gradient")
def penalty_not_in_the_gradient(site: Site) -> bool:
    """The loss that is reported has it."""
    if site.style.penalty_in != "both":
        return False
    found = site.marks("penalty") if site.r.random() < 0.5 else site.one_layer("penalty")
    for each in found:
        total = site.parent(each.call)
        assert isinstance(total, ast.BinOp)
        site.replace(total, total.left)
    return bool(found)


@mistake("penalty", 1.5, "weight-decay-doubled", "weight-penalty", "weight-decay-in-gradient", "factor")
def penalty_with_another_factor(site: Site) -> bool:
    if site.style.penalty_in != "both":
        return False
    found = site.marks("penalty")
    factor = site.r.choice(("2", "0.5"))
    for each in found:
        site.rewrite(each, lambda e: times(factor, e))
    return bool(found)


@mistake("penalty", 0.5, "weight-decay-sign", "weight-penalty", "weight-decay-in-gradient")
def penalty_with_the_wrong_sign(site: Site) -> bool:
    if site.style.penalty_in != "both":
        return False
    found = site.marks("penalty")
    for each in found:
        total = site.parent(each.call)
        assert isinstance(total, ast.BinOp)
        total.op = ast.Sub() if isinstance(total.op, ast.Add) else ast.Add()
        site.blame(each.call)
    return bool(found)


@mistake("adam", 1, "bias-correction-missing")
def adam_without_correction(site: Site) -> bool:
    found = site.marks("corrected")
    for each in found:
        e = bare(each.expression)
        assert isinstance(e, ast.BinOp)
        site.rewrite(each, lambda _, e=e: e.left)  # type: ignore[misc]
    return bool(found)


@mistake("adam", 1, "bias-correction-off-by-one")
def adam_counts_from_two(site: Site) -> bool:
    """The step number begins at 1 and is raised before it is used."""
    counted = site.marks("counted")
    if not counted:
        return False
    name = ast.unparse(site.statement(counted[0].call).target)  # type: ignore[attr-defined]
    (start,) = site.statements(lambda s: isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == name)
    assert isinstance(start, ast.Assign)
    start.value = parsed("1")
    site.blame(start, counted[0].call, *(m.call for m in site.marks("corrected")))
    return True


@mistake("adam", 1, "bias-correction-off-by-one", "bias-correction-without-power")
def adam_counts_parameters(site: Site) -> bool:
    """The step number is raised at every parameter."""
    counted, steps = site.marks("counted"), site.marks("kept")
    if not counted or len(steps) < 2:
        return False
    line = site.statement(counted[0].call)
    site.body(line).remove(line)
    for each in steps:
        statement = site.statement(each.call)
        body = site.body(statement)
        again = ast.parse(ast.unparse(line).replace("__counted_0__(1)", "1")).body[0]
        body.insert(body.index(statement), again)
        site.blame(again)
    site.blame(*(m.call for m in site.marks("corrected")))
    return True


@mistake("adam", 0.5, "betas-swapped", "bias-correction-off-by-one", "other-beta")
def adam_corrects_by_one_beta(site: Site) -> bool:
    found = [m for m in site.marks("beta") if ast.unparse(m.expression) == "0.999"]
    for each in found:
        site.rewrite(each, lambda _: parsed("0.9"))
    return bool(found)


@mistake("momentum", 1, "momentum-missing", "moving-average-reset")
def momentum_not_kept(site: Site) -> bool:
    """m is new in every step. Of Adam alone: without momentum, what is left of others is plain descent, and right."""
    found = site.one_layer("kept") if site.style.optimizer == "adam" else []
    for each in found:
        total = site.parent(each.call)
        assert isinstance(total, ast.BinOp)
        kept_sign = isinstance(total.op, ast.Add)
        site.replace(total, total.right if kept_sign else ast.UnaryOp(ast.USub(), total.right))
    return bool(found)


@mistake("momentum", 1, "moving-average-weight", "moving-average-not-decayed", "momentum-missing", "factor")
def moving_average_without_its_weight(site: Site) -> bool:
    """m <- 0.9 m + g. Of Adam alone: of a moving average it makes momentum, which is right."""
    if site.style.optimizer != "adam":
        return False
    found = site.one_layer("fresh")
    for each in found:
        e = bare(each.expression)
        assert isinstance(e, ast.BinOp)
        site.rewrite(each, lambda _, e=e: e.right)  # type: ignore[misc]
    return bool(found)


@mistake("momentum", 1, *SIGN, "momentum-missing")
def velocity_added_uphill(site: Site) -> bool:
    """v <- 0.9 v + lr g; p <- p + v."""
    if site.style.optimizer != "velocity":
        return False
    found = site.marks("fresh")
    return _turned(site, found)
