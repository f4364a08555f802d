"""Language models: what a task asks, and what every provider's class builds on (distilabel's path to it).

`LLM` is for engines that take a list of inputs at once (`generate`), `AsyncLLM` for those that are asked one input
at a time (`agenerate`): its requests go out together, within a bound, and each fails or comes back by itself.
"""

from distilmq.models.llms.async_llm import AsyncLLM
from distilmq.models.llms.llm import LLM
from distilmq.typing import FormattedInput, GenerateOutput

__all__ = ["LLM", "AsyncLLM", "FormattedInput", "GenerateOutput"]
