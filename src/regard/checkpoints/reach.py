"""Whether a server can be reached at all, found out in one short try.

The Hub's own client tries five times over 20 seconds before it says that there is no network.
"""

import socket
import time
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

#: Seconds that a connection may take.
PATIENCE = 3.0
#: Seconds for which the answer counts: loading a model asks for several files.
_KEPT = 30.0
_PORTS = {"http": 80, "https": 443}

_found: dict[str, tuple[float, OSError | None]] = {}


def unreached(address: str) -> OSError | None:
    """Return why there is no connection to a server, or the proxy before it; None if there is one.

    Args:
        address: Of the server, ``"https://huggingface.co"``.
    """
    known, now = _found.get(address), time.monotonic()
    if known is None or now - known[0] > _KEPT:
        known = _found[address] = now, _try(address)
    return known[1]


def _try(address: str) -> OSError | None:
    server = urlsplit(address)
    proxy = getproxies().get(server.scheme) or getproxies().get("all")
    if proxy and not proxy_bypass(server.hostname or ""):
        server = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    port = server.port or _PORTS.get(server.scheme)
    if server.hostname is None or port is None:
        return None  # the Hub's client says what it thinks of such an address
    try:
        socket.create_connection((server.hostname, port), PATIENCE).close()
    except OSError as error:
        return error
    return None
