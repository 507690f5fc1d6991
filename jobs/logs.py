"""Logs of every process: readable on a terminal, JSON otherwise; secrets never get in.

All of `logging` and `structlog` ends here. What is bound by `structlog.contextvars` (the run, the
ticker) stands in every line.
"""

import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from stockbatch.text import printable

_MASK = "***"
# To the last @ of a word: a password may have every character in it, / and # and @ as well.
_URL_PASSWORD = re.compile(r"(?<=://)([^\s:/@]*):\S+(?=@)")
_NAMES = r"(?:api[-_]?key|access[-_]?key|token|password|passwd|pwd|secret|authorization|crumb)"
# Exceptions of clients carry whole requests: `apikey=…` in a URL, `"token": "…"` in JSON,
# `Authorization: Bearer …` in headers, where the scheme has to go for the value to be reached.
_ASSIGNED = re.compile(
    rf"""(?P<name>\b[\w-]*{_NAMES}["']?\s*[=:]\s*["']?)(?:(?:bearer|basic)\s+)?[^\s"'&,;)]+""",
    re.IGNORECASE,
)
# A header quoted without its name. Fewer than 8 characters are a word of prose, not a credential.
_BEARER = re.compile(r"(?P<name>\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
_SECRET_KEY = re.compile(rf"{_NAMES}$", re.IGNORECASE)

_SHORTEST = 6
"""Characters of a secret that is masked wherever it turns up: shorter ones are in every word."""

PROGRESS = "jobs.progress"
"""Logger of how far long work is."""

_known: set[str] = set()
_handler: logging.Handler | None = None


def configure(level: int, stream: TextIO | None = None, *, progress: bool = False) -> None:
    """Send everything logged from `level` on to `stream`, by default standard error.

    With `progress` also how far long work is, whatever the level.
    """
    global _handler
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _redact,
                _renderer(stream),
            ],
        )
    )
    root = logging.getLogger()
    if _handler:  # configured before: each line is said once
        root.removeHandler(_handler)
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger(PROGRESS).setLevel(logging.INFO if progress else logging.WARNING)
    logging.captureWarnings(capture=True)
    _handler = handler


def hide(secrets: Iterable[str]) -> None:
    """Mask these strings in every line from now on."""
    _known.update(secret for secret in secrets if len(secret) >= _SHORTEST)


def redacted(text: str) -> str:
    """Return a text without passwords in URLs, values of keys and tokens, and known secrets."""
    # The longest first: masking one that is a part of it would leave the rest of it readable.
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    text = _URL_PASSWORD.sub(rf"\1:{_MASK}", text)
    text = _ASSIGNED.sub(rf"\g<name>{_MASK}", text)
    return _BEARER.sub(rf"\g<name>{_MASK}", text)


def _renderer(stream: TextIO) -> Processor:
    if stream.isatty():
        return structlog.dev.ConsoleRenderer()
    return structlog.processors.JSONRenderer(ensure_ascii=False, default=str)


def _redact(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    return {key: _clean(key, value) for key, value in event.items()}


def _clean(key: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    # By the name of the field, whatever is in it: nobody could tell a key from another word.
    if _SECRET_KEY.search(key):
        return _MASK
    if isinstance(value, dict):
        return {name: _clean(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(key, inner) for inner in value]
    return printable(redacted(str(value)))
