"""The code blocks of a page, and the scripts that they make.

A block that runs has a comment above it that the reader of the rendered page does not see:

    <!-- example -->                                       the block is a script
    <!-- example: routed -->                               … that others can go on from
    <!-- example, after: routed -->                        … that goes on from another: both make one script
    <!-- example, after: routed, fails: missing-input -->  … that ends with the message of that name
    <!-- example, rows: 3 -->                              facts a test of the page may ask for
    <!-- message: missing-input -->                        the last words of a script that fails
    <!-- output: counts -->                                what the script of that name prints
    <!-- commands, after: saved -->                        lines that begin with `$`, run by a shell
    <!-- elsewhere: why -->                                not run here, and why
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(
    r"(?:^<!-- (?P<directive>[^\n]*?) -->\n)?^```(?P<language>[a-z]*)[^\n]*\n(?P<code>.*?)^```$", re.M | re.S
)
_RUNNING = {"python", "console", "bash", "sh"}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page and what its comment says of it."""

    page: str
    line: int
    language: str
    code: str
    kind: str = ""
    name: str = ""
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Where it stands, as editors read it."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the docs."""

    path: str
    blocks: tuple[Block, ...]

    def named(self, kind: str, name: str) -> Block:
        """The block of that kind and name."""
        return next(block for block in self.blocks if (block.kind, block.name) == (kind, name))

    def script(self, block: Block) -> str:
        """The block as a script, with the blocks that it goes on from in front."""
        if "after" not in block.facts:
            return block.code
        before = self.named("example", block.facts["after"])
        return f"{self.script(before)}\n\n{block.code}"

    def of_kind(self, kind: str) -> list[Block]:
        """All blocks of one kind, in order."""
        return [block for block in self.blocks if block.kind == kind]


def read_page(path: str) -> Page:
    """The page at a path from the root of the repository."""
    text = (ROOT / path).read_text()
    return Page(path, tuple(_block(path, text, found) for found in _FENCE.finditer(text)))


def unmarked(page: Page) -> list[Block]:
    """Blocks that a reader would run and no test does."""
    return [block for block in page.blocks if block.language in _RUNNING and not block.kind]


def _block(path: str, text: str, found: re.Match[str]) -> Block:
    words = [part.strip() for part in (found["directive"] or "").split(", ")]
    kind, _, name = words[0].partition(": ")
    facts = dict(word.partition(": ")[::2] for word in words[1:])
    line = text.count("\n", 0, found.start("language")) + 1
    return Block(path, line, found["language"], found["code"], kind, name, facts)
