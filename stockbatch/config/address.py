"""HOST:PORT, as settings and options name where something listens."""

import re
import socket
from ipaddress import ip_address
from typing import NamedTuple

# An IPv6 host has colons of its own, so that only brackets tell where it ends.
_WRITTEN = re.compile(
    r"(?:\[(?P<ipv6>[^\s/\[\]]*:[^\s/\[\]]*)\]|(?P<name>[^\s:/\[\]]+)):(?P<port>[0-9]+)"
)

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Hosts that only this machine reaches."""

_NUMBERS = re.compile(r"[0-9.]+")


class Address(NamedTuple):
    """Where a server listens; as text, HOST:PORT with an IPv6 host in brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Return what HOST:PORT says; raises ValueError, saying how to write it."""
        written = _WRITTEN.fullmatch(text)
        if written is None or int(written["port"]) >= 2**16:
            raise ValueError("write it as HOST:PORT, e.g. 127.0.0.1:9464 or [::1]:9464")
        host = written["ipv6"] or written["name"]
        if written["ipv6"] or _NUMBERS.fullmatch(host):
            ip_address(host)  # a name can be looked up only where it is used
        return cls(host, int(written["port"]))

    @property
    def family(self) -> socket.AddressFamily:
        """The family of a socket that listens there."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
