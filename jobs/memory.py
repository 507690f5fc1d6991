"""Memory that was freed: kept by a process while it works, given back when it rests.

By itself the C library hands every large array back to the system as soon as it is freed, and the
next one is mapped and cleared page by page: of ten thousand tickers that took an eighth of a night.
"""

import ctypes
import sys
from typing import Any

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Names of the C library's parameters, see mallopt(3)."""
LARGEST = 256 * 2**20
"""Bytes of an array from which on it is given back at once."""
KEPT = 512 * 2**20
"""Bytes that are kept at most."""


def keep_freed() -> None:
    """Let this process use the memory of freed arrays again, where the C library is GNU's."""
    library = _gnu()
    if library is not None:
        library.mallopt(MMAP_THRESHOLD, LARGEST)
        library.mallopt(TRIM_THRESHOLD, KEPT)


def give_back() -> None:
    """Give back to the system what is kept."""
    library = _gnu()
    if library is not None:
        library.malloc_trim(0)


def _gnu() -> Any:
    """Return GNU's C library, None where it is another one."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None
