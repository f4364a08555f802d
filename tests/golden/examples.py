"""An example of each message, made from its fields: every one of them is given a value of its type."""

from __future__ import annotations

import types
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter

from distilmq.protocol import broker_codec, codec
from distilmq.protocol.messages import Message

UNIONS: Mapping[str, TypeAdapter[Any]] = {
    "from_peer": codec.FROM_PEER,
    "to_worker": codec.TO_WORKER,
    "to_client": codec.TO_CLIENT,
    "to_broker": broker_codec.TO_BROKER,
    "from_broker": broker_codec.FROM_BROKER,
    "to_host": broker_codec.TO_HOST,
    "from_coordinator": broker_codec.FROM_COORDINATOR,
    "to_coordinator": broker_codec.TO_COORDINATOR,
}
"""What may come where."""

_PLAIN: Mapping[object, object] = {
    str: "text",
    int: 3,
    float: 1.5,
    bool: True,
    bytes: b"bytes",
    Any: "anything",
    object: "anything",
}


def members(union: TypeAdapter[Any]) -> list[type[Message]]:
    """The messages of a union."""
    return [kind for kind in get_args(_bare(union._type)) if issubclass(kind, Message)]


def example(kind: Any) -> Any:
    """A value of a type."""
    kind = _bare(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return parts[0]
    if origin in (Union, types.UnionType):
        return example(next(part for part in parts if part is not type(None)))
    if origin is tuple:
        return tuple(example(part) for part in parts if part is not ...)
    if origin is dict:
        return {example(parts[0]): example(parts[1])}
    if origin in (list, frozenset):
        return origin([example(parts[0])])
    if issubclass(kind, Enum):
        return next(iter(kind))
    if issubclass(kind, BaseModel):
        return kind.model_validate({name: example(field.annotation) for name, field in kind.model_fields.items()})
    raise TypeError(f"no example of {kind}")


def _bare(kind: Any) -> Any:
    return _bare(get_args(kind)[0]) if get_origin(kind) is Annotated else kind
