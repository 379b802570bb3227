"""Checkpoints: a resumed run ends in the same bits, a damaged file is found, and another run's is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scratch import SGD, Adagrad, AdamW, CrossEntropyLoss, Linear, NAdam, ReLU, RMSprop, Sequential
from scratch.checkpoint import Checkpoint, CheckpointError, CheckpointFolder, CheckpointWarning
from scratch.datasets import digits
from scratch.learner import ScratchLearner
from scratch.random_state import random_state, set_random_state
from scratch.training import Interrupted, Training, train
from scratch.training_options import EpochOptions

RNGS = {
    "PCG64": lambda: np.random.default_rng(0),
    "MT19937": lambda: np.random.Generator(np.random.MT19937(0)),
    "Philox": lambda: np.random.Generator(np.random.Philox(0)),
    "SFC64": lambda: np.random.Generator(np.random.SFC64(0)),
    "RandomState": lambda: np.random.RandomState(0),
}
OPTIMIZERS = {
    "adamw": AdamW,
    "sgd": SGD,
    "momentum": lambda net: SGD(net, 0.1, momentum=0.9),
    "adagrad": lambda net: Adagrad(net, 0.05, lr_decay=0.1, initial_accumulator_value=0.1),
    "nadam": lambda net: NAdam(net, 1e-3, momentum_decay=0.1),
    "rmsprop": lambda net: RMSprop(net, 1e-3, momentum=0.9, centered=True),
}
DIGITS = digits()
FEW = SimpleNamespace(
    x_train=DIGITS.x_train[:300], t_train=DIGITS.t_train[:300], x_val=DIGITS.x_val, t_val=DIGITS.t_val
)


def learner(optimizer: str = "adamw", hidden: int = 16, dtype: str = "float32") -> ScratchLearner:
    rng = np.random.default_rng(1)
    net = Sequential(Linear(64, hidden, rng=rng, dtype=dtype), ReLU(), Linear(hidden, 10, rng=rng, dtype=dtype))
    return ScratchLearner(net, CrossEntropyLoss(), OPTIMIZERS[optimizer](net))


def run(folder: Path | None, epochs: int, ours: ScratchLearner | None = None, **options: Any) -> tuple[Any, Any]:
    ours = ours or learner()
    given = {"rng": np.random.default_rng(0), "batch_size": 64, **options}
    history = train(ours, FEW, epochs=epochs, checkpoint_dir=folder, **given)
    return history.figures, {name: a.tobytes() for name, a in ours.state_dict().items()}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("rng", RNGS)
def test_a_resumed_run_ends_in_the_same_bits(tmp_path: Path, rng: str, optimizer: str) -> None:
    def part(folder: Path | None, epochs: int, **options: Any) -> Any:
        stream = RNGS[rng]()
        figures, state = run(folder, epochs, learner(optimizer), rng=stream, **options)
        return figures, state, stream.random()

    whole = part(None, 4)
    part(tmp_path, 2)
    assert part(tmp_path, 4, resume=True) == whole


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_checkpoint_within_an_epoch_has_all_that_is_needed(shuffle: bool) -> None:
    class Stop(Exception):
        pass

    def stop(batch: Any) -> None:
        if (batch.epoch, batch.batch) == (2, 3):
            raise Stop

    def training(on_batch: Any = None) -> Training:
        rng = np.random.default_rng(0)
        return Training(learner(), FEW, EpochOptions(batch_size=64, shuffle=shuffle), rng=rng, on_batch=on_batch)

    whole, first, second = training(), training(stop), training()
    for _ in range(3):
        whole.run_epoch()
    first.run_epoch()
    with pytest.raises(Stop):
        first.run_epoch()
    second.restore(first.checkpoint())
    assert (second.epoch, second.position.batch) == (1, 3)
    second.run_epoch()
    second.run_epoch()
    assert second.history.figures == whole.history.figures
    ours, theirs = second.learner.state_dict(), whole.learner.state_dict()
    assert all(a.tobytes() == theirs[name].tobytes() for name, a in ours.items())


def test_the_run_before_its_first_epoch_can_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 2, on_batch=interrupt)
    assert run(tmp_path, 2, resume=True) == run(None, 2)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("killed_at", "saved_at"), [((1, 4), 3), ((2, 2), 6), ((2, 5), 9), ((3, 1), 10)])
def test_a_run_killed_within_an_epoch_goes_on_from_its_last_steps(
    tmp_path: Path, optimizer: str, killed_at: tuple[int, int], saved_at: int
) -> None:
    """Five batches an epoch, saved every three steps and after each epoch; the kill itself saves nothing."""

    def kill(batch: Any) -> None:
        if (batch.epoch, batch.batch) == killed_at:
            raise KeyboardInterrupt

    options = {"checkpoint_steps": 3, "fingerprint_steps": 2}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 3, learner(optimizer), on_batch=kill, **options)
    checkpoint = CheckpointFolder(tmp_path).load(CheckpointFolder(tmp_path)._whole()[0].configuration)
    assert checkpoint.epoch * 5 + checkpoint.training["position"]["batch"] == saved_at
    assert run(tmp_path, 3, learner(optimizer), resume=True, **options) == run(None, 3, learner(optimizer), **options)


def test_an_interrupted_training_is_saved_at_that_step_and_its_fingerprints_go_on(tmp_path: Path) -> None:
    def interrupted(batch: Any) -> None:
        if (batch.epoch, batch.batch) == (2, 4):
            raise Interrupted

    def history(folder: Path | None, **options: Any) -> Any:
        ours = learner()
        rng = np.random.default_rng(0)
        found = train(
            ours, FEW, epochs=3, rng=rng, batch_size=64, fingerprint_steps=1, checkpoint_dir=folder, **options
        )
        return found.figures, found.fingerprints

    whole = history(None)
    with pytest.raises(Interrupted):
        history(tmp_path, on_batch=interrupted)
    assert Checkpoint.read(tmp_path / "checkpoint.safetensors").place == "epoch 1, batch 4"
    assert history(tmp_path, resume=True) == whole
    assert [each.step for each in whole[1]] == list(range(16))


def test_a_run_that_its_lab_has_stopped_stays_stopped(tmp_path: Path) -> None:
    stops = {"stop": lambda history: len(history) == 2}
    assert len(run(tmp_path, 9, **stops)[0]) == 2
    assert run(tmp_path, 9, resume=True, **stops) == run(None, 2)


def interrupt(_: Any) -> None:
    raise KeyboardInterrupt


def test_the_previous_checkpoint_is_kept(tmp_path: Path) -> None:
    run(tmp_path, 3)
    folder = CheckpointFolder(tmp_path)
    assert [Checkpoint.read(p).training["epoch"] for p in (folder.newest, folder.previous)] == [3, 2]
    assert {path.name for path in tmp_path.iterdir()} == {folder.newest.name, folder.previous.name}


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    """One bit of the last number."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def edited(path: Path) -> None:
    """The text says another epoch than the checksum knows."""
    content = path.read_bytes()
    assert content.count(b'\\"epoch\\": 3') == 1
    path.write_bytes(content.replace(b'\\"epoch\\": 3', b'\\"epoch\\": 2'))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "damaged"),
        (flipped, "its checksum does not match its content"),
        (edited, "its checksum does not match its content"),
        (emptied, "damaged"),
        (removed, "not found"),
    ],
)
def test_a_damaged_newest_falls_back_to_the_previous_one(tmp_path: Path, damage: Any, message: str) -> None:
    whole = run(None, 4)
    run(tmp_path, 3)
    damage(tmp_path / "checkpoint.safetensors")
    with pytest.warns(CheckpointWarning, match=f"{message}.*going on from checkpoint.previous.safetensors, epoch 2"):
        resumed = run(tmp_path, 4, resume=True)
    assert resumed == whole


