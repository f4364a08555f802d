"""Models behind Hugging Face's inference providers, its endpoints, and servers of text-generation-inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator, validate_call

from distilmq.errors import (
    DistilmqUserError,
    RequestError,
    StepFatalError,
    TransientError,
)
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.llms.api_llm import ApiLLM
from distilmq.models.llms.chat_template import ChatTemplate
from distilmq.models.llms.credentials import key_field, key_from
from distilmq.models.llms.openai import json_response_format, token_logprobs
from distilmq.models.llms.shapes import shape_of
from distilmq.models.llms.unanswered import no_text
from distilmq.models.llms.utils import as_messages, given, split_input
from distilmq.models.mixins.magpie import MagpieChatTemplateMixin
from distilmq.models.requests.usage import statistics, told_tokens
from distilmq.typing import GenerateOutput, LLMLogprobs

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

_KEY = "HF_TOKEN"
_KEY_PREFIX = "hf_"
_MOST_STOPS = 4
"""More texts to stop at are refused by text-generation-inference."""
_START_UP = 300
"""Seconds that a paused endpoint gets to come up."""


class InferenceEndpointsLLM(MagpieChatTemplateMixin, ApiLLM):
    """Asks a model at Hugging Face, or one that text-generation-inference serves elsewhere.

    Conversations go to the server's chat API, which puts them into the model's template. With a `tokenizer_id` they are
    put into its template here, and sent as text, for which the server has further arguments. Several generations are as
    many requests.

    Attributes:
        model_id: the model's repository, asked through Hugging Face's inference providers.
        endpoint_name: of a dedicated endpoint.
        endpoint_namespace: who owns that endpoint; you, when it is not given.
        base_url: of a server of text-generation-inference.
        api_key: from `HF_TOKEN`, or from what `hf auth login` stored, when it is not given.
        tokenizer_id: the repository on the Hub, or the folder, whose chat template is used instead of the server's.
        model_display_name: the model's name, as rows carry it.
        timeout: seconds to wait for an answer.
        structured_output: the shape of the answers, as `{"schema": …}` with a pydantic model or a JSON schema, or as
            `{"format": "regex", "schema": …}` with a `tokenizer_id` or for bare text.
        use_magpie_template: where a conversation does not end with the user, let the model write the user's turn; needs
            `tokenizer_id`.
        magpie_pre_query_template: how a user's turn begins for this model: `llama3`, `qwen2`, or the text itself.

    Examples:
        ```python
        import os

        from distilmq.models import InferenceEndpointsLLM

        # A server of your own; a model at Hugging Face is asked with model_id="meta-llama/Llama-3.3-70B-Instruct".
        llm = InferenceEndpointsLLM(base_url=os.environ.get("TGI_URL", "http://localhost:8080"))
        llm.load()
        output = llm.generate_outputs([[{"role": "user", "content": "Hello!"}]], max_new_tokens=256)
        llm.unload()
        ```
    """

    model_id: str | None = None
    endpoint_name: RuntimeParameter[str] | None = Field(default=None, description="The name of the endpoint to use.")
    endpoint_namespace: RuntimeParameter[str] | None = Field(
        default=None, description="The namespace of the endpoint to use."
    )
    base_url: RuntimeParameter[str] | None = Field(
        default=None, description="The base URL to use for the Inference Endpoints API requests."
    )
    api_key: RuntimeParameter[SecretStr] | None = key_field(_KEY)
    tokenizer_id: RuntimeParameter[str] | None = Field(default=None, description="Whose chat template is used.")
    model_display_name: str | None = None
    timeout: RuntimeParameter[float] = Field(
        default=120, description="The maximum time in seconds to wait for a response from the API."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"api_key", "base_url", "endpoint_namespace", "timeout"})
    process_bound: ClassVar[frozenset[str]] = frozenset({"_template"})
    takes_regex: ClassVar[bool] = True

    _num_generations_param_supported = False
    _template: ChatTemplate | None = PrivateAttr(default=None)
    _repository: str | None = PrivateAttr(default=None)
    """The model that a dedicated endpoint serves, as Hugging Face says."""

    @field_validator("base_url")
    @classmethod
    def _without_slash(cls, url: str | None) -> str | None:
        return url.rstrip("/") if url is not None else None

    @model_validator(mode="after")
    def _one_way_to_the_model(self) -> InferenceEndpointsLLM:
        if self.model_id and self.endpoint_name:
            raise DistilmqUserError(
                "`InferenceEndpointsLLM` was given both `model_id` and `endpoint_name`. Give one of them."
            )
        if not (self.model_id or self.endpoint_name or self.base_url):
            raise DistilmqUserError(
                "`InferenceEndpointsLLM` needs one of `model_id`, `endpoint_name` and `base_url`, and was given none."
            )
        return self

    def load(self) -> None:
        """Makes the client, and wakes a dedicated endpoint that sleeps.

        Raises:
            DistilmqUserError: there is no key, no such endpoint, or the tokenizer has no chat template.
        """
        self._check_tokenizer("tokenizer_id", self.tokenizer_id)
        from huggingface_hub import AsyncInferenceClient

        token = self._token()
        if not (self.base_url or self.endpoint_name or (token or "").startswith(_KEY_PREFIX)):
            raise DistilmqUserError(
                "To use `InferenceEndpointsLLM` with a `model_id` a key of Hugging Face (`hf_…`) must be given as"
                f" `api_key`, in the environment variable `{_KEY}`, or by `hf auth login`."
            )
        where = self.base_url or (self._woken_endpoint(token) if self.endpoint_name else self.model_id)
        self._aclient = AsyncInferenceClient(model=where, token=token, timeout=self.timeout)
        if self.tokenizer_id:
            self._template = ChatTemplate.load(self.tokenizer_id)
        super().load()

    @property
    def model_name(self) -> str:
        """The name to show, or the model's, the endpoint's or the server's."""
        return str(
            self.model_display_name or self._repository or self.model_id or self.endpoint_name or self.base_url or ""
        )

    @validate_call
    async def agenerate(
        self,
        input: Any,
        max_new_tokens: int = 128,
        frequency_penalty: float | None = None,
        logit_bias: list[float] | None = None,
        logprobs: bool = False,
        presence_penalty: float | None = None,
        seed: int | None = None,
        stop_sequences: list[str] | None = None,
        temperature: float = 1.0,
        tool_choice: str | dict[str, str] | None = None,
        tool_prompt: str | None = None,
        tools: list[dict[str, Any]] | None = None,
        top_logprobs: int | None = None,
        top_n_tokens: int | None = None,
        top_p: float | None = None,
        do_sample: bool = False,
        repetition_penalty: float | None = None,
        return_full_text: bool = False,
        top_k: int | None = None,
        typical_p: float | None = None,
        watermark: bool = False,
    ) -> GenerateOutput:
        """Answers one conversation, or continues one text.

        Args:
            input: a conversation, a text, or a pair of one with the shape of its answer.
            max_new_tokens: the most tokens that the answer has.
            frequency_penalty: against tokens the more often they came.
            logit_bias: what is added to the likelihood of tokens; for conversations only.
            logprobs: whether to give the log probabilities of the answer's tokens.
            presence_penalty: against tokens that came; for conversations only.
            seed: of the sampling.
            stop_sequences: texts at which the answer ends, four at most.
            temperature: of the sampling.
            tool_choice: which tool the model has to call; for conversations only.
            tool_prompt: what is said before the tools; for conversations only.
            tools: what the model may call; for conversations only.
            top_logprobs: how many of the likeliest tokens to give at each place; for conversations only.
            top_n_tokens: how many of the likeliest tokens to give at each place; for text only.
            top_p: share of the probability that is sampled from.
            do_sample: whether to sample at all; for text only.
            repetition_penalty: against tokens that came, 1 for none; for text only.
            return_full_text: whether to give the prompt before what continues it; for text only.
            top_k: how many of the likeliest tokens are sampled from; for text only.
            typical_p: mass of the typical decoding; for text only.
            watermark: whether to mark the text as a model's; for text only.

        Raises:
            RequestError: the server did not answer.
            StepFatalError: it refuses all requests.
        """
        if stop_sequences is not None and len(stop_sequences) > _MOST_STOPS:
            raise DistilmqUserError(
                f"`stop_sequences` of `InferenceEndpointsLLM` may be {_MOST_STOPS} at most, they are"
                f" {len(stop_sequences)}."
            )
        conversation, shape = split_input(input)
        shape = shape or self.structured_output
        common = {"frequency_penalty": frequency_penalty, "seed": seed, "stop": stop_sequences, "top_p": top_p}
        if isinstance(conversation, str) or self._template is not None:
            text = conversation if isinstance(conversation, str) else self._rendered(conversation)
            options = given(
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                do_sample=do_sample,
                repetition_penalty=repetition_penalty,
                return_full_text=return_full_text,
                top_k=top_k,
                top_n_tokens=top_n_tokens,
                typical_p=typical_p,
                watermark=watermark,
                grammar=_grammar(shape),
                **common,
            )
            return self._continued(await self._sent("text_generation", text, details=True, **options), logprobs)
        options = given(
            max_tokens=max_new_tokens,
            temperature=temperature,
            logit_bias=logit_bias,
            logprobs=logprobs or None,
            presence_penalty=presence_penalty,
            tool_choice=tool_choice,
            tool_prompt=tool_prompt,
            tools=tools,
            top_logprobs=top_logprobs,
            response_format=json_response_format(shape),
            **common,
        )
        return self._chatted(await self._sent("chat_completion", as_messages(conversation), **options))

    def _token(self) -> str | None:
        """The key that was given or is in the environment, else what `hf auth login` stored, else none."""
        from huggingface_hub import get_token

        key = self.api_key or key_from(_KEY)
        return key.get_secret_value() if key is not None else get_token()

    def _woken_endpoint(self, token: str | None) -> str:
        """Where a dedicated endpoint is, once it runs."""
        from huggingface_hub import get_inference_endpoint
        from huggingface_hub.errors import HfHubHTTPError, InferenceEndpointError

        try:
            endpoint = get_inference_endpoint(
                cast("str", self.endpoint_name), namespace=self.endpoint_namespace, token=token
            )
            if endpoint.status in ("paused", "scaledToZero"):
                endpoint.resume()
            endpoint.wait(timeout=_START_UP)
        except (HfHubHTTPError, InferenceEndpointError) as error:
            raise DistilmqUserError(
                f"The endpoint '{self.endpoint_name}' of Hugging Face cannot be used: {error}"
            ) from error
        self._repository = endpoint.repository
        return cast("str", endpoint.url)

    def _rendered(self, conversation: Any) -> str:
        assert self._template is not None
        return self.prompt_of(as_messages(conversation), self._template.render, begin=self._template.begin)

    def _who(self) -> str:
        return f"'{self.model_name}' at {self.base_url or 'Hugging Face'}"

    async def _sent(self, task: str, *args: Any, **options: Any) -> Any:
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError, InferenceTimeoutError, TextGenerationError

        ask: Any = getattr(self._loaded(), task)
        try:
            return await ask(*args, **options)
        except HfHubHTTPError as error:
            raise self._translated(error) from error
        except TextGenerationError as error:
            if isinstance(error.__cause__, HfHubHTTPError):
                raise self._translated(error.__cause__) from error
            raise TransientError(f"{self._who()}: {error}") from error
        except (InferenceTimeoutError, httpx2.TransportError) as error:
            raise self._cut_off(error) from error
        except (ValueError, TypeError) as error:  # an answer that was cut short, or damaged
            raise self._not_json(error) from error

    def _translated(self, error: HfHubHTTPError) -> RequestError | StepFatalError:
        response = error.response
        return self._status(response.status_code, response.text[:500] or str(error), response.headers)

    def _chatted(self, answer: Any) -> GenerateOutput:
        choice = answer.choices[0] if getattr(answer, "choices", None) else None
        message = getattr(choice, "message", None)
        if choice is None or message is None:
            raise self._no_answer(answer)
        text: str | None = message.content
        if text is None and choice.finish_reason == "content_filter":
            raise self._refusal("its finish reason is 'content_filter'")
        tokens = told_tokens(answer.usage, "prompt_tokens", "completion_tokens")
        found = choice.logprobs.content if getattr(choice, "logprobs", None) is not None else None
        output = _output(text, *tokens, [token_logprobs(found)] if found else [])
        if text is None:
            output["unanswered"] = [no_text(choice.finish_reason)]
        return output

    def _continued(self, answer: Any, logprobs: bool) -> GenerateOutput:
        details = getattr(answer, "details", None)
        if getattr(answer, "generated_text", None) is None:
            raise self._no_answer(answer)
        tokens: list[Any] = details.tokens if details is not None else []
        found: LLMLogprobs = [[[{"token": token.text, "logprob": token.logprob}] for token in tokens]]
        generated = details.generated_tokens if details is not None else None
        prompt = len(details.prefill or ()) or None if details is not None else None  # left out by newer servers
        return _output(answer.generated_text, prompt, generated, found if logprobs else [])


def _output(text: str | None, input: int | None, output: int | None, logprobs: LLMLogprobs) -> GenerateOutput:
    given_back: GenerateOutput = {"generations": [text], "statistics": statistics(input, output, 1)}
    if logprobs:
        given_back["logprobs"] = logprobs
    return given_back


def _grammar(shape: Any) -> dict[str, Any] | None:
    """How text-generation-inference is told the shape of continued text."""
    wanted = shape_of(shape)
    return {"type": wanted.format, "value": wanted.schema} if wanted is not None else None
