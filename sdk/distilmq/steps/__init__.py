"""Steps: what transforms rows, batch by batch or all at once, and what generates them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilmq.utils.not_yet import window

if TYPE_CHECKING:
    from distilmq.steps.base import GeneratorStep, GlobalStep, Step, StepInput, StepResources
    from distilmq.steps.columns.combine import CombineOutputs
    from distilmq.steps.columns.expand import ExpandColumns
    from distilmq.steps.columns.group import GroupColumns
    from distilmq.steps.columns.keep import KeepColumns
    from distilmq.steps.columns.merge import MergeColumns
    from distilmq.steps.decorator import step
    from distilmq.steps.embeddings.embedding_generation import EmbeddingGeneration
    from distilmq.steps.formatting.conversation import ConversationTemplate
    from distilmq.steps.formatting.dpo import FormatChatGenerationDPO, FormatTextGenerationDPO
    from distilmq.steps.formatting.sft import FormatChatGenerationSFT, FormatTextGenerationSFT
    from distilmq.steps.generators.data import LoadDataFromDicts
    from distilmq.steps.generators.data_sampler import DataSampler
    from distilmq.steps.generators.huggingface import LoadDataFromDisk, LoadDataFromFileSystem, LoadDataFromHub
    from distilmq.steps.generators.utils import make_generator_step
    from distilmq.steps.globals.huggingface import PushToHub
    from distilmq.steps.truncate import TruncateTextColumn
    from distilmq.typing import GeneratorStepOutput, StepColumns, StepOutput

_PLACES = {
    "CombineOutputs": "distilmq.steps.columns.combine",
    "ConversationTemplate": "distilmq.steps.formatting.conversation",
    "DataSampler": "distilmq.steps.generators.data_sampler",
    "EmbeddingGeneration": "distilmq.steps.embeddings.embedding_generation",
    "ExpandColumns": "distilmq.steps.columns.expand",
    "FormatChatGenerationDPO": "distilmq.steps.formatting.dpo",
    "FormatChatGenerationSFT": "distilmq.steps.formatting.sft",
    "FormatTextGenerationDPO": "distilmq.steps.formatting.dpo",
    "FormatTextGenerationSFT": "distilmq.steps.formatting.sft",
    "GeneratorStep": "distilmq.steps.base",
    "GeneratorStepOutput": "distilmq.typing",
    "GlobalStep": "distilmq.steps.base",
    "GroupColumns": "distilmq.steps.columns.group",
    "KeepColumns": "distilmq.steps.columns.keep",
    "LoadDataFromDicts": "distilmq.steps.generators.data",
    "LoadDataFromDisk": "distilmq.steps.generators.huggingface",
    "LoadDataFromFileSystem": "distilmq.steps.generators.huggingface",
    "LoadDataFromHub": "distilmq.steps.generators.huggingface",
    "MergeColumns": "distilmq.steps.columns.merge",
    "PushToHub": "distilmq.steps.globals.huggingface",
    "Step": "distilmq.steps.base",
    "StepColumns": "distilmq.typing",
    "StepInput": "distilmq.steps.base",
    "StepOutput": "distilmq.typing",
    "StepResources": "distilmq.steps.base",
    "TruncateTextColumn": "distilmq.steps.truncate",
    "make_generator_step": "distilmq.steps.generators.utils",
    "step": "distilmq.steps.decorator",
}
"""Who owns each name: imported when it is first asked for, since most pipelines need a few of them."""

NOT_YET = [
    "DBSCAN",
    "DeitaFiltering",
    "EmbeddingDedup",
    "FaissNearestNeighbour",
    "MinHashDedup",
    "PreferenceToArgilla",
    "RewardModelScore",
    "TextClustering",
    "TextGenerationToArgilla",
    "UMAP",
]
"""Steps of distilabel that are not built."""

_NO_MODULES = ["argilla", "clustering", "deita", "filtering", "reward_model"]

__all__ = [
    "CombineOutputs",
    "ConversationTemplate",
    "DataSampler",
    "EmbeddingGeneration",
    "ExpandColumns",
    "FormatChatGenerationDPO",
    "FormatChatGenerationSFT",
    "FormatTextGenerationDPO",
    "FormatTextGenerationSFT",
    "GeneratorStep",
    "GeneratorStepOutput",
    "GlobalStep",
    "GroupColumns",
    "KeepColumns",
    "LoadDataFromDicts",
    "LoadDataFromDisk",
    "LoadDataFromFileSystem",
    "LoadDataFromHub",
    "MergeColumns",
    "PushToHub",
    "Step",
    "StepColumns",
    "StepInput",
    "StepOutput",
    "StepResources",
    "TruncateTextColumn",
    "make_generator_step",
    "step",
]

__getattr__, __dir__ = window(__name__, _PLACES, NOT_YET, modules=_NO_MODULES)
