"""fingerprints.csv: read back as it was written; what is no such file is refused in one line, without waiting."""

import os
from pathlib import Path

import pytest

from scratch.fingerprint import Fingerprint, FingerprintError, read_fingerprints, write_fingerprints

HEADER = "backend,step,epoch,fingerprint\n"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    found = [Fingerprint(0, 0, "0123456789abcdef"), Fingerprint(12, 1, "fedcba9876543210")]
    write_fingerprints(tmp_path / "f.csv", {"torch": found})
    assert read_fingerprints(tmp_path / "f.csv") == {"torch": {each.step: each for each in found}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\x1b[2J" + "," * 999, r"found 'a\\x1b\[2J,+\.\.\.' in line 1, expected 'backend,step,epoch,fingerprint'$"),
        (HEADER + "torch,1,1,ab\n", "line 2: found 4 cells, expected a backend, two numbers, a hash$"),
        (HEADER + "torch,\x1b[2J,1,0123456789abcdef\n", r"invalid literal for int\(\) .*: '\\x1b\[2J'$"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "f.csv").write_text(content)
    with pytest.raises(FingerprintError, match=message) as caught:
        read_fingerprints(tmp_path / "f.csv")
    assert str(caught.value).isprintable()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
def test_a_pipe_and_a_device_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for name in ("pipe.csv", "zero.csv"):
        with pytest.raises(FingerprintError, match=rf"{name}: cannot be read \(not a regular file\)$"):
            read_fingerprints(tmp_path / name)
