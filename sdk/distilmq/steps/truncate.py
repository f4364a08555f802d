"""Shorter texts."""

from __future__ import annotations

import importlib
from typing import Any

from pydantic import PositiveInt, PrivateAttr

from distilmq.steps.base import Step, StepInput
from distilmq.typing import StepColumns, StepOutput


class TruncateTextColumn(Step):
    """Cuts the texts of a column at a number of characters, or of tokens.

    Attributes:
        column: the column, `text` when not given.
        max_length: how many characters or tokens stay.
        tokenizer: the name of a `transformers` tokenizer on the Hub: its tokens count; characters when not given.

    Input columns:
        - dynamic: `column`.

    Output columns:
        - dynamic: the same.

    Categories:
        - text-manipulation

    Examples:
        Keep the first five characters:

        ```python
        from distilmq.steps import TruncateTextColumn

        truncate = TruncateTextColumn(column="text", max_length=5)
        truncate.load()
        assert next(truncate.process([{"text": "a long text"}])) == [{"text": "a lon"}]
        ```
    """

    column: str = "text"
    max_length: PositiveInt = 8192
    tokenizer: str | None = None

    _tokenizer: Any = PrivateAttr(default=None)

    @property
    def inputs(self) -> StepColumns:
        """The column."""
        return [self.column]

    @property
    def outputs(self) -> StepColumns:
        """The column."""
        return [self.column]

    def load(self) -> None:
        """Loads the tokenizer."""
        super().load()
        if self.tokenizer is not None:
            self._tokenizer = _transformers().AutoTokenizer.from_pretrained(self.tokenizer)

    def process(self, inputs: StepInput) -> StepOutput:  # pyright: ignore[reportIncompatibleMethodOverride]  # takes one list
        """Cuts texts.

        Args:
            inputs: rows.

        Yields:
            The rows with shorter texts.
        """
        yield [{**row, self.column: self._cut(row[self.column])} for row in inputs]

    def _cut(self, text: str | None) -> str | None:
        if text is None:  # of a row that failed before
            return None
        if self._tokenizer is None:
            return text[: self.max_length]
        tokens = self._tokenizer.encode(text, add_special_tokens=False, truncation=False)
        if len(tokens) <= self.max_length:
            return text
        return str(self._tokenizer.decode(tokens[: self.max_length], skip_special_tokens=True))


def _transformers() -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise ImportError(
            "To cut at tokens, `transformers` is needed. Please install it with `pip install transformers`."
        ) from error
