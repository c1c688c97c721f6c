"""JSON lines on standard error: what happened, to which job or request, never to which patient."""

import io
import logging
import sys
import traceback
import warnings
from types import TracebackType
from typing import Any, TextIO, cast

import structlog

from server.errors import HutongError

#: Libraries that tell of every request or job at level info: too much, and URLs may carry secrets.
_TALKATIVE = ("procrastinate", "httpx", "httpcore", "pynetdicom", "alembic", "uvicorn.access")
#: Libraries whose messages quote values of data sets, which may be a patient's.
_QUOTING = ("pydicom", "highdicom")
_Raised = tuple[type[BaseException], BaseException, TracebackType | None]


class _StandardError(io.TextIOBase):
    """Standard error as it is at each moment: whoever replaces it, e.g. a test's capture, may close it later."""

    def write(self, text: str) -> int:
        """Passes the text on."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Passes it on."""
        sys.stderr.flush()


def configure(level: str = "info") -> None:
    """Sends structlog and the standard library's loggers through one JSON renderer."""
    stream = cast(TextIO, _StandardError())
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        without_text,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=[*shared],
        )
    )
    logging.basicConfig(level=number, handlers=[handler], force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    for name in _QUOTING:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # The same libraries warn by this class, and quote there as well.
    warnings.filterwarnings("ignore", category=UserWarning)


def logger(area: str) -> Any:
    """A structlog logger that names its area."""
    return structlog.get_logger(area=area)


def without_text(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Replaces an exception by its kinds and places: the text of somebody else's error may quote a patient's data."""
    raised = event.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()
    if isinstance(raised, BaseException):
        raised = (type(raised), raised, raised.__traceback__)
    if isinstance(raised, tuple) and raised[1] is not None:
        event["error"], event["frames"] = _described(raised)
    return event


def _described(raised: _Raised) -> tuple[str, list[str]]:
    kind, error, _ = raised
    name = f"{kind.__module__}.{kind.__qualname__}"
    told = f"{name}: {error.details}" if isinstance(error, HutongError) else name
    cause = error.__cause__ or error.__context__
    if cause is not None:
        told += f" from {type(cause).__module__}.{type(cause).__qualname__}"
    frames = traceback.extract_tb(raised[2])[-12:]
    return told, [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
