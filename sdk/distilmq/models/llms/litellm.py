"""Any provider that the library LiteLLM speaks to."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from pydantic import Field, validate_call

from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.api_llm import ApiLLM
from distilmq.models.llms.openai import json_response_format, token_logprobs
from distilmq.models.llms.unanswered import no_text, refused
from distilmq.models.llms.utils import as_messages, given, missing_library, split_input
from distilmq.models.requests.usage import statistics, told_tokens
from distilmq.typing import GenerateOutput, Unanswered


class LiteLLM(ApiLLM):
    """Asks a model by LiteLLM, which knows many providers; each reads the environment variables that it always reads.

    Prefer the class of the provider itself where there is one. LiteLLM asks for a model's prices over the network when
    it is imported: it is told not to.

    Attributes:
        model: provider and name as LiteLLM writes them, such as `anthropic/claude-haiku-4-5`.
        verbose: let LiteLLM tell what it does.
        structured_output: the shape of the answers, as `{"schema": …}` with a pydantic model or a JSON schema.

    Examples:
        ```python
        from distilmq.models import LiteLLM

        llm = LiteLLM(model="gpt-4o-mini")
        llm.load()
        output = llm.generate_outputs([[{"role": "user", "content": "Hello!"}]], max_new_tokens=256)
        llm.unload()
        ```
    """

    model: str
    verbose: RuntimeParameter[bool] = Field(default=False, description="Whether LiteLLM tells what it does.")

    operational_fields: ClassVar[frozenset[str]] = frozenset({"verbose"})

    def load(self) -> None:
        """Imports LiteLLM.

        Raises:
            ImportError: `litellm` is not installed.
        """
        super().load()
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        try:
            import litellm
        except ImportError as error:
            raise missing_library("litellm", "litellm") from error
        library: Any = litellm
        library.suppress_debug_info = not self.verbose  # errors are told by us
        library.set_verbose = bool(self.verbose)
        self._aclient = library  # its clients are its own

    async def _close(self, client: Any) -> None:
        await client.close_litellm_async_clients()
        client.in_memory_llm_clients_cache.flush_cache()

    @property
    def model_name(self) -> str:
        """The model's name."""
        return self.model

    def _whose(self) -> tuple[Any, Any]:
        """Both are told with each request, by `generation_kwargs`."""
        told = self.generation_kwargs or {}
        return told.get("api_base", ""), told.get("api_key")

    @validate_call
    async def agenerate(
        self,
        input: Any,
        num_generations: int = 1,
        functions: list[dict[str, Any]] | None = None,
        function_call: str | None = None,
        temperature: float | None = 1.0,
        top_p: float | None = 1.0,
        stop: str | list[str] | None = None,
        max_tokens: int | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        logit_bias: dict[str, Any] | None = None,
        logprobs: bool = False,
        top_logprobs: int | None = None,
        user: str | None = None,
        metadata: dict[str, Any] | None = None,
        api_base: str | None = None,
        api_version: str | None = None,
        api_key: str | None = None,
        model_list: list[dict[str, Any]] | None = None,
        mock_response: str | None = None,
        custom_llm_provider: str | None = None,
        force_timeout: float | None = 600,
    ) -> GenerateOutput:
        """Answers one conversation.

        Args:
            input: a conversation, a text, or a pair of one with the shape of its answer.
            num_generations: answers.
            functions: what the model may call.
            function_call: which function it has to call.
            temperature: of the sampling.
            top_p: share of the probability that is sampled from.
            stop: texts at which an answer ends.
            max_tokens: the most tokens that an answer has.
            presence_penalty: against tokens that came.
            frequency_penalty: against tokens the more often they came.
            logit_bias: token to what is added to its likelihood.
            logprobs: whether to give the log probabilities of the answers' tokens.
            top_logprobs: how many of the likeliest tokens to give at each place.
            user: for whom the provider shall think it answers.
            metadata: what LiteLLM's logs carry.
            api_base: of the server.
            api_version: of the server's API.
            api_key: for the server. It is saved with the pipeline: environment variables are not.
            model_list: LiteLLM's list of deployments.
            mock_response: text that LiteLLM answers with, without asking anyone.
            custom_llm_provider: the provider, where the model's name does not say it.
            force_timeout: seconds to wait for an answer.

        Raises:
            RequestError: the provider did not answer.
            StepFatalError: it refuses all requests.
        """
        conversation, shape = split_input(input)
        options = given(
            functions=functions,
            function_call=function_call,
            temperature=temperature,
            top_p=top_p,
            stop=stop,
            max_tokens=max_tokens,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            logit_bias=logit_bias,
            logprobs=logprobs or None,
            top_logprobs=top_logprobs,
            user=user,
            metadata=metadata,
            api_base=api_base,
            api_version=api_version,
            api_key=api_key,
            model_list=model_list,
            mock_response=mock_response,
            custom_llm_provider=custom_llm_provider,
            timeout=force_timeout,
            response_format=json_response_format(shape or self.structured_output),
        )
        answer = await self._sent(as_messages(conversation), {"n": num_generations, **options})
        return self._output(answer)

    async def _sent(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> Any:
        import openai

        library = self._loaded()
        try:
            answer = await library.acompletion(
                model=self.model,
                messages=messages,
                num_retries=0,  # there is one layer of retries, and it is ours
                max_retries=0,
                **options,
            )
        except openai.APIError as error:  # LiteLLM's errors are OpenAI's, whatever the provider
            told: Any = error
            headers = getattr(getattr(told, "response", None), "headers", None)
            raise self._status(told.status_code, str(error), headers) from error
        if not getattr(answer, "choices", None) or any(choice.message is None for choice in answer.choices):
            raise self._no_answer(answer)
        return answer

    def _who(self) -> str:
        return f"'{self.model_name}' by LiteLLM"

    def _output(self, answer: Any) -> GenerateOutput:
        texts = [choice.message.content for choice in answer.choices]
        reasons = [choice.finish_reason for choice in answer.choices]
        if not any(texts) and "content_filter" in reasons:
            raise self._refusal("its finish reason is 'content_filter'")
        tokens = told_tokens(getattr(answer, "usage", None), "prompt_tokens", "completion_tokens")
        output: GenerateOutput = {"generations": texts, "statistics": statistics(*tokens, len(texts))}
        contents = [getattr(getattr(choice, "logprobs", None), "content", None) for choice in answer.choices]
        if any(contents):
            output["logprobs"] = [token_logprobs(content or []) for content in contents]
        if None in texts:
            output["unanswered"] = [
                _why(reason) if text is None else None for text, reason in zip(texts, reasons, strict=True)
            ]
        return output


def _why(reason: Any) -> Unanswered:
    """Why there is no text in a choice."""
    stopped = no_text(reason)
    return refused(stopped["why"]) if reason == "content_filter" else stopped
