"""Models of the library sentence-transformers, run in this process."""

from __future__ import annotations

import gc
import os
from typing import Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, SecretStr

from distilmq.errors import DistilmqUserError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.embeddings.base import Embeddings, Vector
from distilmq.models.llms.credentials import key_from
from distilmq.models.llms.utils import optional_library
from distilmq.models.mixins.cuda_device_placement import CudaDevicePlacementMixin

_CUDA = "cuda"


class SentenceTransformerEmbeddings(CudaDevicePlacementMixin, Embeddings):
    """Runs a sentence-transformers model in this process.

    A batch of the step is worked on as a whole: its `input_batch_size` says how much memory that takes.

    Attributes:
        model: the repository on the Hub, or a folder.
        device: such as `cuda` or `cpu`; a GPU where there is one, when it is not given.
        prompts: texts that may be put before each input, by name.
        default_prompt_name: which of the prompts is put before each input.
        trust_remote_code: whether code that comes with the model is run.
        revision: of the repository.
        token: of the Hub; from `HF_TOKEN` when it is not given.
        truncate_dim: how many numbers of a vector are kept.
        model_kwargs: further arguments for the model's class.
        tokenizer_kwargs: further arguments for the tokenizer's class.
        config_kwargs: further arguments for the configuration's class.
        precision: of the vectors' numbers.
        normalize_embeddings: whether vectors have the length 1.

    Examples:
        ```python
        from distilmq.models import SentenceTransformerEmbeddings
        from distilmq.steps import EmbeddingGeneration

        step = EmbeddingGeneration(
            embeddings=SentenceTransformerEmbeddings(model="sentence-transformers/all-MiniLM-L6-v2"),
            input_batch_size=256,
        )
        ```
    """

    model: str
    device: RuntimeParameter[str] | None = Field(default=None, description="The device that the model is loaded on.")
    prompts: dict[str, str] | None = None
    default_prompt_name: str | None = None
    trust_remote_code: bool = False
    revision: str | None = None
    token: RuntimeParameter[SecretStr] | None = Field(
        default_factory=lambda: key_from("HF_TOKEN"), description="The token of the Hub."
    )
    truncate_dim: int | None = None
    model_kwargs: dict[str, Any] | None = None
    tokenizer_kwargs: dict[str, Any] | None = None
    config_kwargs: dict[str, Any] | None = None
    precision: Literal["float32", "int8", "uint8", "binary", "ubinary"] | None = "float32"
    normalize_embeddings: RuntimeParameter[bool] = Field(
        default=True, description="Whether the vectors have the length 1."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"device", "token"})
    process_bound: ClassVar[frozenset[str]] = frozenset({"_model"})
    runs_here: ClassVar[bool] = True

    _model: Any = PrivateAttr(default=None)
    """`sentence_transformers.SentenceTransformer`, which is not installed where types are checked."""

    def load(self) -> None:
        """Loads the model.

        Raises:
            ImportError: `sentence-transformers` is not installed.
            DistilmqUserError: there is no such model.
        """
        Embeddings.load(self)
        if self.device == _CUDA:
            CudaDevicePlacementMixin.load(self)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its warning at every fork tells nothing
        library = optional_library("sentence_transformers", "sentence-transformers")
        try:
            self._model = library.SentenceTransformer(self.model, **self._options())
        except (OSError, ValueError) as error:
            raise DistilmqUserError(f"'{self.model}' cannot be loaded by sentence-transformers: {error}") from error

    def unload(self) -> None:
        """Gives the memory back."""
        self._model = None
        gc.collect()
        CudaDevicePlacementMixin.unload(self)
        Embeddings.unload(self)

    @property
    def model_name(self) -> str:
        """The model's name."""
        return self.model

    def encode(self, inputs: list[str]) -> list[Vector]:
        """A vector for each text.

        Args:
            inputs: the texts.
        """
        if self._model is None:
            raise DistilmqUserError(f"'{self.model_name}' is not loaded: call `load()` first.")
        if not inputs:
            return []
        return self._model.encode(
            inputs,
            batch_size=len(inputs),
            show_progress_bar=False,
            convert_to_numpy=True,
            precision=self.precision or "float32",
            normalize_embeddings=bool(self.normalize_embeddings),
        ).tolist()

    def _options(self) -> dict[str, Any]:
        """Of the library's class."""
        return {
            "device": self.device,
            "prompts": self.prompts,
            "default_prompt_name": self.default_prompt_name,
            "trust_remote_code": self.trust_remote_code,
            "revision": self.revision,
            "token": self.token.get_secret_value() if self.token is not None else None,
            "truncate_dim": self.truncate_dim,
            "model_kwargs": self.model_kwargs,
            "tokenizer_kwargs": self.tokenizer_kwargs,
            "config_kwargs": self.config_kwargs,
        }
