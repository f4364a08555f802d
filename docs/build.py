"""Writes the pages that are made from code and from recorded results; with `--check`, says which are out of date."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from docs import provider_tables  # noqa: E402  # the path comes first
from docs.reference_pages import reference_pages  # noqa: E402  # the path comes first

from distilmq.utils import not_yet  # noqa: E402  # the path comes first
from tests.benchmarks import report  # noqa: E402  # the path comes first

_WINDOWS = (
    *("distilmq.pipeline", "distilmq.steps", "distilmq.steps.tasks", "distilmq.models"),
    *("distilmq.distiset", "distilmq.mixins", "distilmq.utils"),
)


def pages() -> dict[Path, str]:
    """Every page that is written by this script, with its text."""
    return {
        DOCS / "benchmarks.md": report.render(report.load_results()),
        DOCS / "how-to" / "choosing-a-provider.md": _with_providers(DOCS / "how-to" / "choosing-a-provider.md"),
        DOCS / "migrating-from-distilabel.md": _filled(
            (DOCS / "migrating-from-distilabel.md").read_text(), "not yet", _not_yet()
        ),
        ROOT / "README.md": _filled(
            (ROOT / "README.md").read_text(), "figures", report.comparison(report.load_results())
        ),
        **{DOCS / "reference" / name: text for name, text in reference_pages().items()},
    }


def outdated() -> list[Path]:
    """The pages whose text is not what this script would write."""
    return [path for path, text in pages().items() if not path.exists() or path.read_text() != text]


def _filled(text: str, name: str, content: str) -> str:
    """The page with new content between `<!-- made from code: NAME -->` and the next `<!-- end -->`."""
    before, begin, rest = text.partition(f"<!-- made from code: {name} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    return f"{before}{begin}{content}\n{end}{after}"


def _with_providers(path: Path) -> str:
    text = _filled(path.read_text(), "providers", provider_tables.ways())
    text = _filled(text, "abilities", provider_tables.abilities())
    return _filled(text, "engines", provider_tables.engines())


def _not_yet() -> str:
    """The names and modules that are not built yet, by the package that users import them from."""
    lines: list[str] = []
    for package in _WINDOWS:
        names = ", ".join(f"`{name}`" for name in missing_names(package))
        modules = ", ".join(f"`{name}`" for name in missing_modules(package))
        parts = [names] if names else []
        lines.append(f"- `{package}`: " + "; ".join([*parts, *([f"modules {modules}"] if modules else [])]))
    return "\n".join(lines)


def missing_names(package: str) -> list[str]:
    """Names that a package says are not in distilmq yet (see `distilmq.utils.not_yet.window`)."""
    look_up = importlib.import_module(package).__getattr__
    return sorted(inspect.getclosurevars(look_up).nonlocals["missing"])


def missing_modules(package: str) -> list[str]:
    """Modules that a package says are not in distilmq yet."""
    importlib.import_module(package)
    return sorted(name.removeprefix(f"{package}.") for name in not_yet.missing_modules() if _is_in(name, package))


def _is_in(module: str, package: str) -> bool:
    return module.startswith(f"{package}.") and "." not in module.removeprefix(f"{package}.")


def main() -> None:
    """Writes the pages, or checks them."""
    late = outdated()
    if "--check" in sys.argv:
        for path in late:
            print(f"{path.relative_to(ROOT)} is out of date: run `make docs`")
        raise SystemExit(bool(late))
    texts = pages()
    for path in late:
        path.parent.mkdir(exist_ok=True)
        path.write_text(texts[path])
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
