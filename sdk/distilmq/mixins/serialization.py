"""Dumping models with the class they are of, and building them again.

A dump is plain data: every field that has been given a value or has a default, `type_info` for the class, and
nothing secret. Loading imports classes by `type_info`; only those of distilmq (and distilabel's names for
them) unless the caller trusts the source, since importing a module runs it.
"""

from __future__ import annotations

import importlib
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, ClassVar, Self, cast
from uuid import UUID

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from distilmq.errors import DistilmqUserError
from distilmq.mixins.secrets import without_secrets
from distilmq.utils.files import Format, fetch, holds_plain_rows, read, save, suggested_path

TYPE_INFO_KEY = "type_info"

_MANY = 100
"""Longer lists of rows are looked at as a whole first."""


class Serializable(BaseModel):
    """A model that can be dumped and loaded; pickling leaves its secrets out as well."""

    dump_excluded: ClassVar[frozenset[str]] = frozenset()
    """Fields that are part of no dump; those of the bases are added."""
    load_ignored: ClassVar[frozenset[str]] = frozenset()
    """Fields that distilabel's class of that name dumps and this one has no use for; the bases' are added."""

    def dump(self, **options: Any) -> dict[str, Any]:
        """The model as plain data, without secrets."""
        return dump_model(self)

    def save(self, path: str | Path | None = None, format: Format = "json", dump: dict[str, Any] | None = None) -> None:
        """Writes the dump (or the one given) as JSON or YAML; a folder gets a file named `distilmq-file`."""
        save(dump if dump is not None else self.dump(), suggested_path(path, format), format)

    @classmethod
    def from_dict(cls, _dict: Mapping[str, Any], trust_remote_code: bool = False) -> Self:
        """Builds the model that was dumped.

        Args:
            _dict: what `dump` gave.
            trust_remote_code: import classes that are not distilmq's, too.

        Raises:
            DistilmqUserError: the dump names a class that is not trusted, does not exist or is no `cls`.
        """
        loaded = load_model(dict(_dict), trust_remote_code=trust_remote_code, known=cls)
        if not isinstance(loaded, cls):
            raise DistilmqUserError(f"this is the dump of a '{type(loaded).__name__}', not of a '{cls.__name__}'")
        return loaded

    @classmethod
    def from_json(cls, path: str | Path, trust_remote_code: bool = False) -> Self:
        """Builds the model that was saved as JSON."""
        return cls.from_dict(read(path, "json"), trust_remote_code=trust_remote_code)

    @classmethod
    def from_yaml(cls, path: str | Path, trust_remote_code: bool = False) -> Self:
        """Builds the model that was saved as YAML."""
        return cls.from_dict(read(path, "yaml"), trust_remote_code=trust_remote_code)

    @classmethod
    def from_file(cls, path: str | Path, trust_remote_code: bool = False) -> Self:
        """Builds the model that was saved; the suffix of the file says how."""
        return cls.from_dict(read(path), trust_remote_code=trust_remote_code)

    @classmethod
    def from_url(cls, url: str, trust_remote_code: bool = False) -> Self:
        """Builds the model that was saved under a URL (the suffix of its path says how)."""
        return cls.from_dict(fetch(url), trust_remote_code=trust_remote_code)

    def __getstate__(self) -> dict[Any, Any]:
        """What pickling keeps: everything but secrets, which travel apart (see `mixins.secrets`)."""
        state = dict(super().__getstate__())
        state["__dict__"] = without_secrets(state["__dict__"])
        return state


def dump_model(model: BaseModel) -> dict[str, Any]:
    """The fields of a model as plain data, with `type_info`.

    Raises:
        DistilmqUserError: a field holds what plain data cannot say.
    """
    excluded = _gathered(type(model), "dump_excluded")
    dumped = {
        name: dump_value(value, f"{type(model).__name__}.{name}")
        for name, field in type(model).model_fields.items()
        if name not in excluded
        and not field.exclude
        and not isinstance(value := getattr(model, name), (SecretStr, SecretBytes))
        and not (value is None and _is_secret(field))
    }
    dumped[TYPE_INFO_KEY] = type_info(type(model))
    return dumped


def dump_value(value: Any, path: str = "The value") -> Any:
    """A value of a field as plain data: what JSON and YAML can hold.

    Args:
        value: the value.
        path: what it is called in an error.

    Raises:
        DistilmqUserError: plain data cannot say it.
    """
    if isinstance(value, Serializable):
        return value.dump()
    if isinstance(value, BaseModel):
        return dump_model(value)
    if isinstance(value, (SecretStr, SecretBytes)):
        return None
    if isinstance(value, Enum):
        return dump_value(value.value, path)
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {_key(key, path): dump_value(item, f"{path}[{key!r}]") for key, item in items}
    if isinstance(value, list) and len(cast("list[Any]", value)) > _MANY and holds_plain_rows(cast("list[Any]", value)):
        return list(cast("list[Any]", value))
    if isinstance(value, (list, tuple)):
        return [dump_value(item, f"{path}[{index}]") for index, item in enumerate(cast("Sequence[Any]", value))]
    if isinstance(value, (set, frozenset)):
        return sorted((dump_value(item, path) for item in cast("set[Any]", value)), key=repr)
    if isinstance(value, type):
        return _dump_class(cast("type[Any]", value))
    if callable(value) and hasattr(value, "__qualname__"):
        return {TYPE_INFO_KEY: type_info(value)}
    return _dump_scalar(value, path)


