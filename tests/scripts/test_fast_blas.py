"""--fast-blas: set before NumPy is loaded, only where it is safe, and always said."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
ALL = "fpu avx2 avx512f avx512dq avx512cd avx512bw avx512vl"


@pytest.fixture
def fast_blas() -> Any:
    return importlib.import_module("_fast_blas")


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before NumPy is loaded."""
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("cpuinfo", "library", "reason"),
    [
        (f"processor : 0\nflags\t\t: {ALL} sse\n", "scipy-openblas", ""),
        (f"flags : {ALL}\n", "openblas64", ""),
        (f"flags : {ALL}\n", "mkl", "NumPy's BLAS is mkl, expected OpenBLAS"),
        (f"flags : {ALL}\n", "", "NumPy's BLAS is unknown, expected OpenBLAS"),
        ("flags : fpu avx2\n", "scipy-openblas", "the processor has no AVX-512"),
        (f"flags : {ALL.replace('avx512vl', '')}\n", "scipy-openblas", "the processor has no AVX-512"),
        ("Features : asimd\n", "scipy-openblas", "does not say what the processor has"),
        (None, "scipy-openblas", "does not say what the processor has"),
    ],
)
def test_only_with_avx_512_and_openblas(
    fast_blas: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpuinfo: str | None, library: str, reason: str
) -> None:
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(fast_blas, "blas", lambda: library)
    found = fast_blas.why_not(tmp_path / "cpuinfo")
    assert reason in found
    assert bool(found) == bool(reason)


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("before", "said"), [(None, ""), ("SkylakeX", ""), ("Haswell", ", not Haswell")]
)
def test_the_option_outweighs_the_environment_and_says_so(
    fast_blas: Any, monkeypatch: pytest.MonkeyPatch, before: str | None, said: str
) -> None:
    monkeypatch.setattr(fast_blas, "why_not", lambda: "")
    if before:
        monkeypatch.setenv("OPENBLAS_CORETYPE", before)
    else:
        monkeypatch.setenv("OPENBLAS_CORETYPE", "")  # so that it is undone
        monkeypatch.delenv("OPENBLAS_CORETYPE")
    assert fast_blas.choose().endswith(f"(OPENBLAS_CORETYPE=SkylakeX{said})")
    assert os.environ["OPENBLAS_CORETYPE"] == "SkylakeX"


def test_too_late_is_said(fast_blas: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", importlib.import_module("numpy"))
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert fast_blas.choose() == "fast BLAS: not used, NumPy is loaded already"
    assert "OPENBLAS_CORETYPE" not in os.environ


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["digits", "--fast-blas"], True),
        (["--fast", "digits"], False),
        (["digits"], False),
        (["digits", "--fingerprint-steps", "3"], False),
        (["--f"], False),
        (["--", "--fast-blas"], False),
        ([], False),
    ],
)
def test_the_option_is_seen_before_arguments_are_parsed(fast_blas: Any, arguments: list[str], expected: bool) -> None:
    assert fast_blas.is_asked_for(arguments) is expected


def test_the_name_of_the_blas_is_the_one_that_numpy_reports(fast_blas: Any) -> None:
    import numpy as np

    assert fast_blas.blas() == np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]


def run(tmp_path: Path, *options: str) -> Any:
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    command = [sys.executable, str(SCRIPTS / "train.py"), "digits", "--backend", "scratch", "--hidden", "8", "--epochs"]
    command += ["1", "--out", str(tmp_path / "run"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True)


def test_a_run_says_what_it_uses_and_uses_it(tmp_path: Path, fast_blas: Any) -> None:
    done = run(tmp_path, "--fast-blas")
    applies = fast_blas.flags(Path("/proc/cpuinfo")) >= fast_blas.NEEDED and "openblas" in fast_blas.blas()
    first = done.stdout.splitlines()[0]
    assert first.startswith("fast BLAS: NumPy's OpenBLAS uses" if applies else "fast BLAS: not used, ")
    if applies:
        assert "architecture SkylakeX" in (tmp_path / "run" / "config.json").read_text()


def test_without_the_option_nothing_is_said(tmp_path: Path) -> None:
    assert "fast BLAS" not in run(tmp_path).stdout


def test_every_command_that_trains_or_checks_has_it(script: Callable[..., Any]) -> None:
    for name in ("train", "fashion_mnist", "check_parity"):
        assert "--fast-blas" in script(name, "--help").out