def test_a_damaged_newest_never_takes_the_place_of_a_whole_previous(tmp_path: Path) -> None:
    run(tmp_path, 3)
    folder = CheckpointFolder(tmp_path)
    flipped(folder.newest)
    before = folder.previous.read_bytes()
    folder.save(Checkpoint.read(folder.previous))
    assert folder.previous.read_bytes() == before


def test_two_damaged_files_are_an_error(tmp_path: Path) -> None:
    run(tmp_path, 3)
    for path in tmp_path.iterdir():
        flipped(path)
    with pytest.raises(CheckpointError, match=r"checkpoint.previous.safetensors: damaged"):
        run(tmp_path, 4, resume=True)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, 2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path, 3, resume=True)
    assert all((tmp_path / name).read_bytes() == content for name, content in before.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ours": learner("sgd")}, r"a checkpoint of optimizer 'AdamW\(.*expected 'SGD"),
        ({"ours": learner(hidden=17)}, "a checkpoint of network 'Linear 64 -> 16, .* expected 'Linear 64 -> 17,"),
        ({"batch_size": 32}, "a checkpoint of batch_size 64, expected 32"),
        ({"shuffle": False}, "a checkpoint of shuffle True, expected False"),
        ({"rng": np.random.RandomState(0)}, r"a checkpoint of random_stream 'Generator\(PCG64\)', expected 'RandomS"),
        ({"configuration": {"lab": "xor"}}, "a checkpoint of lab 'digits', expected 'xor'"),
        ({"configuration": {}}, "a checkpoint of lab 'digits', expected None"),
        ({"epochs": 1}, "at epoch 2, expected at most 1"),
    ],
)
def test_another_runs_checkpoint_is_refused_and_left_alone(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    facts = {"configuration": {"lab": "digits"}}
    run(tmp_path, 2, **facts)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match=message):
        run(tmp_path, **{"epochs": 4, **facts, **change}, resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_dtype_is_refused(tmp_path: Path) -> None:
    run(tmp_path, 1)
    double = SimpleNamespace(**{k: v.astype("float64") if v.dtype.kind == "f" else v for k, v in vars(FEW).items()})
    with pytest.raises(CheckpointError, match="a checkpoint of dtype 'float32', expected 'float64'"):
        train(
            learner(dtype="float64"),
            double,
            epochs=2,
            rng=np.random.default_rng(0),
            batch_size=64,
            checkpoint_dir=tmp_path,
            resume=True,
        )


def test_a_new_run_never_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    run(tmp_path, 1)
    with pytest.raises(CheckpointError, match="found a checkpoint, expected none"):
        run(tmp_path, 1)


def test_nothing_to_resume_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"checkpoint.safetensors: not found"):
        run(tmp_path, 1, resume=True)


