"""The Hugging Face token of whoever runs this."""

from __future__ import annotations

import os

from distilmq.errors import DistilmqUserError

HF_TOKEN_ENV_VAR = "HF_TOKEN"


def get_hf_token(cls_name: str, token_arg: str) -> str:
    """The token in the environment, or of `hf auth login`.

    Args:
        cls_name: who needs it, for the message.
        token_arg: the argument that takes it, for the message.

    Raises:
        DistilmqUserError: there is none.
    """
    token = os.environ.get(HF_TOKEN_ENV_VAR)
    if token:
        return token
    # It costs 0.2 s to import: the environment usually has the answer.
    from huggingface_hub import get_token

    token = get_token()
    if token is None:
        raise DistilmqUserError(
            f"To use `{cls_name}` an API key must be provided via `{token_arg}`, in the environment variable"
            f" `{HF_TOKEN_ENV_VAR}`, or by logging in with `hf auth login`."
        )
    return token
