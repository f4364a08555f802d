"""Embeddings of models in GGUF files, run in this process by llama.cpp."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, ClassVar, cast

from pydantic import Field, PositiveInt, PrivateAttr

from distilmq.errors import DistilmqUserError
from distilmq.mixins.runtime_parameters import RuntimeParameter
from distilmq.models.embeddings.base import Embeddings, Vector
from distilmq.models.llms.gguf import names_pooling
from distilmq.models.llms.llamacpp_engine import (
    as_answer,
    engine_library,
    engine_parameters,
    set_further,
    started_engine,
)
from distilmq.models.mixins.cuda_device_placement import CudaDevicePlacementMixin

RANDOM_SEED = 4294967295
_AT_ONCE = 4
"""Texts that are worked on together."""
_AS_THEY_ARE, _EUCLIDEAN = -1, 2
"""How llama.cpp is told to scale vectors."""


class LlamaCppEmbeddings(CudaDevicePlacementMixin, Embeddings):
    """Runs an embedding model in this process.

    A text's vector is made of its tokens' as the file says; where it says nothing, it is their mean.

    Attributes:
        model: the name of the GGUF file.
        model_path: the folder it lies in, or the file itself.
        repo_id: the repository on the Hub that it is fetched from, when `model_path` is not given.
        n_gpu_layers: layers that go to the GPU; -1 for all.
        n_ctx: tokens that one text may have.
        n_batch: tokens that are worked on at once; a text is never shared out, so it is `n_ctx` at least.
        seed: accepted for scripts of distilabel; nothing is random here.
        normalize_embeddings: whether vectors have the length 1.
        verbose: let llama.cpp tell what it does on the standard error.
        extra_kwargs: further parameters of the engine (`xllamacpp.CommonParams`).
        disable_cuda_device_placement: leave it to llama.cpp which GPU it runs on.

    Examples:
        ```python
        from distilmq.models import LlamaCppEmbeddings
        from distilmq.models.llms.gguf import quickstart_weights

        weights = quickstart_weights()
        embeddings = LlamaCppEmbeddings(model=weights.name, model_path=str(weights.parent))
        embeddings.load()
        [one, two] = embeddings.embed(["What is a queue?", "What is a stack?"])
        embeddings.unload()
        assert len(one) == len(two)
        ```
    """

    model: str
    model_path: RuntimeParameter[str] | None = Field(default=None, description="The folder of the GGUF file.")
    repo_id: RuntimeParameter[str] | None = Field(
        default=None, description="The repository on the Hub that the GGUF file is fetched from."
    )
    n_gpu_layers: RuntimeParameter[int] = Field(default=-1, description="The number of layers on the GPU.")
    n_ctx: PositiveInt = 512
    n_batch: PositiveInt = 512
    seed: int = RANDOM_SEED
    normalize_embeddings: RuntimeParameter[bool] = Field(
        default=False, description="Whether the vectors have the length 1."
    )
    verbose: RuntimeParameter[bool] = Field(default=False, description="Whether llama.cpp tells what it does.")
    extra_kwargs: RuntimeParameter[dict[str, Any]] | None = Field(
        default_factory=dict[str, Any], description="Further parameters of the engine."
    )
    disable_cuda_device_placement: RuntimeParameter[bool] = Field(
        default=True, description="Whether to leave it to the engine on which device it runs."
    )

    operational_fields: ClassVar[frozenset[str]] = frozenset(
        {"model_path", "n_batch", "n_gpu_layers", "seed", "verbose"}
    )
    process_bound: ClassVar[frozenset[str]] = frozenset({"_server"})
    runs_here: ClassVar[bool] = True

    _server: Any = PrivateAttr(default=None)
    """`xllamacpp.Server`, which has no types."""

    def load(self) -> None:
        """Loads the weights.

        Raises:
            ImportError: `xllamacpp` is not installed.
            DistilmqUserError: there is no such file, or an engine parameter does not exist.
        """
        Embeddings.load(self)
        CudaDevicePlacementMixin.load(self)
        library = engine_library()
        path = self._path()
        parameters = self._parameters(library, path)
        self._server = started_engine(library, parameters, path)
        # An engine that goes away before its loop has begun sometimes hangs: one that has answered is past that.
        self.encode([" "])

    def unload(self) -> None:
        """Gives the memory back."""
        self._server = None
        gc.collect()  # the engine's methods refer to it and it to them: it is not freed by counting
        CudaDevicePlacementMixin.unload(self)
        Embeddings.unload(self)

    @property
    def model_name(self) -> str:
        """The name of the file."""
        return self.model

    def encode(self, inputs: list[str]) -> list[Vector]:
        """A vector for each text.

        Args:
            inputs: the texts.

        Raises:
            TooLongError: one of them has more tokens than `n_ctx`.
        """
        if self._server is None:
            raise DistilmqUserError(f"'{self.model_name}' is not loaded: call `load()` first.")
        if not inputs:
            return []
        scaling = _EUCLIDEAN if self.normalize_embeddings else _AS_THEY_ARE
        given = self._server.handle_embeddings({"input": inputs, "embd_normalize": scaling})
        answer = as_answer(given, who=f"'{self.model_name}'")
        data = sorted(cast("list[dict[str, Any]]", answer["data"]), key=lambda each: each["index"])
        return [each["embedding"] for each in data]

    def _path(self) -> Path:
        if self.model_path is not None:
            given = Path(self.model_path).expanduser()
            path = given if given.is_file() else given / self.model
        elif self.repo_id is not None:
            return self._fetched(self.repo_id)
        else:
            raise DistilmqUserError(
                f"`{type(self).__name__}` needs one of `model_path` and `repo_id`, to find '{self.model}'."
            )
        if not path.is_file():
            raise DistilmqUserError(
                f"`model_path` of `{type(self).__name__}` leads to '{path}': there is no such file."
            )
        return path

    def _fetched(self, repo_id: str) -> Path:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        hub: Any = huggingface_hub
        try:
            return Path(hub.hf_hub_download(repo_id, self.model))
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
            raise DistilmqUserError(f"The Hub does not give '{self.model}' of '{repo_id}': {error}") from error

    def _parameters(self, library: Any, path: Path) -> Any:
        size = max(self.n_batch, self.n_ctx)
        parameters = engine_parameters(
            library, path, n_gpu_layers=self.n_gpu_layers, n_batch=size, verbose=self.verbose
        )
        parameters.embedding = True
        parameters.n_ctx = self.n_ctx * _AT_ONCE  # the engine shares it out
        parameters.n_ubatch = size
        parameters.n_parallel = _AT_ONCE
        if not names_pooling(path):
            parameters.pooling_type = library.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        set_further(parameters, self.extra_kwargs, who=type(self).__name__)
        return parameters
