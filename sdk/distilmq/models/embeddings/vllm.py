"""Embedding models that vLLM runs in this process."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, PrivateAttr

from distilmq.errors import DistilmqUserError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.embeddings.base import Embeddings, Vector
from distilmq.models.llms.vllm_engine import gpus_wanted, released, started_engine
from distilmq.models.mixins.cuda_device_placement import CudaDevicePlacementMixin


class vLLMEmbeddings(CudaDevicePlacementMixin, Embeddings):
    """Runs an embedding model in this process, with vLLM.

    Attributes:
        model: the repository on the Hub, or a folder.
        dtype: of the weights, such as `float16`.
        trust_remote_code: whether code that comes with the model is run.
        quantization: how the weights are quantized.
        revision: of the repository.
        enforce_eager: do without CUDA graphs.
        seed: of the engine.
        extra_kwargs: further arguments of `vllm.LLM`, such as `tensor_parallel_size`.

    Examples:
        ```python
        from distilmq.models import vLLMEmbeddings
        from distilmq.steps import EmbeddingGeneration

        step = EmbeddingGeneration(embeddings=vLLMEmbeddings(model="intfloat/e5-mistral-7b-instruct"))
        ```
    """

    model: str
    dtype: str = "auto"
    trust_remote_code: bool = False
    quantization: str | None = None
    revision: str | None = None
    enforce_eager: bool = True
    seed: int = 0
    extra_kwargs: RuntimeParameter[dict[str, Any]] | None = Field(
        default_factory=dict[str, Any], description="Further arguments of `vllm.LLM`."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset({"enforce_eager"})
    process_bound: ClassVar[frozenset[str]] = frozenset({"_model"})
    runs_here: ClassVar[bool] = True

    _model: Any = PrivateAttr(default=None)
    """`vllm.LLM`, which is not installed where types are checked."""

    def load(self) -> None:
        """Loads the model.

        Raises:
            ImportError: `vllm` is not installed.
        """
        Embeddings.load(self)
        CudaDevicePlacementMixin.load(self)
        self._model = started_engine(self._options())

    def unload(self) -> None:
        """Gives the memory back."""
        engine, self._model = self._model, None
        released(engine)
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
        return [list(output.outputs.embedding) for output in self._model.embed(inputs, use_tqdm=False)]

    def _options(self) -> dict[str, Any]:
        """Arguments of `vllm.LLM`."""
        return {
            "model": self.model,
            "runner": "pooling",
            "dtype": self.dtype,
            "trust_remote_code": self.trust_remote_code,
            "quantization": self.quantization,
            "revision": self.revision,
            "enforce_eager": self.enforce_eager,
            "seed": self.seed,
            **(self.extra_kwargs or {}),
        }

    def _gpus_wanted(self) -> int:
        return gpus_wanted(self.extra_kwargs)
