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

_NO_MODULES = (
    "apigen",
    "argilla_labeller",
    "clair",
    "complexity_scorer",
    "evol_instruct",
    "evol_quality",
    "generate_embeddings",
    "genstruct",
    "image_generation",
    "improving_text_embeddings",
    "instruction_backtranslation",
    "magpie",
    "math_shepherd",
    "pair_rm",
    "prometheus_eval",
    "quality_scorer",
    "self_instruct",
    "sentence_transformers",
    "structured_generation",
    "structured_outputs",
    "text_classification",
    "text_generation_with_image",
    "ultrafeedback",
    "urial",
)

__getattr__, __dir__ = window(__name__, _PLACES, _NOT_YET, modules=_NO_MODULES)

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
