"""Who may ask: a token in the address, and browsers that show our own page.

A page of somebody else's, open in the same browser, can send requests to 127.0.0.1, and by a name that it
lets point there even read the answers. It knows no token; its requests say another Origin; and such a name
stands in the Host header.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from vidsr.errors import OptionsError

__all__ = ["HEADERS", "Access", "parse_listen"]

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " media-src blob:; img-src 'self' blob: data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer: the token stays in this browser, and the page loads nothing from elsewhere."""

_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


class Access:
    """Checks requests.

    Attributes:
        token: What the address has to begin with.
    """

    def __init__(self, host: str = "127.0.0.1", *, token: str | None = None) -> None:
        """Decide by which names this server may be called.

        Args:
            host: What it listens on.
            token: For tests; None: a new one.
        """
        self.token = token or secrets.token_urlsafe(24)
        self._open = host.strip("[]") not in _LOOPBACK
        self._names = set(_LOOPBACK)
        if self._open:
            self._names |= {host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}

    def refused(self, token: str, method: str, headers: Mapping[str, str]) -> str:
        """Say why a request is refused; nothing: it is not.

        Args:
            token: The first part of its path.
            method: GET, POST, ...
            headers: By their names in lower case.
        """
        host = headers.get("host", "")
        if not self._named(host):
            return "this host is not known here"
        origin = headers.get("origin")
        if origin is None and method not in ("GET", "HEAD"):
            return "a request that changes something must say its Origin"
        if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            return "another site's page asks"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "another site's page asks"
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return "the address is not complete: copy it as vidsr prints it"
        return ""

    def _named(self, host: str) -> bool:
        """Tell whether a Host header names this machine; any port, for ssh may forward another."""
        try:
            parts = urlsplit(f"//{host}")
            name, _ = parts.hostname or "", parts.port
        except ValueError:
            return False
        if "@" in host or "/" in host or "?" in host or "#" in host or "\\" in host:
            return False
        if name in self._names:
            return True
        # A bare address cannot be pointed somewhere else, as a name can.
        return self._open and _is_address(name)


def parse_listen(text: str) -> tuple[str, int]:
    """Return host and port of "0.0.0.0", "192.168.1.5:8000" or "[::]:8000"; port 0: any.

    Raises:
        OptionsError: It is none of these.
    """
    bare = text.count(":") > 1 and not text.startswith("[")
    try:
        parts = urlsplit(f"//[{text}]" if bare else f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.path or parts.query or parts.username is not None:
        raise OptionsError(f"--listen takes a host, or host:port, not '{text}'", hint="write 0.0.0.0:8000")
    return host, port or 0


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
