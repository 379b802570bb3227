"""What every test run shares: where the real data is, one thread a worker, and property tests that repeat."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Read when NumPy and torch are loaded, which is later, and inherited by the scripts that tests start.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# The same examples in every run, so that a red one can be repeated; `make many` has ten times as many.
settings.register_profile("few", derandomize=True, deadline=None, max_examples=50)
settings.register_profile("many", settings.get_profile("few"), max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "few"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The torchvision root with the real data sets."""
    folder = os.environ.get("BACKPROP_DATA_DIR")
    if not folder:
        pytest.skip("BACKPROP_DATA_DIR is not set: needs real data")
    if not Path(folder).is_dir():
        pytest.fail(f"BACKPROP_DATA_DIR is not a folder: {folder}")
    return Path(folder).resolve()


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def skipped_for_want_of_data(config: pytest.Config) -> list[str]:
    """The tests that did without data although BACKPROP_REQUIRE_DATA=1 says that it is there."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("BACKPROP_REQUIRE_DATA") != "1" or terminal is None:  # an xdist worker has no terminal
        return []
    skipped = terminal.stats.get("skipped", [])
    return [report.nodeid for report in skipped if "BACKPROP_DATA_DIR" in str(report.longrepr)]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and skipped_for_want_of_data(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if skipped := skipped_for_want_of_data(config):
        terminalreporter.section("real data is required (BACKPROP_REQUIRE_DATA=1)", red=True)
        for test in skipped:
            terminalreporter.line(f"FAILED {test} - skipped for want of data")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes by their length: gzip puts the time into them, and each worker must find the same names."""
    return f"{len(val)}-bytes" if isinstance(val, bytes) else None
