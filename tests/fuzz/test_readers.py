"""Every reader on what hypothesis thinks of, on right files with pieces changed, and on all that was ever found.

The targets are those of `make fuzz`, which has more time; what it finds is in corpus/ and is tried here for ever.
"""

import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import _fuzz_targets  # noqa: E402
import fuzz  # noqa: E402

CORPUS = Path(__file__).parent / "corpus"
FOUND = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return _fuzz_targets.Workplace(tmp_path_factory.mktemp("fuzz"))


def test_every_reader_is_a_target() -> None:
    assert set(fuzz.NAMES) == set(_fuzz_targets.MADE)


@pytest.mark.parametrize("name", fuzz.NAMES)
def test_the_files_to_start_from_are_right(workplace: Any, name: str) -> None:
    target = _fuzz_targets.target(name)
    said = [workplace.check(target, seed) for seed in target.seeds]
    assert "read" in said
    assert said.count("read") >= len(said) - 1  # idx has a bomb among them


@pytest.mark.parametrize("name", fuzz.NAMES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_are_read_or_refused_in_one_line(workplace: Any, name: str, data: Any) -> None:
    target = _fuzz_targets.target(name)
    content = data.draw(st.one_of(st.binary(max_size=200), st.sampled_from(target.seeds)))
    for _ in range(data.draw(st.integers(0, 3))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(len(content), start + 8)))
        content = content[:start] + data.draw(st.binary(max_size=8)) + content[stop:]
    workplace.check(target, content)


@pytest.mark.parametrize("name", fuzz.NAMES)
def test_mutations_are_read_or_refused_in_one_line(workplace: Any, name: str) -> None:
    target, rng = _fuzz_targets.target(name), random.Random(7)
    for _ in range(100):
        workplace.check(target, fuzz.mutated(rng.choice(target.seeds), rng, target.seeds))


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_found_once_is_found_no_more(workplace: Any, path: Path) -> None:
    workplace.check(_fuzz_targets.target(path.parent.name), path.read_bytes())


# the judge itself, on readers that do what none may do


def raising(path: Path) -> None:
    raise KeyError("x")


def printing(path: Path) -> None:
    raise ValueError("two\nlines")


def writing(path: Path) -> None:
    (path.parent.parent / "elsewhere").write_bytes(b"")


def unpickling(path: Path) -> None:
    """The one thing in unpickling that the judge listens for, looking up a name; nothing is unpickled here."""
    import io
    import pickle

    pickle.Unpickler(io.BytesIO()).find_class("builtins", "len")


def allocating(path: Path) -> None:
    """200 MiB above all that this process has ever held, which is what the check can see."""
    import resource

    import numpy as np

    held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    np.ones(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held + (200 << 20), np.uint8)


def looping(path: Path) -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (raising, "KeyError"),
        (printing, "expected one line of text"),
        (writing, "opened .*elsewhere.* for writing"),
        (unpickling, "pickle.find_class"),
        (allocating, "bytes of memory"),
        (looping, "still at work"),
    ],
)
def test_a_reader_that_does_what_it_must_not_is_a_finding(
    workplace: Any, read: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if read is allocating:  # in a process that has held much, this takes more than a reader's second
        monkeypatch.setattr(_fuzz_targets, "SECONDS", 60)
    target = _fuzz_targets.Target("bad", read, ValueError, (), "file")
    with pytest.raises(_fuzz_targets.Finding, match=message):
        workplace.check(target, b"content")