MADE = {
    "no history": lambda t: t.pop("history"),
    "history of texts": lambda t: t.update(history=[["1", "a", "b", "c", "d", "e"]]),
    "history of another length": lambda t: t.update(epoch=1),
    "epoch": lambda t: t.update(epoch="2"),
    "negative epoch": lambda t: t.update(epoch=-1),
    "position beyond the epoch": lambda t: t["position"].update(batch=6, rows=300),
    "position without rows": lambda t: t["position"].update(batch=2, rows=0),
    "position that is no number": lambda t: t["position"].update(loss="1"),
    "unknown position": lambda t: t["position"].update(bach=1),
    "position of nan": lambda t: t["position"].update(batch=1, rows=64, loss=float("nan")),
    "watched": lambda t: t.update(watched=[{"w": 1.0}]),
    "fingerprints": lambda t: t.update(fingerprints=[[1]]),
    "stream": lambda t: t.update(rng_at_epoch_start={"kind": "Generator(PCG64)", "state": {}}),
    "stream of texts": lambda t: t["rng_at_epoch_start"]["state"]["state"].update(state="x"),
    "stream of huge numbers": lambda t: t["rng_at_epoch_start"]["state"]["state"].update(state=2**200),
    "stream of huge texts": lambda t: t["rng_at_epoch_start"]["state"].update(
        state={"dtype": "U999999999", "values": ["x"]}
    ),
}


