"""What every test gets: its own cache folder, no network, no keys, and a check that it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
from zmq.utils.garbage import gc as zmq_garbage

# A deadline of hypothesis would fail a test for being slow on a machine that is busy.
hypothesis.settings.register_profile("distilmq", deadline=None)
hypothesis.settings.load_profile("distilmq")

# Before anything imports huggingface_hub, which reads its environment once.
_HF_HOME = tempfile.mkdtemp(prefix="distilmq-tests-hf-")
os.environ.update(
    HF_HOME=_HF_HOME,
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    DO_NOT_TRACK="1",
)
for _secret in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "MISTRAL_API_KEY", "HF_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS"):
    os.environ.pop(_secret, None)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the tests in the background has them ignore Ctrl+C, and every process they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # `nohup` does the same with the end of the terminal.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

from tests.leaks import leaks_since, take_snapshot  # noqa: E402  # the environment comes first

pytest_plugins = ["pytester"]


def pytest_configure(config: pytest.Config) -> None:
    """Names the marker by which a test says that it may leave something behind."""
    config.addinivalue_line("markers", "may_leak(reason): the test may leave threads, files or processes behind")
    # pyzmq starts the thread that watches frames sent without copying with the first of them, and keeps it: whichever
    # test that is would be taken for its owner.
    zmq_garbage.start()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What asks for more time than the rest begins first, so that the run does not end with one long test."""

    def seconds(item: pytest.Item) -> float:
        asked = item.get_closest_marker("timeout")
        return asked.args[0] if asked else 0.0

    items.sort(key=seconds, reverse=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fails what is skipped where nothing may be."""
    report = yield
    if report.skipped and "DISTILMQ_SKIP_NOTHING" in os.environ:
        report.outcome, report.longrepr = "failed", f"skipped where no test may be: {report.longrepr}"
    return report


def pytest_unconfigure() -> None:
    """Removes the caches of this session."""
    import shutil

    shutil.rmtree(_HF_HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def own_cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty pipeline cache of the test's own, for it and for the processes it starts."""
    path = tmp_path / "distilmq-cache"
    monkeypatch.setenv("DISTILMQ_CACHE_DIR", str(path))
    return path


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest, own_cache_dir: Path) -> Iterator[None]:
    """Fails a test after which a thread, an open file or a child process is left."""
    before = take_snapshot()
    yield
    if request.node.get_closest_marker("may_leak"):
        return
    left = leaks_since(before)
    if left:
        pytest.fail("left behind by this test:\n  " + "\n  ".join(left), pytrace=False)
