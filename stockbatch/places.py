"""Where files of a lake are: a folder of this machine, or s3://BUCKET/PATH, by pyarrow."""

import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

VARIABLES = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
"""Where keys are taken from, of the environment; ~/.aws and a machine's own role come after."""

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")
_NETWORK = ("NETWORK_CONNECTION", "Could not connect", "Could not resolve", "curlCode")
_REFUSED = (
    *("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE", "HTTP response code: 403"),
    *("HTTP status 403", "ExpiredToken", "InvalidToken"),  # what its reader has no name for
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A file or a folder, and the file system of pyarrow that it is in."""

    name: str
    filesystem: Any
    path: str
    """Its path within the file system."""


def is_url(text: str) -> bool:
    """Tell whether a text names a place of an object store."""
    return text.startswith("s3://")


def named(text: str) -> str:
    """Return a path, a file:// or an s3:// URL as it is shown and stored.

    Raises ValueError for what is none, or has a secret in it.
    """
    if not text.strip():
        raise ValueError("it is empty: give a path or s3://BUCKET/PATH")
    scheme = _SCHEME.match(text)
    if scheme is None or scheme[1] == "file":
        path = unquote(urlsplit(text).path) if scheme else text
        return os.path.normpath(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111
    if scheme[1] != "s3":
        raise ValueError(f"{scheme[1]}:// is not known here: give a path or s3://BUCKET/PATH")
    if "@" in text.removeprefix("s3://").partition("/")[0]:
        raise ValueError(f"keys do not belong into a URL: set {VARIABLES}")
    if not text.removeprefix("s3://").strip("/"):
        raise ValueError("it names no bucket: give s3://BUCKET/PATH")
    path, _, query = text.partition("?")
    return path.rstrip("/") + ("?" + query if query else "")


def hidden(text: str) -> str:
    """Return a URL without the keys that it should not have."""
    return re.sub(r"//[^/]*@", "//…@", text)


def opened(name: str) -> Place:
    """Return what a name of `named` leads to; whether it is there is not asked.

    Keys, endpoint and region come from the environment. Raises ValueError.
    """
    from pyarrow import fs

    if not is_url(name):
        return Place(name=name, filesystem=fs.LocalFileSystem(), path=name)
    url, _, query = name.partition("?")
    bucket, _, path = url.removeprefix("s3://").partition("/")
    # The path stays out of what pyarrow reads: it would take a * or a blank for an error.
    try:
        filesystem, _ = fs.FileSystem.from_uri(f"s3://{bucket}" + ("?" + query if query else ""))
    except OSError as error:
        raise ValueError(reason(error)) from None
    return Place(name=name, filesystem=filesystem, path=f"{bucket}/{path}".rstrip("/"))


def reason(error: Exception) -> str:
    """Say in one line why a file system refused something."""
    text = " ".join(str(error).split())
    if "NO_SUCH_BUCKET" in text:
        return "there is no such bucket"
    if any(word in text for word in _REFUSED):
        return f"access is denied: set {VARIABLES} to keys that may do this ({_last(text)})"
    if any(word in text for word in _NETWORK):
        return f"its server cannot be reached: see AWS_ENDPOINT_URL, AWS_REGION ({_last(text)})"
    return getattr(error, "strerror", None) or text


def _last(text: str) -> str:
    return text.rpartition("operation: ")[2].rpartition("Details: ")[2]
