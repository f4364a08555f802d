"""What the models that are asked over a provider's API have in common: one client, and how its errors are told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr

from distilmq.errors import DistilmqUserError, RefusedError, RequestError, StepFatalError, TransientError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.structured_llm import StructuredLLM
from distilmq.models.requests.retries import document_of, error_for_status, retry_after

_SHOWN = 500
"""Characters of an answer that an error shows."""


class ApiLLM(StructuredLLM, ABC):
    """A model that is asked over a provider's API; `load` makes the client, which the event loop's end closes."""

    process_bound: ClassVar[frozenset[str]] = frozenset({"_aclient"})

    _aclient: Any = PrivateAttr(default=None)
    """The client of the provider's library, or our own."""

    async def aclose(self) -> None:
        """Closes the client."""
        client, self._aclient = self._aclient, None
        if client is not None:
            await self._close(client)

    async def _close(self, client: Any) -> None:
        await client.close()

    def _loaded(self) -> Any:
        """The client.

        Raises:
            DistilmqUserError: there is none yet.
        """
        if self._aclient is None:
            raise DistilmqUserError(f"'{self.model_name}' is not loaded: call `load()` first.")
        return self._aclient

    @abstractmethod
    def _who(self) -> str:
        """Names model and server in errors."""
        ...

    # ------------------------------------------------------------ errors

    def _status(
        self, status: int, words: str, headers: Any, *, wait: float | None = None
    ) -> RequestError | StepFatalError:
        """The error that stands for a status; `wait` where the provider says it elsewhere than in a header."""
        told: float | None = retry_after(headers)
        return error_for_status(status, words, retry_after=told if told is not None else wait, who=self._who())

    def _cut_off(self, error: BaseException) -> TransientError:
        """For a connection that was lost, or never came about."""
        return TransientError(f"{self._who()}: {type(error).__name__}: {error}")

    def _not_json(self, error: Exception) -> TransientError:
        """For an answer that was cut short, is damaged, or is no JSON at all."""
        return TransientError(f"{self._who()} sent no JSON that can be read: {error}").with_answer(document_of(error))

    def _no_answer(self, sent: object) -> TransientError:
        """For a status of success that brought no answer."""
        return TransientError(f"{self._who()} sent no answer: {str(sent)[:_SHOWN]}").with_answer(sent)

    def _refusal(self, why: str, answer: str | None = None) -> RefusedError:
        """For an answer that refuses.

        Args:
            why: in the provider's words.
            answer: what the model said, where it said something.
        """
        return RefusedError(f"{self._who()} refuses this content: {why}").with_answer(answer)


class NamedApiLLM(ApiLLM, ABC):
    """A model that its provider knows by name.

    Attributes:
        model: the model's name.
        timeout: seconds to wait for an answer.
    """

    model: str
    timeout: RuntimeParameter[float] = Field(
        default=120, description="The maximum time in seconds to wait for a response from the API."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"timeout"})

    @property
    def model_name(self) -> str:
        """The model's name."""
        return self.model
