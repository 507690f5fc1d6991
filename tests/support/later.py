"""Modules that take long to import, for files whose tests are collected by every worker."""

from importlib import import_module
from typing import Any


class Later:
    """A module that is imported when something of it is first asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest asks everything in a file of tests for such names
            raise AttributeError(name)
        return getattr(import_module(self._name), name)
