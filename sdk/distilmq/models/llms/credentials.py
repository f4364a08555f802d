"""Keys and addresses of providers, from the environment where they are not given."""

from __future__ import annotations

import os
from typing import Any

from pydantic import SecretStr

from distilmq.errors import DistilmqUserError


def key_from(variable: str) -> SecretStr | None:
    """The key in an environment variable, or None."""
    value = os.environ.get(variable)
    return SecretStr(value) if value else None


def needed_key(model: Any, variable: str) -> str:
    """The key that a model was given, or that this process's environment has.

    Raises:
        DistilmqUserError: there is none.
    """
    key: SecretStr | None = model.api_key or key_from(variable)
    if key is None:
        raise DistilmqUserError(
            f"To use `{type(model).__name__}` an API key must be provided via `api_key` attribute or runtime parameter,"
            f" or set the environment variable `{variable}`."
        )
    return key.get_secret_value()
