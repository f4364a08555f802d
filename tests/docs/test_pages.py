"""What the pages say is tried out: every block of code runs, prints what stands below it, and links lead somewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, Page, read_page, unmarked
from tests.docs.scripts import expected_output, run_script
from tests.servers.providers import ProviderServer
from tests.warm.python import warm_python

PAGES = [
    read_page(str(path.relative_to(ROOT)))
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
]
GUIDE = "docs/guide.md"
"""Runs against servers, in a file of its own."""

SCRIPTS = [
    pytest.param(page, block, id=block.place)
    for page in PAGES
    if page.path != GUIDE
    for block in page.of_kind("example")
]


@pytest.fixture(scope="module")
def providers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that leads to a server which every model finds."""
    with ProviderServer() as running, warm_python(os.environ):
        yield running.env(tmp_path_factory.mktemp("keys"))


@pytest.mark.parametrize(("page", "block"), SCRIPTS)
def test_a_block_runs_and_prints_what_the_page_says(
    page: Page, block: Block, tmp_path: Path, providers: dict[str, str]
) -> None:
    ran = run_script(page.script(block), tmp_path, providers)

    assert ran.code == 0, ran.text
    expected = expected_output(page, block)
    if expected is not None:
        assert ran.out.endswith(expected), ran.text


@pytest.mark.parametrize("page", [pytest.param(page, id=page.path) for page in PAGES])
def test_every_block_that_a_reader_would_run_is_run(page: Page) -> None:
    assert [block.place for block in unmarked(page)] == []


@pytest.mark.parametrize("page", [pytest.param(page, id=page.path) for page in PAGES])
def test_every_link_between_pages_leads_to_a_file_and_a_heading(page: Page) -> None:
    text = (ROOT / page.path).read_text()

    broken = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not _leads_somewhere(page.path, target)]

    assert broken == []


def _leads_somewhere(page: str, target: str) -> bool:
    if "://" in target or target.startswith("mailto:"):
        return True
    name, _, anchor = target.partition("#")
    path = (ROOT / page).parent / name if name else ROOT / page
    if not path.exists():
        return False
    return not anchor or anchor in _anchors(path.read_text())


def _anchors(text: str) -> set[str]:
    """The anchors that a renderer gives to headings: lower case, without punctuation, dashes for spaces."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
