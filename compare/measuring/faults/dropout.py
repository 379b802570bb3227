"""Mistakes in Dropout, and what each may be called."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at

NETWORK = "Linear(5, 40), Dropout(0.3), Linear(40, 4); CrossEntropyLoss"

_draw = partial(Edit, "scratch.dropout", "Dropout.draw")
_forward = partial(Edit, "scratch.dropout", "Dropout.forward")
_backward = partial(Edit, "scratch.dropout", "Dropout.backward")
_fault = partial(Fault, family="dropout", network=NETWORK)
MASK, OUTPUT, GRAD_INPUT = at("1.mask"), at("1.output"), at("1.grad_input")
HALF = "no difference with p = 1/2"

FAULTS = (
    _fault(
        "dropout-not-scaled",
        "what is kept is not divided by the kept share",
        edits=(_forward("return x * self.mask", "return np.where(self.mask != 0, x, x.dtype.type(0))"),),
        where=OUTPUT,
    ),
    _fault(
        "dropout-scaled-twice",
        "the mask is divided by the kept share, and so is what it is multiplied with",
        edits=(_forward("return x * self.mask", "return x * self.mask / x.dtype.type(1 - self.p)"),),
        where=OUTPUT,
    ),
    _fault(
        "dropout-divided-by-the-dropped-share",
        "divided by p, not by 1 - p",
        edits=(_draw("kept / (1 - self.p)", "kept / self.p"),),
        where=MASK,
        hidden=HALF,
    ),
    _fault(
        "dropout-keeps-the-dropped-share",
        "< for >=: the share p is kept",
        edits=(_draw(">= self.p", "< self.p"),),
        where=MASK,
        rows=(20, 10),
        hidden=HALF,
    ),
    _fault(
        "dropout-from-randn",
        "normal numbers are the mask: not uniform ones compared with p",
        edits=(_draw("self.rng.random(shape) >= self.p", "self.rng.standard_normal(shape)"),),
        where=MASK,
    ),
    _fault(
        "dropout-not-in-backward",
        "the gradient passes as if nothing had been dropped",
        edits=(_backward("return dy * mask", "return dy.copy()"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "dropout-drawn-again-in-backward",
        "backward draws a mask of its own",
        edits=(_backward("return dy * mask", "return dy * self.draw(dy.shape, dy.dtype)"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "dropout-backward-not-scaled",
        "backward masks, and does not scale",
        edits=(_backward("return dy * mask", "return np.where(mask != 0, dy, dy.dtype.type(0))"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "dropout-inverted-in-backward",
        "the gradient goes to the elements that were dropped",
        edits=(_backward("return dy * mask", "return dy * (mask.max() - mask)"),),
        where=GRAD_INPUT,
    ),
    _fault(
        "dropout-left-in-evaluation",
        "nothing is dropped in training either: the layer takes it for an evaluation",
        edits=(_forward("if self.training", "if not self.training"),),
        where=MASK,
    ),
)
CAUSES = {
    "dropout-not-scaled": "kept-share-not-divided-out",
    "dropout-scaled-twice": "divided-twice",
    "dropout-divided-by-the-dropped-share": "divided-by-p",
    "dropout-keeps-the-dropped-share": "mask-keeps-p divided-by-p mask-of-another-share",
    "dropout-from-randn": "mask-from-normal",
    "dropout-not-in-backward": "mask-not-applied",
    "dropout-drawn-again-in-backward": "mask-drawn-anew",
    "dropout-backward-not-scaled": "kept-share-not-divided-out",
    "dropout-inverted-in-backward": "mask-inverted",
    "dropout-left-in-evaluation": "mask-of-another-share",
}
