"""Pushing rows to the Hugging Face Hub from within a pipeline."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Optional

from pydantic import Field, SecretStr

from distilmq.errors import DistilmqUserError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.steps.base import GlobalStep, StepInput
from distilmq.typing import Row, StepOutput
from distilmq.utils.columns import unique
from distilmq.utils.untyped import untyped


class PushToHub(GlobalStep):
    """Pushes all rows to the Hub as a dataset, and passes them on.

    Attributes:
        repo_id: the dataset's name on the Hub.
        split: the split to push the rows as, `train` when not given.
        private: whether a dataset that is made by this is private.
        token: the Hub's token; that of the environment or of `hf auth login` when not given.

    Input columns:
        - dynamic: all columns are pushed.

    Categories:
        - save
        - dataset

    Examples:
        Push what a pipeline made:

        ```python
        from distilmq.steps import PushToHub

        push = PushToHub(repo_id="path_to/repo")
        ```
    """

    repo_id: RuntimeParameter[str] = Field(
        default=None, description="The Hugging Face Hub repository ID of the dataset to push to."
    )
    split: RuntimeParameter[str] = Field(default="train", description="The split of the dataset that will be pushed.")
    private: RuntimeParameter[bool] = Field(default=False, description="Whether the dataset is private or not.")
    token: Optional[RuntimeParameter[SecretStr]] = Field(  # noqa: UP045  # the marker of an optional parameter
        default=None, description="The token that will be used to authenticate in the Hub."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"token"})

    def process(self, inputs: StepInput) -> StepOutput:  # pyright: ignore[reportIncompatibleMethodOverride]  # takes one list
        """Pushes the rows.

        Args:
            inputs: all rows.

        Yields:
            The same rows.
        """
        if not self.repo_id:
            raise DistilmqUserError(f"Step '{self.name}' needs `repo_id`: the name of the dataset on the Hub.")
        as_dataset(inputs).push_to_hub(
            self.repo_id,
            split=self.split,
            private=self.private,
            token=self.token.get_secret_value() if self.token is not None else None,
        )
        yield inputs


def as_dataset(rows: list[Row]) -> Any:
    """Rows as a `datasets.Dataset`; a column whose values have no common type becomes JSON text."""
    hub, arrow = untyped("datasets"), untyped("pyarrow")
    columns = {name: [row.get(name) for row in rows] for name in unique(name for row in rows for name in row)}
    for name, values in columns.items():
        try:
            arrow.array(values)
        except arrow.ArrowException:
            if not any(hasattr(value, "tobytes") for value in values):  # arrays and images are for `datasets` to say
                columns[name] = [None if value is None else json.dumps(value, default=str) for value in values]
    return hub.Dataset.from_dict(columns)
