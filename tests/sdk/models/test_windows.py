"""What `distilmq.models` offers, and what it says of names that are not built."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from distilmq import models
from distilmq.models import embeddings, llms, mixins


@pytest.mark.parametrize("name", models.__all__)
def test_every_name_it_lists_can_be_imported(name: str) -> None:
    places = [place for place in (llms, embeddings, mixins) if name in place.__all__]

    assert all(getattr(models, name) is getattr(place, name) for place in places)
    assert places
    assert name in dir(models)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("distilmq.models", "MlxLLM"),
        ("distilmq.models.llms", "MlxLLM"),
        ("distilmq.llms", "MlxLLM"),
        ("distilmq.models.image_generation", "OpenAIImageGeneration"),
    ],
)
def test_a_name_that_is_not_built_says_so(module: str, name: str) -> None:
    with pytest.raises(ImportError, match=f"{name}' is not in distilmq yet"):
        getattr(importlib.import_module(module), name)


def test_the_old_path_of_language_models_leads_to_the_new_one() -> None:
    from distilmq.llms import OpenAILLM

    assert OpenAILLM is models.OpenAILLM


def test_the_old_path_of_embeddings_leads_to_the_new_one() -> None:
    from distilmq.embeddings import SentenceTransformerEmbeddings

    assert SentenceTransformerEmbeddings is models.SentenceTransformerEmbeddings


def test_no_provider_is_imported_before_it_is_loaded() -> None:
    heavy = [
        "anthropic",
        "huggingface_hub",
        "litellm",
        "openai",
        "mistralai",
        "google.genai",
        "xllamacpp",
        "aiohttp",
        "jinja2",
    ]
    code = (
        "import sys\n"
        "from distilmq import models\n"
        "for name in models.__all__:\n"
        "    getattr(models, name)\n"
        "from distilmq.steps import EmbeddingGeneration\n"
        "from distilmq.steps.tasks import ChatGeneration, TextGeneration\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("library", "code", "fix"),
    [
        ("anthropic", "AnthropicLLM(model='m', api_key='k')", 'pip install "distilmq[anthropic]"'),
        ("litellm", "LiteLLM(model='m')", 'pip install "distilmq[litellm]"'),
        ("mistralai.client", "MistralLLM(model='m', api_key='k')", 'pip install "distilmq[mistralai]"'),
        ("google.genai", "VertexAILLM(model='gemini-1.0-pro')", 'pip install "distilmq[vertexai]"'),
        ("xllamacpp", "LlamaCppLLM(model_path='m.gguf')", 'pip install "distilmq[llama-cpp]"'),
        ("xllamacpp", "LlamaCppEmbeddings(model='m.gguf', model_path='.')", 'pip install "distilmq[llama-cpp]"'),
        (
            "sentence_transformers",
            "SentenceTransformerEmbeddings(model='m')",
            'pip install "distilmq[sentence-transformers]"',
        ),
        ("transformers", "TransformersLLM(model='m')", 'pip install "distilmq[hf-transformers]"'),
        ("vllm", "vLLM(model='m')", 'pip install "distilmq[vllm]"'),
        ("vllm", "vLLMEmbeddings(model='m')", 'pip install "distilmq[vllm]"'),
    ],
)
def test_a_missing_library_is_named_with_what_installs_it(library: str, code: str, fix: str) -> None:
    script = f"import sys; sys.modules[{library!r}] = None\nfrom distilmq.models import *\n{code}.load()"

    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)

    assert found.stderr.splitlines()[-1].startswith("ImportError: ")
    assert fix in found.stderr


def test_a_local_model_saved_by_distilabel_loads_without_its_path() -> None:
    info = {"module": "distilabel.models.llms.llamacpp", "name": "LlamaCppLLM"}

    llm = models.LLM.from_dict({"n_ctx": 512, "use_magpie_template": False, "type_info": info})

    assert isinstance(llm, models.LlamaCppLLM)
    assert llm.model_path is None


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("distilabel.models.llms.vllm", "ClientvLLM"),
        ("distilabel.models.llms.vllm", "vLLM"),
        ("distilabel.models.llms.huggingface.transformers", "TransformersLLM"),
        ("distilabel.models.llms.huggingface.inference_endpoints", "InferenceEndpointsLLM"),
        ("distilabel.models.llms.anthropic", "AnthropicLLM"),
        ("distilabel.models.llms.anyscale", "AnyscaleLLM"),
        ("distilabel.models.llms.azure", "AzureOpenAILLM"),
        ("distilabel.models.llms.cohere", "CohereLLM"),
        ("distilabel.models.llms.groq", "GroqLLM"),
        ("distilabel.models.llms.litellm", "LiteLLM"),
        ("distilabel.models.llms.ollama", "OllamaLLM"),
        ("distilabel.models.llms.together", "TogetherLLM"),
    ],
)
def test_a_model_saved_by_distilabel_loads(module: str, name: str) -> None:
    model = {"model_id": "org/model"} if name == "InferenceEndpointsLLM" else {"model": "m"}

    llm = models.LLM.from_dict({**model, "type_info": {"module": module, "name": name}})

    assert isinstance(llm, getattr(models, name))
