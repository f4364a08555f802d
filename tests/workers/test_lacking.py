"""What a step raises says that a package is missing here, or it is about the row."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from distilmq.errors import RequestsFailedError, RowsFailedError
from distilmq.utils.carried_modules import unpacked
from distilmq.utils.imported_code import SourceModule
from distilmq_workers.lacking import lacking

NOBODY_HAS = "a_package_that_nobody_has"


def raised(code: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # of every kind
        code()
    return caught.value


def imports(module: str) -> Callable[[], object]:
    return lambda: __import__(module)


def test_a_package_that_is_not_found_is_missing() -> None:
    error = raised(imports(f"{NOBODY_HAS}.inner"))

    assert lacking(error) is error


def wrapped() -> None:
    try:
        __import__(NOBODY_HAS)
    except ImportError as error:
        raise RuntimeError("no scores without it") from error


def explained() -> None:
    try:
        __import__(NOBODY_HAS)
    except ImportError:
        raise ImportError("install it with `pip install it`")  # noqa: B904  # as many libraries do


async def in_a_group() -> None:
    async def score() -> None:
        __import__(NOBODY_HAS)

    async with asyncio.TaskGroup() as group:
        group.create_task(score())


def several_rows() -> None:
    raise RowsFailedError({0: ValueError("no"), 3: raised(wrapped)}, rows=4)  # type: ignore[dict-item]  # it is one


def several_requests() -> None:
    raise RequestsFailedError({1: raised(imports(NOBODY_HAS))}, inputs=2)  # type: ignore[dict-item]  # it is one


@pytest.mark.parametrize(
    "code", [wrapped, lambda: asyncio.run(in_a_group()), several_rows, several_requests], ids=lambda code: code.__name__
)
def test_it_is_found_behind_what_else_is_raised(code: Callable[[], object]) -> None:
    found = lacking(raised(code))

    assert isinstance(found, ModuleNotFoundError)
    assert found.name == NOBODY_HAS


def test_the_error_that_says_what_to_install_is_the_one_that_is_told() -> None:
    assert str(lacking(raised(explained))) == "install it with `pip install it`"


@pytest.mark.parametrize(
    ("file", "lacks"), [("<string>", False), ("<answer 3>", False), ("<stdin>", True), ("/home/me/steps.py", True)]
)
def test_code_that_a_model_wrote_may_import_what_nobody_has(file: str, *, lacks: bool) -> None:
    code = compile(f"def run():\n    import {NOBODY_HAS}\nrun()", file, "exec")

    assert (lacking(raised(lambda: exec(code, {}))) is not None) == lacks


def does_without_it() -> None:
    try:
        __import__(NOBODY_HAS)
    except ImportError:
        raise ValueError("the row is wrong")  # noqa: B904  # what does the work without the package raises here


def hides_it() -> None:
    try:
        __import__(NOBODY_HAS)
    except ImportError:
        raise ImportError("something else") from None


def in_a_circle() -> None:
    first, second = ValueError("first"), ImportError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def says_so_itself() -> None:
    raise ModuleNotFoundError("no json today", name="json")


def names_none() -> None:
    raise ModuleNotFoundError("no module for this row")


def a_name_that_is_not_there() -> None:
    from json import nothing_of_that_name  # type: ignore[attr-defined]  # noqa: F401


@pytest.mark.parametrize(
    "code",
    [
        imports("json.no_module_of_that_name"),
        imports("distilmq.no_module_of_that_name"),
        does_without_it,
        hides_it,
        in_a_circle,
        says_so_itself,
        names_none,
        a_name_that_is_not_there,
    ],
)
def test_other_errors_are_about_the_row(code: Callable[[], object]) -> None:
    assert lacking(raised(code)) is None


def test_what_the_script_and_its_tests_put_into_the_list_of_modules_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "by_hand", ModuleType("by_hand"))
    sys.modules["by_hand"].__spec__ = None

    assert lacking(raised(imports("by_hand.inner"))) is None


@pytest.fixture
def carried() -> Iterator[None]:
    """Modules of the user's that came with the plan."""
    finders = list(sys.meta_path)
    mine = SourceModule("came_along", "", "", is_package=True)
    wrong = SourceModule("came_along.wrong", "", "from .nothing import x", is_package=False)
    empty = b"\x80\x04N."
    unpacked(empty, [(each.name, each.file, each.source, each.is_package) for each in (mine, wrong)])
    yield
    sys.meta_path[:] = finders
    for name in ("came_along", "came_along.wrong"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("carried")
@pytest.mark.parametrize("module", ["came_along.nothing", "came_along.wrong"])
def test_a_wrong_import_of_a_module_that_came_with_the_plan_is_the_users_to_mend(module: str) -> None:
    assert lacking(raised(imports(module))) is None
