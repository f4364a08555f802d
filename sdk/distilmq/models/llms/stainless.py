"""Errors of the libraries of OpenAI and Anthropic, which one generator (Stainless) makes, as ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from distilmq.errors import RequestError, StepFatalError, TransientError
from distilmq.models.requests.retries import document_of

Status = Callable[[int, str, Any], RequestError | StepFatalError]
"""The error that stands for a status, the provider's words and the headers."""


@contextmanager
def translated(
    library: Any, *, status: Status, who: Callable[[], str], hear: Callable[[Mapping[str, str]], None]
) -> Generator[None]:
    """Within a `with`, what the library raises is raised as our error; headers of refusals are heard.

    Args:
        library: the module `openai` or `anthropic`.
        status: makes the error of an answer that is none.
        who: names model and server.
        hear: is told the headers of refusals.
    """
    try:
        yield
    except library.APIStatusError as error:
        hear(error.response.headers)
        code = getattr(error, "code", None)
        words = f"{error.message} ({code})" if code else error.message
        raise status(error.status_code, words, error.response.headers) from error
    except library.APIConnectionError as error:  # a timeout is one, too
        raise TransientError(f"{who()}: {error.__cause__ or error}") from error
    except library.APIError as error:
        raise TransientError(f"{who()} sent no answer: {error}").with_answer(document_of(error)) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:  # an answer that was cut short, or damaged
        raise TransientError(f"{who()} sent no JSON: {error}").with_answer(document_of(error)) from error
