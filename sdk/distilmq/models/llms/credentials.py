"""Keys and addresses of providers, from the environment where they are not given."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from pydantic import Field, SecretStr

from distilmq.errors import DistilmqUserError


@dataclass(frozen=True, slots=True)
class FromEnvironment:
    """Makes the default of a key; `secret_variables` finds the name of the variable here."""

    variable: str

    def __call__(self) -> SecretStr | None:
        """The key, or None."""
        return key_from(self.variable)


def key_from(variable: str) -> SecretStr | None:
    """The key in an environment variable, or None."""
    value = os.environ.get(variable)
    return SecretStr(value) if value else None


def key_field(variable: str) -> Any:
    """The field of a key that is read from an environment variable when it is not given."""
    return Field(default_factory=FromEnvironment(variable), description="The API key to authenticate the requests.")


def address_field(variable: str, otherwise: str | None, description: str) -> Any:
    """The field of a server's address.

    Args:
        variable: of the environment, where it is read from when it is not given.
        otherwise: where the provider itself is.
        description: of the field.
    """
    return Field(default_factory=lambda: os.environ.get(variable) or otherwise, description=description)


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
