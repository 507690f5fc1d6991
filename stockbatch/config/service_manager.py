"""What systemd asks of this process."""

import os
from typing import NamedTuple


class ServiceManager(NamedTuple):
    """Where systemd wants to be told how a service is, and how often; None: it does not."""

    address: str | None
    watchdog_seconds: float | None


def service_manager() -> ServiceManager:
    """Return what systemd asks of this process."""
    address = os.environ.get("NOTIFY_SOCKET")
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    wanted = address and mine and microseconds.isdigit()
    return ServiceManager(address, int(microseconds) / 1e6 if wanted else None)
