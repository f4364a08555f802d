"""Giving each text a vector."""

from __future__ import annotations

from typing import Any, ClassVar

from distilmq.errors import DistilmqTypeError, RequestsFailedError, RowsFailedError
from distilmq.models.embeddings.base import Embeddings, Vector
from distilmq.models.requests.answers import asking_for
from distilmq.steps.base import Step, StepInput
from distilmq.steps.tasks.base import has_failed
from distilmq.typing import Row, StepColumns, StepOutput


class EmbeddingGeneration(Step):
    """Gives each text its vector.

    A row that failed before is passed on without one, and the model is not asked about it.

    Attributes:
        embeddings: the model.

    Input columns:
        - text (`str`): the text.

    Output columns:
        - embedding (`list[float]`): its vector.
        - model_name (`str`): the model's name.

    Examples:
        ```python
        from distilmq.models import LlamaCppEmbeddings
        from distilmq.models.llms.gguf import quickstart_weights
        from distilmq.pipeline import Pipeline
        from distilmq.steps import EmbeddingGeneration, LoadDataFromDicts

        weights = quickstart_weights()
        embeddings = LlamaCppEmbeddings(model=weights.name, model_path=str(weights.parent))
        with Pipeline("vectors") as pipeline:
            load = LoadDataFromDicts(data=[{"text": "What is a queue?"}, {"text": "What is a stack?"}])
            load >> EmbeddingGeneration(embeddings=embeddings)

        rows = pipeline.run()["default"]["train"]
        assert len(rows[0]["embedding"]) == len(rows[1]["embedding"])
        ```
    """

    embeddings: Embeddings

    concurrent_batches: ClassVar[bool] = True

    def load(self) -> None:
        """Loads the model."""
        super().load()
        self.embeddings.load()

    def unload(self) -> None:
        """Unloads the model."""
        self.embeddings.unload()
        super().unload()

    @property
    def takes_batches_at_once(self) -> bool:
        """Whether this step and its model may be at several batches at once."""
        return super().takes_batches_at_once and self.embeddings.concurrent_batches

    @property
    def inputs(self) -> StepColumns:
        """The text."""
        return ["text"]

    @property
    def outputs(self) -> StepColumns:
        """The vector, and who gave it."""
        return ["embedding", "model_name"]

    def process(self, inputs: StepInput) -> StepOutput:  # pyright: ignore[reportIncompatibleMethodOverride]  # takes one list
        """Asks the model about all rows at once, but for those that failed before.

        Raises:
            RowsFailedError: some rows failed; called without them, it finds the vectors of the others.
        """
        live = [place for place, row in enumerate(inputs) if not has_failed(row)]
        failures: dict[int, Exception] = {}
        vectors: dict[int, Vector] = {}
        texts = {place: text for place in live if (text := self._text(inputs[place], place, failures)) is not None}
        if texts:
            vectors = self._vectors(texts, failures)
        if len(inputs) == 1 and failures:
            raise failures[0]
        if failures:
            raise RowsFailedError(dict(sorted(failures.items())), rows=len(inputs)) from next(iter(failures.values()))
        name = self.embeddings.model_name
        yield [
            {**row, "embedding": vectors.get(place), "model_name": name if place in vectors else None}
            for place, row in enumerate(inputs)
        ]

    def _text(self, row: Row, place: int, failures: dict[int, Exception]) -> str | None:
        text: Any = row["text"]
        if isinstance(text, str):
            return text
        column = self.input_mappings.get("text", "text")
        failures[place] = DistilmqTypeError(
            f"The column '{column}' of the step '{self.name}' has to hold text, this row's is a"
            f" '{type(text).__name__}': filter such rows out before."
        )
        return None

    def _vectors(self, texts: dict[int, str], failures: dict[int, Exception]) -> dict[int, Vector]:
        """The vectors by row; rows whose requests failed go to `failures`."""
        places = list(texts)
        with asking_for(tuple(places)):
            try:
                vectors = self.embeddings.embed(list(texts.values()))
            except RequestsFailedError as error:
                failures.update({places[place]: reason for place, reason in error.failures.items()})
                return {}
        return dict(zip(places, vectors, strict=True))
