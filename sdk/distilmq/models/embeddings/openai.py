"""Embedding models over OpenAI's API, which vLLM, Ollama, text-embeddings-inference and others speak as well."""

from __future__ import annotations

import base64
import binascii
import sys
from array import array
from collections.abc import Mapping
from typing import Any, ClassVar, cast

from pydantic import Field, PositiveInt, PrivateAttr, SecretStr

from distilmq.errors import DistilmqUserError, StepFatalError, TransientError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.embeddings.async_embeddings import AsyncEmbeddings, Encoded
from distilmq.models.llms.credentials import address_field, key_field, needed_key
from distilmq.models.llms.utils import given
from distilmq.models.requests.http import JsonClient

OPENAI_URL = "https://api.openai.com/v1"
_KEY, _URL = "OPENAI_API_KEY", "OPENAI_BASE_URL"


class OpenAIEmbeddings(AsyncEmbeddings):
    """Asks an embedding model over OpenAI's API.

    Attributes:
        model: the model's name.
        base_url: of the server; from `OPENAI_BASE_URL` when it is not given.
        api_key: from `OPENAI_API_KEY` when it is not given. A server of your own that asks for none takes any text.
        default_headers: sent with each request.
        timeout: seconds to wait for an answer.
        dimensions: how many numbers a vector has, for models that give shorter ones too.
        extra_body: further fields of the request, for servers that know more.

    Examples:
        ```python
        from distilmq.models import OpenAIEmbeddings

        embeddings = OpenAIEmbeddings(model="text-embedding-3-small")
        embeddings.load()
        vectors = embeddings.embed(["What is a queue?", "What is a stack?"])
        embeddings.unload()
        assert len(vectors) == 2
        ```
    """

    model: str
    base_url: RuntimeParameter[str] | None = address_field(
        _URL, OPENAI_URL, "The base URL to use for the API requests."
    )
    api_key: RuntimeParameter[SecretStr] | None = key_field(_KEY)
    default_headers: RuntimeParameter[dict[str, str]] | None = Field(
        default=None, description="The headers to send with every request."
    )
    timeout: RuntimeParameter[float] = Field(
        default=120, description="The maximum time in seconds to wait for a response from the API."
    )
    dimensions: RuntimeParameter[PositiveInt] | None = Field(
        default=None, description="The number of numbers that a vector has."
    )
    extra_body: RuntimeParameter[dict[str, Any]] | None = Field(
        default=None, description="Further fields of the request."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"api_key", "base_url", "default_headers", "timeout"})
    process_bound: ClassVar[frozenset[str]] = frozenset({"_aclient"})

    _aclient: JsonClient | None = PrivateAttr(default=None)

    def check_key(self) -> None:
        """Raises DistilmqUserError if there is no key."""
        needed_key(self, _KEY)

    def load(self) -> None:
        """Makes the client.

        Raises:
            DistilmqUserError: there is no key.
        """
        super().load()
        headers = {"Authorization": f"Bearer {needed_key(self, _KEY)}", **(self.default_headers or {})}
        self._aclient = JsonClient(self.base_url or OPENAI_URL, headers=headers, timeout=self.timeout)

    async def aclose(self) -> None:
        """Closes the client."""
        client, self._aclient = self._aclient, None
        if client is not None:
            await client.close()

    @property
    def model_name(self) -> str:
        """The model's name."""
        return self.model

    async def aencode(self, inputs: list[str]) -> Encoded:
        """The vectors of the texts of one request.

        Args:
            inputs: the texts.

        Raises:
            RequestError: the provider did not answer, or its answer cannot be read.
            StepFatalError: it refuses all requests, or gives vectors of another length than `dimensions`.
        """
        if self._aclient is None:
            raise DistilmqUserError(f"'{self.model_name}' is not loaded: call `load()` first.")
        body = {
            "model": self.model,
            "input": inputs,
            "encoding_format": "base64",  # a third of the bytes, and exact
            **given(dimensions=self.dimensions),
            **(self.extra_body or {}),
        }
        answer = await self._aclient.post("/embeddings", body, who=self._who())
        return Encoded(self._vectors(answer), _tokens(answer))

    def _who(self) -> str:
        return f"'{self.model_name}' at {self.base_url}"

    def _vectors(self, answer: Mapping[str, Any]) -> list[list[float]]:
        try:
            data = sorted(answer["data"], key=lambda each: each["index"])
            vectors = [_vector(each["embedding"]) for each in data]
        except (KeyError, TypeError, ValueError) as error:
            raise TransientError(f"{self._who()} sent no vectors that can be read: {str(answer)[:500]}") from error
        lengths = {len(vector) for vector in vectors}
        if self.dimensions is not None and lengths - {self.dimensions}:
            raise StepFatalError(
                f"{self._who()} gave vectors of {sorted(lengths)} numbers, not of the {self.dimensions} that"
                " `dimensions` asks for: the model or the server does not know it."
            )
        return vectors


def _vector(given: Any) -> list[float]:
    """Numbers, from a list of them or from base64 of 32-bit floats; servers choose what they send."""
    if isinstance(given, str):
        try:
            numbers = array("f", base64.b64decode(given, validate=True))
        except binascii.Error as error:
            raise ValueError(str(error)) from error
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers.tolist()
    return [float(number) for number in cast("list[Any]", given)]


def _tokens(answer: Mapping[str, Any]) -> int | None:
    usage = answer.get("usage")
    tokens: Any = cast("Mapping[str, Any]", usage).get("prompt_tokens") if isinstance(usage, Mapping) else None
    return tokens if isinstance(tokens, int) else None
