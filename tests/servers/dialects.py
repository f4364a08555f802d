"""How each provider writes what it is asked and what it answers: pure functions over JSON.

A `Dialect` reads a provider's own form back into what was meant (system, images, schema, bound), so that a test can ask
whether it arrived whichever provider it was sent to.
"""

from __future__ import annotations

import base64
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

LIKELY = -0.5
"""The log probability of every token."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks."""

    model: str
    prompt: str
    """The text of the last message."""
    body: dict[str, Any]
    answers: int = 1
    system: str | None = None
    images: tuple[str, ...] = ()
    """As base64, or by address."""
    schema: Any = None
    most_tokens: int | None = None
    is_text: bool = False
    """Whether bare text is to be continued."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One provider's way to write."""

    name: str
    paths: tuple[str, ...]
    question: Callable[[dict[str, Any], Mapping[str, str]], Question]
    """From a request's body and what its path says."""
    answer: Callable[[Question, list[str | None]], dict[str, Any]]
    """The answer of several texts; None is a refusal."""
    error: Callable[[int, str, str | None], dict[str, Any]]
    """The body that goes with a status, from the provider's words and its code."""
    without_choice: Callable[[dict[str, Any]], dict[str, Any]]
    """An answer, with nothing in it."""
    key_header: tuple[str, str] | None = ("Authorization", "Bearer ")
    refuses: bool = True
    """Whether an answer can say that it refuses."""

    def allows(self, headers: Mapping[str, str], key: str) -> bool:
        """Whether a request brings the key."""
        if self.key_header is None:
            return True
        name, before = self.key_header
        return headers.get(name) == before + key


# ---------------------------------------------------------------- OpenAI


def _openai_question(body: dict[str, Any], path: Mapping[str, str]) -> Question:
    model = body.get("model") or path.get("model", "")
    answers = body.get("n") or 1
    if "prompt" in body:
        return Question(
            model, body["prompt"], body, answers, most_tokens=body.get("max_tokens"), is_text=True, schema=_schema(body)
        )
    return Question(
        model,
        _text(body["messages"][-1]["content"]),
        body,
        answers,
        system=_system(body["messages"]),
        images=_images(body["messages"][-1]["content"]),
        schema=_schema(body),
        most_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
    )


def _schema(body: dict[str, Any]) -> Any:
    shape = body.get("response_format") or {}
    return shape.get("json_schema", {}).get("schema") or shape.get("value")  # the latter is how TGI has it


def _openai_answer(question: Question, texts: list[str | None]) -> dict[str, Any]:
    usage = {"prompt_tokens": _tokens(question.prompt), "completion_tokens": sum(_tokens(text) for text in texts)}
    usage["total_tokens"] = sum(usage.values())
    make = _openai_text if question.is_text else _openai_choice
    choices = [make(number, text, question.body) for number, text in enumerate(texts)]
    kind = "text_completion" if question.is_text else "chat.completion"
    return {"id": "1", "object": kind, "created": 1, "model": question.model, "choices": choices, "usage": usage}


def _openai_choice(number: int, text: str | None, body: dict[str, Any]) -> dict[str, Any]:
    if text is None:
        message = {"role": "assistant", "content": None, "refusal": "I would rather not."}
        return {"index": number, "finish_reason": "content_filter", "message": message}
    choice: dict[str, Any] = {
        "index": number,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
    }
    if body.get("logprobs"):
        content = [{"token": word, "logprob": LIKELY, "bytes": None, "top_logprobs": []} for word in text.split()]
        choice["logprobs"] = {"content": content}
    return choice


def _openai_text(number: int, text: str | None, body: dict[str, Any]) -> dict[str, Any]:
    logprobs = None
    if body.get("logprobs"):
        words = (text or "").split()
        logprobs = {"tokens": words, "token_logprobs": [LIKELY for _ in words]}
    return {"index": number, "text": text, "finish_reason": "stop", "logprobs": logprobs}


def _openai_error(status: int, message: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "error", "param": None, "code": code}}


def _no_choices(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "choices": []}


_CHAT, _TEXT = "chat/completions", "completions"
OPENAI = Dialect(
    "openai",
    tuple(
        f"/{{provider:{name}}}{base}/{kind}"
        for name, base in (("openai|anyscale|together|vllm|litellm", "/v1"), ("groq", "/openai/v1"))
        for kind in (_CHAT, _TEXT)
    ),
    _openai_question,
    _openai_answer,
    _openai_error,
    _no_choices,
)
AZURE = Dialect(
    "azure",
    tuple(f"/azure/openai/deployments/{{model}}/{kind}" for kind in (_CHAT, _TEXT)),
    _openai_question,
    _openai_answer,
    _openai_error,
    _no_choices,
    key_header=("api-key", ""),
)


def _embeddings_question(body: dict[str, Any], path: Mapping[str, str]) -> Question:
    return Question(body["model"], "\n".join(body["input"]), body)