@pytest.mark.parametrize("made", MADE)
def test_a_made_up_checkpoint_with_a_right_checksum_is_refused(tmp_path: Path, made: str) -> None:
    run(tmp_path, 2)
    folder = CheckpointFolder(tmp_path)
    checkpoint = Checkpoint.read(folder.newest)
    MADE[made](checkpoint.training)
    checkpoint.write(folder.newest)
    with pytest.raises(CheckpointError, match=r"a checkpoint (that cannot be resumed \(|of epoch )") as caught:
        run(tmp_path, 3, resume=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "key", "value"), [("MT19937", "pos", 625), ("MT19937", "pos", -1)])
def test_a_stream_is_not_sent_beyond_its_own_numbers(name: str, key: str, value: int) -> None:
    """NumPy would read what lies behind them."""
    rng = RNGS[name]()
    saved = random_state(rng)
    saved["state"]["state"][key] = value
    with pytest.raises(ValueError, match=f"the random stream is at {key} {value}, expected 0 to 624"):
        set_random_state(rng, saved)


def test_a_checkpoint_of_another_version_is_refused_and_the_one_before_is_not_used(tmp_path: Path) -> None:
    run(tmp_path, 2)
    newest = tmp_path / "checkpoint.safetensors"
    newest.write_bytes(newest.read_bytes().replace(b"parity checkpoint 2", b"parity checkpoint 9"))
    with pytest.raises(CheckpointError, match="found format 'backprop-parity checkpoint 9', expected 'backprop-parity"):
        run(tmp_path, 3, resume=True)


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.ones(3)}, tmp_path / "checkpoint.safetensors")
    with pytest.raises(CheckpointError, match="found format None, expected 'backprop-parity checkpoint 2'"):
        CheckpointFolder(tmp_path).load({})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("2.bias"), r"2.bias: not in the state, expected float32 \(10,\)"),
        (lambda s: s.update(extra=np.ones(1)), "extra: found in the state, expected only 0.weight"),
        (lambda s: s.update({"2.bias": np.ones(10)}), r"2.bias: found float64 \(10,\), expected float32 \(10,\)"),
        (lambda s: s.update({"2.bias": np.ones((1, 10), "f4")}), r"2.bias: found float32 \(1, 10\)"),
        (lambda s: s.pop("0.weight.exp_avg"), "0.weight.exp_avg: not in the state"),
        (lambda s: s.pop("step"), "0.weight.exp_avg: found in the state|step: not in the state"),
    ],
)
def test_a_state_that_does_not_fit_is_named_and_nothing_is_loaded(change: Any, message: str) -> None:
    trained, fresh = learner(), learner()
    run(None, 1, trained)
    state, before = trained.state_dict(), fresh.state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        fresh.load_state_dict(state)
    assert all(a.tobytes() == before[name].tobytes() for name, a in fresh.state_dict().items())


@pytest.mark.parametrize("name", RNGS)
def test_a_stream_goes_on_where_it_was_saved(name: str) -> None:
    import json

    rng, other = RNGS[name](), RNGS[name]()
    rng.standard_normal(7)
    saved = json.loads(json.dumps(random_state(rng)))
    set_random_state(other, saved)
    assert other.standard_normal(9).tobytes() == rng.standard_normal(9).tobytes()


def test_a_stream_of_another_kind_is_refused() -> None:
    saved = random_state(np.random.RandomState(0))
    with pytest.raises(ValueError, match=r"the random stream is a RandomState, expected Generator\(PCG64\)"):
        set_random_state(np.random.default_rng(0), saved)
