"""The rows of `model_runs.py` by a script of one's own: `asyncio`, a semaphore, and the client of OpenAI as it comes.

It is told to have so many requests out at once, and knows neither a rate nor what was answered before it was killed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import openai


async def main() -> None:
    """Asks for all rows of all tasks and counts those that have no answer."""
    asked = json.loads(sys.argv[1])
    client = openai.AsyncOpenAI(http_client=openai.DefaultAioHttpClient())
    places = asyncio.Semaphore(asked["limit"] or 64)
    more: dict[str, Any] = {}
    if asked["json"]:
        schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
        more["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}

    async def ask(row: int, task: int) -> bool:
        async with places:
            try:
                given = await client.chat.completions.create(
                    model=f"m{task}", messages=[{"role": "user", "content": f"row {row}"}], **more
                )
            except openai.APIError:
                return False
        text = given.choices[0].message.content or ""
        return text == f"answer {row}" if not asked["json"] else _answer(text) == f"answer {row}"

    right = await asyncio.gather(*(ask(row, task) for row in range(asked["rows"]) for task in range(asked["tasks"])))
    await client.close()
    print("RESULT " + json.dumps({"lost": right.count(False), "failed": 0}), flush=True)


def _answer(text: str) -> Any:
    try:
        return json.loads(text)["answer"]
    except ValueError:
        return None


if __name__ == "__main__":
    asyncio.run(main())
