"""Server WebSocket frames as bytes (RFC 6455 §5.2), so that one can be built once and written to many sockets, or
several joined into one write.
"""

import struct
from typing import Final

_SHORT: Final = [bytes((0x81, n)) for n in range(126)]


def text_frame(payload: bytes) -> bytes:
    """One unmasked, unfragmented text frame."""
    n = len(payload)
    if n < 126:
        return _SHORT[n] + payload
    if n < 65_536:
        return struct.pack(">BBH", 0x81, 126, n) + payload
    return struct.pack(">BBQ", 0x81, 127, n) + payload
