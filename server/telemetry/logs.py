"""JSON lines on standard error: what happened, to which job or request, never to which patient."""

import logging
import sys
from typing import Any

import structlog


def configure(level: str = "info") -> None:
    """Sends structlog and the standard library's loggers through one JSON renderer."""
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=structlog.processors.JSONRenderer(), foreign_pre_chain=shared)
    )
    logging.basicConfig(level=number, handlers=[handler], force=True)


def logger(area: str) -> Any:
    """A structlog logger that names its area."""
    return structlog.get_logger(area=area)