def _embeddings_answer(question: Question, texts: list[str | None]) -> dict[str, Any]:
    size = question.body.get("dimensions") or EMBEDDING_SIZE
    vectors = [embedding_of(text, size) for text in question.body["input"]]
    if question.body.get("encoding_format") == "base64" and question.model != FLOATS_ONLY:
        sent: list[Any] = [base64.b64encode(array("f", vector).tobytes()).decode() for vector in vectors]
    else:
        sent = list(vectors)
    data = [{"object": "embedding", "index": place, "embedding": each} for place, each in enumerate(sent)]
    tokens = sum(_tokens(text) for text in question.body["input"])
    # Backwards: places are told by the index.
    return {"object": "list", "data": data[::-1], "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def embedding_of(text: str, size: int) -> list[float]:
    """The vector that stands for a text: its letters, its words, and then nothing."""
    return [float(len(text)), float(_tokens(text)), *[0.5] * (size - 2)]


EMBEDDING_SIZE = 4
FLOATS_ONLY = "floats-only"
"""A model whose server knows no base64."""

EMBEDDINGS = Dialect(
    "embeddings",
    ("/{provider:openai}/v1/embeddings",),
    _embeddings_question,
    _embeddings_answer,
    _openai_error,
    lambda answer: {**answer, "data": answer["data"][1:]},
)


# ---------------------------------------------------------------- Mistral


def _mistral_error(status: int, message: str, code: str | None) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": code or "error", "code": str(status)}


MISTRAL = Dialect(
    "mistral",
    ("/mistral/v1/chat/completions",),
    _openai_question,
    _openai_answer,
    _mistral_error,
    _no_choices,
    refuses=False,
)

# ---------------------------------------------------------------- Vertex AI


def _vertex_question(body: dict[str, Any], path: Mapping[str, str]) -> Question:
    parts = body["contents"][-1]["parts"]
    system = body.get("systemInstruction") or {"parts": []}
    config = body.get("generationConfig") or {}
    images = [part["inlineData"]["data"] for part in parts if "inlineData" in part]
    images += [part["fileData"].get("fileUri") or part["fileData"]["file_uri"] for part in parts if "fileData" in part]
    return Question(
        path["rest"].rpartition("/")[2].removesuffix(":generateContent"),
        "".join(part.get("text", "") for part in parts),
        body,
        system="".join(part["text"] for part in system["parts"]) or None,
        images=tuple(image.replace("-", "+").replace("_", "/") if "://" not in image else image for image in images),
        schema=config.get("responseJsonSchema"),
        most_tokens=config.get("maxOutputTokens"),
    )


def _vertex_answer(question: Question, texts: list[str | None]) -> dict[str, Any]:
    [text] = texts
    candidate: dict[str, Any] = {"finishReason": "STOP" if text is not None else "SAFETY"}
    if text is not None:
        candidate["content"] = {"role": "model", "parts": [{"text": text}]}
        if (question.body.get("generationConfig") or {}).get("responseLogprobs"):
            chosen = [{"token": word, "logProbability": LIKELY, "tokenId": 1} for word in text.split()]
            candidate["logprobsResult"] = {"chosenCandidates": chosen}
    usage = {"promptTokenCount": _tokens(question.prompt), "candidatesTokenCount": _tokens(text)}
    return {"candidates": [candidate], "usageMetadata": usage}


def _vertex_error(status: int, message: str, code: str | None) -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "status": code or "UNKNOWN"}}


VERTEX = Dialect(
    "vertex",
    ("/vertex/{version}/projects/{project}/locations/{place}/{rest:.*}",),
    _vertex_question,
    _vertex_answer,
    _vertex_error,
    lambda answer: {**answer, "candidates": []},
)

# ---------------------------------------------------------------- Anthropic


def _anthropic_question(body: dict[str, Any], path: Mapping[str, str]) -> Question:
    content = body["messages"][-1]["content"]
    blocks = [] if isinstance(content, str) else [block["source"] for block in content if block["type"] == "image"]
    return Question(
        body["model"],
        _text(content),
        body,
        system=body.get("system"),
        images=tuple(source.get("data") or source["url"] for source in blocks),
        schema=((body.get("output_config") or {}).get("format") or {}).get("schema"),
        most_tokens=body["max_tokens"],
    )


def _anthropic_answer(question: Question, texts: list[str | None]) -> dict[str, Any]:
    [text] = texts
    return {
        "id": "1",
        "type": "message",
        "role": "assistant",
        "model": question.model,
        "content": [{"type": "text", "text": text}] if text is not None else [],
        "stop_reason": "end_turn" if text is not None else "refusal",
        "stop_sequence": None,
        "usage": {"input_tokens": _tokens(question.prompt), "output_tokens": _tokens(text)},
    }


def _anthropic_error(status: int, message: str, code: str | None) -> dict[str, Any]:
    return {"type": "error", "error": {"type": code or "error", "message": message}}


ANTHROPIC = Dialect(
    "anthropic",
    ("/anthropic/v1/messages",),
    _anthropic_question,
    _anthropic_answer,
    _anthropic_error,
    lambda answer: {**answer, "content": None},
)

