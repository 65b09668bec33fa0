"""One attempt: a POST through the guard, and what came of it as an `Answer`. Follows nothing, remembers no cookie."""

import asyncio
from collections.abc import Mapping
from typing import Final

import aiohttp

from tracker.hooks.clock import Clock, system_ms
from tracker.hooks.guard import NOT_ALLOWED, AddressRefused, Guard
from tracker.hooks.schedule import Answer, Meaning, meaning_of, retry_after_s

TIMEOUT_S: Final = 15.0
MAX_CONNECTIONS: Final = 128
# Shorter than what common servers allow (Node: 5 s): we are the ones to close, and no request meets a closing socket.
KEEP_ALIVE_S: Final = 4.0
MAX_BODY_BYTES: Final = 64 * 1024
BODY_WITHIN_S: Final = 1.0

_HEADERS: Final = {"Content-Type": "application/json", "User-Agent": "tracker-hooks/1", "Accept": "*/*"}


class Sender:
    """Sends to receivers over connections that are kept for the next delivery."""

    def __init__(self, guard: Guard, clock: Clock = system_ms, timeout_s: float = TIMEOUT_S) -> None:
        self._guard = guard
        self._clock = clock
        self._timeout_s = timeout_s
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Any 2xx is success, whatever its body; everything that can go wrong on the way is an answer, too."""
        session = self._session(url.partition(":")[0].lower())
        try:
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                await _read_away(response)
                return self._answer(response)
        except (TimeoutError, aiohttp.ClientError) as error:
            return Answer(None, self._reason(error))

    def _session(self, scheme: str) -> aiohttp.ClientSession:
        """Plain http has sockets of its own, because the guard is stricter there."""
        if scheme not in self._sessions:
            connector = aiohttp.TCPConnector(
                limit=MAX_CONNECTIONS,
                keepalive_timeout=KEEP_ALIVE_S,
                socket_factory=self._guard.socket_factory(plain=scheme != "https"),
            )
            self._sessions[scheme] = aiohttp.ClientSession(
                connector=connector,
                headers=_HEADERS,
                skip_auto_headers=("Accept-Encoding",),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._sessions[scheme]

    def _answer(self, response: aiohttp.ClientResponse) -> Answer:
        status = response.status
        if meaning_of(status) is Meaning.SUCCESS:
            return Answer(status)
        error = f"the receiver answered {status}" + ("; redirects are not followed" if status // 100 == 3 else "")
        return Answer(status, error, retry_after_s(response.headers.get("Retry-After"), self._clock()))

    def _reason(self, error: Exception) -> str:
        """In our words: what the receiver or the resolver wrote does not enter the log."""
        if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, AddressRefused):
            return NOT_ALLOWED
        if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
            return "the connection was refused"
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout_s:g} s"
        return next(reason for kind, reason in _REASONS if isinstance(error, kind))


_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (aiohttp.ClientConnectorCertificateError, "the certificate is not valid"),
    (aiohttp.ClientSSLError, "TLS could not be established"),
    (aiohttp.ClientConnectorDNSError, "the name could not be resolved"),
    (aiohttp.ClientConnectorError, "the connection could not be made"),
    (aiohttp.InvalidURL, "the URL cannot be used"),
    (aiohttp.ClientConnectionError, "the connection was closed before an answer"),
    (Exception, "the answer was not HTTP"),
)


async def _read_away(response: aiohttp.ClientResponse) -> None:
    """Read a short answer to its end, so that the connection can be used again; close that of a long or slow one."""
    if response.content.at_eof():
        return
    left_bytes = MAX_BODY_BYTES
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            while left_bytes > 0 and (chunk := await response.content.read(left_bytes)):
                left_bytes -= len(chunk)
    except (TimeoutError, aiohttp.ClientError):
        left_bytes = 0
    if left_bytes <= 0:
        response.close()
