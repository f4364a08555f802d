"""Tasks: steps that ask a language model, imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distilmq.utils.not_yet import window

if TYPE_CHECKING:
    from distilmq.steps.tasks.base import GeneratorTask, GlobalTask, Task
    from distilmq.steps.tasks.chat_generation import ChatGeneration
    from distilmq.steps.tasks.decorator import task
    from distilmq.steps.tasks.text_generation import TextGeneration
    from distilmq.typing import ChatItem, ChatType

_PLACES = {
    "ChatGeneration": "distilmq.steps.tasks.chat_generation",
    "ChatItem": "distilmq.typing",
    "ChatType": "distilmq.typing",
    "GeneratorTask": "distilmq.steps.tasks.base",
    "GlobalTask": "distilmq.steps.tasks.base",
    "Task": "distilmq.steps.tasks.base",
    "TextGeneration": "distilmq.steps.tasks.text_generation",
    "task": "distilmq.steps.tasks.decorator",
}
_NOT_YET = (
    "APIGenExecutionChecker",
    "APIGenGenerator",
    "APIGenSemanticChecker",
    "ArgillaLabeller",
    "BitextRetrievalGenerator",
    "CLAIR",
    "ComplexityScorer",
    "EmbeddingTaskGenerator",
    "EvolComplexity",
    "EvolComplexityGenerator",
    "EvolInstruct",
    "EvolInstructGenerator",
    "EvolQuality",
    "FormatPRM",
    "GenerateEmbeddings",
    "GenerateLongTextMatchingData",
    "GenerateSentencePair",
    "GenerateShortTextMatchingData",
    "GenerateTextClassificationData",
    "GenerateTextRetrievalData",
    "Genstruct",
    "ImageGeneration",
    "ImageTask",
    "InstructionBacktranslation",
    "Magpie",
    "MagpieGenerator",
    "MathShepherdCompleter",
    "MathShepherdGenerator",
    "MonolingualTripletGenerator",
    "PairRM",
    "PrometheusEval",
    "QualityScorer",
    "SelfInstruct",
    "StructuredGeneration",
    "TextClassification",
    "TextGenerationWithImage",
    "URIAL",
    "UltraFeedback",
)

__getattr__, __dir__ = window(__name__, _PLACES, _NOT_YET)

__all__ = [
    "ChatGeneration",
    "ChatItem",
    "ChatType",
    "GeneratorTask",
    "GlobalTask",
    "Task",
    "TextGeneration",
    "task",
]
