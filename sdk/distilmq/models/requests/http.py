"""JSON over HTTP, for providers whose API is spoken without a library of theirs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from distilmq.errors import TransientError
from distilmq.models.requests.limiter import hear
from distilmq.models.requests.retries import error_for_status, retry_after

if TYPE_CHECKING:
    from aiohttp import ClientSession


class JsonClient:
    """Posts JSON to one server; it belongs to the event loop on which it is first used."""

    def __init__(
        self, url: str, *, headers: Mapping[str, str], timeout: float | None, follow_redirects: bool = True
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = dict(headers)
        self._timeout = timeout
        self._follow_redirects = follow_redirects
        self._session: ClientSession | None = None

    async def post(self, path: str, body: Mapping[str, Any], *, who: str) -> dict[str, Any]:
        """The object that the server answers with.

        Args:
            path: below the client's URL.
            body: of the request.
            who: names provider and model in errors.

        Raises:
            RequestError: the server gave no such answer.
            StepFatalError: it refuses all requests.
        """
        from aiohttp import ClientError

        session = self._own_session()
        try:
            async with session.post(self._url + path, json=body, allow_redirects=self._follow_redirects) as response:
                status, headers, text = response.status, response.headers, await response.text()
        except (ClientError, TimeoutError, UnicodeDecodeError) as error:
            raise TransientError(f"{who}: {type(error).__name__}: {error}") from error
        hear({name.lower(): value for name, value in headers.items()})
        if status >= 300:
            raise error_for_status(status, _words(text), retry_after=retry_after(headers), who=who)
        try:
            answer = json.loads(text)
        except json.JSONDecodeError as error:
            raise TransientError(f"{who} sent no JSON: {error}: {text[:500]}").with_answer(text) from error
        if not isinstance(answer, dict):
            raise TransientError(f"{who} sent {text[:500]}").with_answer(text)
        return cast("dict[str, Any]", answer)

    async def close(self) -> None:
        """Closes the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _own_session(self) -> ClientSession:
        from aiohttp import ClientSession, ClientTimeout, TCPConnector

        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(limit=0),  # how many requests are out is bounded elsewhere
                headers=self._headers,
                timeout=ClientTimeout(total=self._timeout),
                trust_env=True,
            )
        return self._session


def _words(text: str) -> str:
    """What a server says in the body of an error, with its code where there is one."""
    try:
        body = json.loads(text)
    except json.JSONDecodeError:
        return text[:500]
    if not isinstance(body, dict):
        return text[:500]
    told = cast("dict[str, Any]", body)
    error = told.get("error", told)
    if not isinstance(error, dict):
        return str(error)
    details = cast("dict[str, Any]", error)
    message = details.get("message") or text[:500]
    code = details.get("code") or details.get("type")
    return f"{message} ({code})" if code else str(message)
