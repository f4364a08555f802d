"""What identifies the result of a step or model: its code and its parameters of substance.

Fields are either *operational* (how it is run: batch sizes, replicas, timeouts, keys) or *of substance* (what
comes out). Only the latter are part of the signature, so that what is recorded outlives a change of the former.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, ClassVar, cast

from pydantic import BaseModel, SecretBytes, SecretStr

from distilmq.errors import DistilmqUserError
from distilmq.mixins.serialization import TYPE_INFO_KEY, dump_value
from distilmq.utils.code import code_digest, is_user_code


class Signed:
    """For pydantic models that have a signature."""

    operational_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that do not change what comes out; those of the bases are added."""

    @property
    def signature(self) -> str:
        """A digest of code and parameters of substance, of this step or model alone."""
        fields = self.signature_fields()
        return hashlib.sha1("\n".join(f"{name}={digest}" for name, digest in fields.items()).encode()).hexdigest()

    def signature_fields(self) -> dict[str, str]:
        """Each part of the signature, sorted, with its digest: to say which one changed."""
        parts = dict(self._signature_parts())
        return {name: _digest(value) for name, value in sorted(parts.items())}

    def _signature_parts(self) -> Iterator[tuple[str, Any]]:
        """Dotted names of what counts, with plain values; an override adds to these."""
        yield from model_parts(cast("BaseModel", self), "")


def operational(model: type[BaseModel]) -> frozenset[str]:
    """The operational fields of a class, its bases' included."""
    return frozenset(
        name
        for base in model.__mro__
        for name in cast("frozenset[str]", base.__dict__.get("operational_fields", frozenset[str]()))
    )


def model_parts(model: BaseModel, prefix: str) -> Iterator[tuple[str, Any]]:
    """What counts of a model: its class, the class's code where it is the user's, its fields of substance."""
    kind = type(model)
    yield prefix + "class", kind.__qualname__ if is_user_code(kind.__module__) else f"{kind.__module__}.{kind.__name__}"
    if is_user_code(kind.__module__):
        yield prefix + "code", code_digest(kind)
    without = operational(kind)
    for name, field in kind.model_fields.items():
        value = model.__dict__.get(name)
        if name in without or isinstance(value, (SecretStr, SecretBytes)):
            continue
        if field.exclude and not isinstance(value, BaseModel):
            continue
        yield from _value_parts(value, prefix + name)


def _value_parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, BaseModel):
        yield from model_parts(value, path + ".")
    elif isinstance(value, list) and any(isinstance(item, BaseModel) for item in cast("list[Any]", value)):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _value_parts(item, f"{path}.{index}")
    elif callable(cast("Any", value)) and not (isinstance(value, type) and not is_user_code(value.__module__)):
        yield path, code_digest(value)
    else:
        yield path, _plain(value)


def _plain(value: Any) -> Any:
    """What is digested of a value: its dump, or what it holds where no dump can say it."""
    try:
        dumped: Any = dump_value(value)
        json.dumps(dumped, sort_keys=True)
    except (DistilmqUserError, TypeError, ValueError):
        return code_digest(value)
    is_class = isinstance(dumped, dict) and TYPE_INFO_KEY in cast("dict[str, Any]", dumped)
    return cast("Any", dumped[TYPE_INFO_KEY] if is_class else dumped)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
