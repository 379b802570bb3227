"""Mistakes that only training in several processes can have; a list of its own, for they show under torchrun alone."""

from __future__ import annotations

from functools import partial

from compare.measuring.faults.fault import Edit, Fault, at
from compare.measuring.faults.linear import GRAD_WEIGHT

ROWS = (7, 4)  # uneven shards in the first step, for up to six ranks

_averaging = partial(
    Edit,
    "torch_ref.distributed",
    "ShardedLearner._averaging",
    "return DistributedDataParallel(model, process_group=self.team.gradients, gradient_as_bucket_view=True)",
)

DISTRIBUTED_FAULTS = (
    Fault(
        "gradients-summed-over-ranks",
        "the ranks' gradients are summed and never divided by their number",
        "distributed",
        (
            _averaging(
                "ranks = DistributedDataParallel(model, process_group=self.team.gradients)\n"
                "    ranks.register_comm_hook(None, lambda _, bucket: torch.distributed.all_reduce(\n"
                "        bucket.buffer(), async_op=True).get_future().then(lambda sums: sums.value()[0]))\n"
                "    return ranks"
            ),
        ),
        GRAD_WEIGHT,
        rows=ROWS,
    ),
    Fault(
        "shards-averaged-with-equal-weights",
        "the means over the ranks' shards are averaged as if all shards had the same number of rows",
        "distributed",
        (
            Edit(
                "torch_ref.distributed",
                "ShardedLearner.weight",
                'self.team.size * own / rows if self.loss.reduction != "sum" else float(self.team.size)',
                "1.0",
            ),
        ),
        at("2.grad_output", "loss"),
        rows=ROWS,
        hidden="no difference where all shards have the same number of rows",
    ),
    Fault(
        "ranks-with-different-weights",
        "every rank draws its own first weights, and none takes rank 0's",
        "distributed",
        (
            _averaging(
                "own = torch.Generator().manual_seed(self.team.rank)\n"
                "    for p in model.parameters():\n"
                "        nn.init.uniform_(p, -0.5, 0.5, generator=own)\n"
                "    return DistributedDataParallel(model, process_group=self.team.gradients, init_sync=False)"
            ),
        ),
        at("0.weight"),
        rows=ROWS,
    ),
    Fault(
        "same-data-on-every-rank",
        "every rank takes the first shard of the batch",
        "distributed",
        (
            Edit(
                "torch_ref.distributed",
                "ShardedLearner.shard",
                "[self.team.rank]",
                "[0]",
            ),
        ),
        at("input", "0"),
        rows=ROWS,
    ),
)