def load_model(
    dumped: Mapping[str, Any], *, trust_remote_code: bool = False, known: type[Any] | None = None
) -> BaseModel:
    """Builds the model that `dump_model` dumped.

    Args:
        dumped: the dump.
        trust_remote_code: import classes that are not distilmq's, too.
        known: a class that the caller has: it needs no import, and is taken when the dump names none.
    """
    info = dumped.get(TYPE_INFO_KEY)
    model = known if info is None or _is_of(known, info) else load_class(info, trust_remote_code=trust_remote_code)
    if model is None or not issubclass(model, BaseModel):
        raise DistilmqUserError(f"the dump names no model: {info!r}")
    fields = model.model_fields
    ignored = {TYPE_INFO_KEY, "runtime_parameters_info", *_gathered(model, "load_ignored")}
    values = {
        name: load_value(value, fields.get(name), trust_remote_code=trust_remote_code)
        for name, value in dumped.items()
        if name not in ignored
    }
    return model(**values)


def load_value(value: Any, field: FieldInfo | None = None, *, trust_remote_code: bool = False) -> Any:
    """A value of a dump; a dict with `type_info` is a model only where the field may hold one."""
    if field is not None and not may_hold_model(field.annotation):
        return value
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        if _is_type_info(found.get(TYPE_INFO_KEY)):
            if len(found) == 1:
                return load_object(found[TYPE_INFO_KEY], trust_remote_code=trust_remote_code)
            return load_model(found, trust_remote_code=trust_remote_code)
        return {key: load_value(item, trust_remote_code=trust_remote_code) for key, item in found.items()}
    if isinstance(value, list):
        return [load_value(item, trust_remote_code=trust_remote_code) for item in cast("list[Any]", value)]
    return value


def type_info(named: Any) -> dict[str, str]:
    """Where a class or function is found again."""
    owner = getattr(named, "__objclass__", named)  # of `str.upper`, which names no module
    return {"module": owner.__module__, "name": named.__qualname__}


def load_class(info: Mapping[str, Any], *, trust_remote_code: bool = False) -> type[Any]:
    """The class that `type_info` names; distilabel's names are mapped to ours."""
    found = load_object(info, trust_remote_code=trust_remote_code)
    if not isinstance(found, type):
        raise DistilmqUserError(f"'{info.get('module')}.{info.get('name')}' is not a class")
    return cast("type[Any]", found)


def load_object(info: Mapping[str, Any], *, trust_remote_code: bool = False) -> Any:
    """The class or function that `type_info` names.

    Raises:
        DistilmqUserError: it is not distilmq's and the caller does not trust it, or it does not exist.
    """
    module, name = our_module(str(info["module"])), str(info["name"])
    if not (trust_remote_code or is_ours(module)):
        raise DistilmqUserError(
            f"'{module}.{name}' is not part of distilmq: loading it would run code that comes with the file or lies"
            " on this machine. Pass `trust_remote_code=True` (`--trust-remote-code` on the command line) if you trust"
            " where the file comes from."
        )
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise DistilmqUserError(f"'{module}.{name}' cannot be loaded: {error}") from error
    if not trust_remote_code and not (isinstance(found, type) and is_ours(found.__module__)):
        raise DistilmqUserError(
            f"'{module}.{name}' is not a class of distilmq. Pass `trust_remote_code=True` (`--trust-remote-code` on the"
            " command line) if you trust it."
        )
    return found


def our_module(module: str) -> str:
    """The module that stands for one of distilabel's, or the module itself."""
    if module == "distilabel" or module.startswith("distilabel."):
        return "distilmq" + module.removeprefix("distilabel")
    return module


def is_ours(module: str) -> bool:
    """Whether a module is part of distilmq's SDK."""
    return module == "distilmq" or module.startswith("distilmq.")


def may_hold_model(annotation: Any) -> bool:
    """Whether a field of that type may hold a model, a class or a function, so that `type_info` means something."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    origin = typing.get_origin(annotation)
    if origin is type or origin is Callable or annotation in (type, Callable):
        return True
    return any(may_hold_model(part) for part in typing.get_args(annotation))


def _dump_class(value: type[Any]) -> Any:
    if issubclass(value, BaseModel):  # the shape of a structured output
        return value.model_json_schema()
    return {TYPE_INFO_KEY: type_info(value)}


def _dump_scalar(value: Any, path: str) -> Any:
    if value is None or type(value) in (bool, int, float, str, bytes, date, datetime):
        return value
    for kind in (str, int, float):  # of subclasses, numpy's numbers among them
        if isinstance(value, kind):
            return kind(value)
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    if isinstance(value, (time, Decimal, UUID, PurePath)):
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise DistilmqUserError(
        f"{path} holds a '{type(value).__name__}', which cannot be saved: let the field hold plain values, or leave it"
        " out of what is saved by `dump_excluded`."
    )


def _is_secret(field: FieldInfo) -> bool:
    return any(part in (SecretStr, SecretBytes) for part in _parts(field.annotation))


def _parts(annotation: Any) -> list[Any]:
    parts = [annotation]
    for part in typing.get_args(annotation):
        parts += _parts(part)
    return parts


def _is_type_info(value: Any) -> bool:
    return isinstance(value, dict) and {"module", "name"} <= cast("dict[str, Any]", value).keys()


def _is_of(known: type[Any] | None, info: Mapping[str, Any]) -> bool:
    return known is not None and (our_module(str(info.get("module"))), info.get("name")) == (
        known.__module__,
        known.__qualname__,
    )


def _key(key: Any, path: str) -> Any:
    return _dump_scalar(key.value if isinstance(key, Enum) else key, f"A key of {path}")


def _gathered(model: type[Any], attribute: str) -> frozenset[str]:
    """The union of a class variable over a class and its bases."""
    return frozenset(
        name
        for base in model.__mro__
        for name in cast("frozenset[str]", base.__dict__.get(attribute, frozenset[str]()))
    )


_Serializable = Serializable
"""The name under which scripts written for distilabel import it."""