# ---------------------------------------------------------------- Cohere


def _cohere_question(body: dict[str, Any], path: Mapping[str, str]) -> Question:
    return Question(
        body["model"],
        _text(body["messages"][-1]["content"]),
        body,
        system=_system(body["messages"]),
        images=_images(body["messages"][-1]["content"]),
        schema=(body.get("response_format") or {}).get("json_schema"),
        most_tokens=body.get("max_tokens"),
    )


def _cohere_answer(question: Question, texts: list[str | None]) -> dict[str, Any]:
    [text] = texts
    answer: dict[str, Any] = {
        "id": "1",
        "finish_reason": "COMPLETE" if text is not None else "ERROR_TOXIC",
        "message": {"role": "assistant", "content": [{"type": "text", "text": text}] if text is not None else None},
        "usage": {"tokens": {"input_tokens": float(_tokens(question.prompt)), "output_tokens": float(_tokens(text))}},
    }
    if question.body.get("logprobs"):
        answer["logprobs"] = [{"text": word, "token_ids": [1], "logprobs": [LIKELY]} for word in (text or "").split()]
    return answer


COHERE = Dialect(
    "cohere",
    ("/cohere/v2/chat",),
    _cohere_question,
    _cohere_answer,
    lambda status, message, code: {"id": "1", "message": f"{message} ({code})" if code else message},
    lambda answer: {**answer, "message": None},
)

# ---------------------------------------------------------------- Ollama


def _ollama_question(body: dict[str, Any], path: Mapping[str, str]) -> Question:
    last = body["messages"][-1] if "messages" in body else {"content": body["prompt"]}
    return Question(
        body["model"],
        last["content"],
        body,
        system=_system(body.get("messages", [])),
        images=tuple(last.get("images", ())),
        schema=body.get("format"),
        most_tokens=(body.get("options") or {}).get("num_predict"),
        is_text="prompt" in body,
    )


def _ollama_answer(question: Question, texts: list[str | None]) -> dict[str, Any]:
    text = texts[0] or ""
    answer: dict[str, Any] = {
        "model": question.model,
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": _tokens(question.prompt),
        "eval_count": _tokens(text),
    }
    if question.body.get("logprobs"):
        answer["logprobs"] = [{"token": word, "logprob": LIKELY} for word in text.split()]
    if question.is_text:
        return {**answer, "response": text}
    return {**answer, "message": {"role": "assistant", "content": text}}


OLLAMA = Dialect(
    "ollama",
    ("/ollama/api/chat", "/ollama/api/generate"),
    _ollama_question,
    _ollama_answer,
    lambda status, message, code: {"error": f"{message} ({code})" if code else message},
    lambda answer: {name: value for name, value in answer.items() if name not in ("message", "response")},
    key_header=None,
    refuses=False,
)

# ---------------------------------------------------------------- Hugging Face's text-generation-inference


def _tgi_question(body: dict[str, Any], path: Mapping[str, str]) -> Question:
    parameters = body["parameters"]
    return Question(
        "tgi",
        body["inputs"],
        body,
        most_tokens=parameters.get("max_new_tokens"),
        schema=(parameters.get("grammar") or {}).get("value"),
        is_text=True,
    )


def _tgi_answer(question: Question, texts: list[str | None]) -> dict[str, Any]:
    words = (texts[0] or "").split()
    tokens = [{"id": 1, "text": word, "logprob": LIKELY, "special": False} for word in words]
    details = {"finish_reason": "length", "generated_tokens": len(words), "prefill": [], "tokens": tokens}
    return {"generated_text": texts[0], "details": details}


TGI_CHAT = Dialect(
    "huggingface",
    ("/{provider:huggingface}/v1/chat/completions",),
    _openai_question,
    _openai_answer,
    lambda status, message, code: {"error": message, "error_type": code or "generation"},
    _no_choices,
)
TGI_TEXT = Dialect(
    "huggingface",
    ("/{provider:huggingface}",),
    _tgi_question,
    _tgi_answer,
    lambda status, message, code: {"error": message, "error_type": code or "generation"},
    lambda answer: {},
)

DIALECTS = (EMBEDDINGS, OPENAI, AZURE, MISTRAL, VERTEX, ANTHROPIC, COHERE, OLLAMA, TGI_CHAT, TGI_TEXT)


# ---------------------------------------------------------------- what several share


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _system(messages: list[dict[str, Any]]) -> str | None:
    return "".join(_text(message["content"]) for message in messages if message["role"] == "system") or None


def _images(content: Any) -> tuple[str, ...]:
    if isinstance(content, str):
        return ()
    images = [part["image_url"] for part in content if part["type"] == "image_url"]
    urls = [image if isinstance(image, str) else image["url"] for image in images]
    return tuple(url.partition(";base64,")[2] or url for url in urls)


def _tokens(text: str | None) -> int:
    return len((text or "").split())
