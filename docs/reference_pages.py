"""The reference pages: public names of a module, with their signatures, fields and docstrings.

Sources are read, not run, because a docstring under a field is only there.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from abc import ABC
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

SECTIONS = {
    "pipeline": ("Pipelines", ("distilmq.pipeline",)),
    "steps": ("Steps", ("distilmq.steps",)),
    "tasks": ("Tasks", ("distilmq.steps.tasks",)),
    "models": ("Models", ("distilmq.models",)),
    "distiset": ("The result", ("distilmq.distiset",)),
    "mixins": ("Runtime parameters", ("distilmq.mixins.runtime_parameters",)),
    "errors": ("Errors", ("distilmq.errors",)),
    "testing": ("Testing your pipelines", ("distilmq.testing",)),
}

_COLUMNS = ("inputs", "outputs")
"""Properties that each step's own text tells of."""
_EXAMPLE = re.compile(r"^```python$", re.M)
_RUN_BY = "<!-- elsewhere: tests/docs/test_docstrings.py runs the examples of docstrings -->"

_ENVIRONMENT = "from the environment"
_WITHOUT_ENTRIES = ("distilmq.models.llms.api_llm", "distilmq.models.llms.structured_llm")
"""Modules whose classes users do not meet: their fields are told with the classes that build on them."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a class, as its source has it."""

    name: str
    annotation: str
    default: str
    doc: str


def reference_pages() -> dict[str, str]:
    """File name to text of every page."""
    pages = {f"{name}.md": _page(title, modules) for name, (title, modules) in SECTIONS.items()}
    lines = [f"- [{title}]({name}.md)" for name, (title, _) in SECTIONS.items()]
    pages["index.md"] = "# Reference\n\nWritten from the docstrings by `make docs`.\n\n" + "\n".join(lines) + "\n"
    return pages


def _page(title: str, modules: tuple[str, ...]) -> str:
    parts = [f"# {title}", "Written from the docstrings by `make docs`."]
    for name in modules:
        public = _public(importlib.import_module(name))
        shown = [value for _, value in public]
        parts += [f"## `{name}`", *(_entry(name, value, shown) for name, value in public)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _public(module: ModuleType) -> list[tuple[str, object]]:
    """What a module offers: its `__all__`, else what it defines itself; aliases come once."""
    names = getattr(module, "__all__", None) or [
        name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
    ]
    pairs = [(name, getattr(module, name)) for name in sorted(names) if not name.startswith("_")]
    return [(name, value) for name, value in pairs if getattr(value, "__name__", name) == name]


def _entry(name: str, value: object, shown: list[object]) -> str:
    if inspect.isclass(value):
        return _class_entry(name, value, shown)
    if inspect.isroutine(value):
        return f"### `{name}{_signature(value)}`\n\n{_doc(value)}"
    return f"### `{name}`"


def _class_entry(name: str, cls: type, shown: list[object]) -> str:
    hidden = list(_hidden_bases(cls, shown))
    bases = ", ".join(dict.fromkeys(_bases(cls, hidden)))
    parts = [f"### `{name}({bases})`" if bases else f"### `{name}`", _doc(cls)]
    source = _class_source(cls)
    fields = {field.name: field for each in (*reversed(hidden), cls) for field in _fields(_class_source(each))}.values()
    if fields:
        parts.append("| field | type | default | |\n|---|---|---|---|\n" + "\n".join(map(_field_line, fields)))
    for method in source.body if source else ():
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and not method.name.startswith("_"):
            doc = ast.get_docstring(method)
            if doc and method.name not in _COLUMNS:
                arguments = "" if _is_property(method) else f"({_arguments(method)})"
                parts.append(f"#### `{name}.{method.name}{arguments}`\n\n{_as_text(doc)}")
    return "\n\n".join(part for part in parts if part)


def _hidden_bases(cls: type, shown: list[object]) -> Iterator[type]:
    """Bases of a class whose fields are told with it."""
    for base in cls.__mro__[1:]:
        if base in shown:
            return
        if base.__module__ in _WITHOUT_ENTRIES:
            yield base


def _bases(cls: type, hidden: list[type]) -> Iterator[str]:
    for base in cls.__bases__:
        if base in hidden:
            yield from _bases(base, hidden)
        elif base is not object and not (cls in hidden and base is ABC):
            yield base.__name__


def _class_source(cls: type) -> ast.ClassDef | None:
    try:
        source = inspect.getsource(inspect.getmodule(cls) or cls)
    except (OSError, TypeError):
        return None
    found = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef) and node.name == cls.__name__
    )
    return next(found, None)


def _fields(source: ast.ClassDef | None) -> list[Field]:
    body = source.body if source else []
    fields: list[Field] = []
    for place, node in enumerate(body):
        if (
            not isinstance(node, ast.AnnAssign)
            or not isinstance(node.target, ast.Name)
            or node.target.id.startswith("_")
        ):
            continue
        annotation = ast.unparse(node.annotation)
        if annotation.startswith("ClassVar"):
            continue
        below = body[place + 1] if place + 1 < len(body) else None
        doc = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
        default = ast.unparse(node.value) if node.value is not None else ""
        fields.append(Field(node.target.id, annotation, _default(default), " ".join(str(doc).split())))
    return fields


def _default(text: str) -> str:
    """The default inside a `Field(...)` call, or the text itself."""
    if text.startswith(("key_field(", "address_field(")):
        return _ENVIRONMENT
    if not text.startswith("Field("):
        return text
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call)
    given = {word.arg: ast.unparse(word.value) for word in call.keywords}
    return given.get("default", given.get("default_factory", ast.unparse(call.args[0]) if call.args else ""))


def _field_line(field: Field) -> str:
    default = f"`{field.default}`" if field.default not in ("", _ENVIRONMENT) else field.default
    cells = (f"`{field.name}`", f"`{field.annotation}`", default, field.doc)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _arguments(method: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    text = ast.unparse(method.args)
    return text.removeprefix("self, ").removeprefix("self").removeprefix("cls, ").removeprefix("cls")


def _is_property(method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in method.decorator_list)


def _signature(value: object) -> str:
    try:
        return str(inspect.signature(value, eval_str=False))  # type: ignore[arg-type]  # a routine
    except (TypeError, ValueError):
        return "(…)"


def _doc(value: object) -> str:
    doc = getattr(value, "__doc__", None) or ""
    return _as_text(inspect.cleandoc(doc))


def _as_text(doc: str) -> str:
    """A Google style docstring: prose as it is, lists of names as text, examples as code."""
    parts: list[str] = []
    for head, body in _sections(inspect.cleandoc(doc)):
        if not head:
            parts.append(body)
        elif head in ("Example", "Examples"):
            parts.append(_EXAMPLE.sub(rf"{_RUN_BY}\n\g<0>", body))
        else:
            parts.append(f"```text\n{head}:\n{textwrap.indent(body, '    ')}\n```")
    return "\n\n".join(part.strip("\n") for part in parts)


def _sections(doc: str) -> Iterator[tuple[str, str]]:
    """Heads and dedented bodies; prose has no head."""
    blocks = re.split(r"^(?=[A-Z][A-Za-z ]*:$)", doc, flags=re.M)
    for block in blocks:
        head, _, body = block.partition("\n")
        if not re.fullmatch(r"[A-Z][A-Za-z ]*:", head) or not body.startswith("    "):
            yield "", block
            continue
        inside = re.match(r"(?:(?:    .*)?\n)*(?:    .*)?", body)
        assert inside is not None
        yield head[:-1], textwrap.dedent(inside[0]).strip("\n")
        if rest := body[inside.end() :].strip("\n"):
            yield "", rest
