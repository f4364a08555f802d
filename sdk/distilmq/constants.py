"""Names that several parts agree on."""

from __future__ import annotations

from typing import Final

DISTILMQ_METADATA_KEY: Final = "distilmq_metadata"
"""The column that holds what steps tell about a row: raw outputs, statistics, errors."""

DISTILABEL_METADATA_KEY: Final = DISTILMQ_METADATA_KEY
"""The name under which scripts written for distilabel import it."""

ERROR_PREFIX: Final = "error_"
"""Keys of the metadata that begin so mark a failed row: no model is called for it."""

DISTISET_CONFIG_FOLDER: Final = "distiset_configs"
DISTISET_ARTIFACTS_FOLDER: Final = "artifacts"
PIPELINE_CONFIG_FILENAME: Final = "pipeline.yaml"
PIPELINE_LOG_FILENAME: Final = "pipeline.log"

STEP_NAME_PATTERN: Final = r"^[A-Za-z0-9_.-]+$"

CACHE_DIR_ENV_NAME: Final = "DISTILMQ_CACHE_DIR"
LOG_LEVEL_ENV_NAME: Final = "DISTILMQ_LOG_LEVEL"
PIPELINE_NAME_ENV_NAME: Final = "DISTILMQ_PIPELINE_NAME"
PIPELINE_CACHE_ID_ENV_NAME: Final = "DISTILMQ_PIPELINE_CACHE_ID"
