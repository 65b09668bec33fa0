"""The door for devices: `/v1/ingest`, as a WebSocket and as POST. It reads frames into the open batch and writes the
answers.

It stops reading while the batch is full, so that a device feels it as TCP back-pressure; what a device does not read
of its
answers is bounded, too.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from tracker.access.roles import public
from tracker.access.tokens import DeviceToken
from tracker.domain.fix import MAX_MESSAGE_BYTES
from tracker.domain.fleet import Device, Fleet
from tracker.domain.reachability import CLOSED, CLOSED_BY_SERVER, LOST
from tracker.doors.goodbye import Goodbye, say_to_all
from tracker.doors.identity import ACCESS, bearer
from tracker.doors.keys import DATABASE, FLEET, OPENINGS, REACHABILITY, WRITER
from tracker.doors.problems import problem
from tracker.doors.shortcut import DeviceSocket
from tracker.errors import (
    InvalidField,
    MalformedMessage,
    NotFound,
    RefusedByDatabase,
    StoreUnavailable,
    Superseded,
    TooLarge,
    Unauthenticated,
    edge,
)
from tracker.memory import Closings
from tracker.pipeline.admission import NAMED_BY_SERVER, open_named, open_unnamed
from tracker.pipeline.commit import Writer, now_ms
from tracker.pipeline.intake import Intake
from tracker.pipeline.stream import Lane, Source
from tracker.store.database import Database
from tracker.wire import ids
from tracker.wire.binary import MAGIC
from tracker.wire.device import (
    Ack,
    Command,
    Config,
    Error,
    Hello,
    Reject,
    Result,
    SlowDown,
    Status,
    StreamName,
    Welcome,
)
from tracker.wire.websocket import text_frame

log = logging.getLogger(__name__)

HEARTBEAT_S: Final = 30.0
SLOW_DOWN_EVERY_S: Final = 8.0
UNREAD_LIMIT_BYTES: Final = 1024 * 1024  # of answers that a device has not read
MAX_LANES: Final = 10_000  # of one socket
FIXES: Final = (b'{"type":"fixes"', b'{"type": "fixes"')  # how nearly every frame begins: told without decoding
SUBPROTOCOL: Final = "tracker.token."
GOODBYE_WITHIN_S: Final = 2.0

_hello = msgspec.json.Decoder(Hello | Result | Status)


class _Head(msgspec.Struct):
    type: str | None = None


_head = msgspec.json.Decoder(_Head)


class DeviceSockets:
    """The open sockets of devices, to send them commands and to close them. One per server."""

    def __init__(self, closings: Closings) -> None:
        self._sockets: set[_Socket] = set()
        self._closings = closings

    def __len__(self) -> int:
        return len(self._sockets)

    def add(self, socket: "_Socket") -> None:
        self._sockets.add(socket)

    def discard(self, socket: "_Socket") -> None:
        self._sockets.discard(socket)
        self._closings.count(len(self._sockets))

    def send_command(self, device_id: int, command_id: int, name: str, args: dict[str, Any]) -> None:
        """To wherever the device is connected; a device that is not finds it waiting."""
        message = msgspec.json.encode(Command(ids.public_id(ids.COMMAND, command_id), name, args))
        for socket in self._of(device_id):
            socket.send([message])

    def send_config(self, device_id: int, config: dict[str, Any]) -> None:
        for socket in self._of(device_id):
            socket.send([msgspec.json.encode(Config(config))])

    def _of(self, device_id: int) -> "list[_Socket]":
        return [
            socket
            for socket in self._sockets
            if any(lane.device.id == device_id for lane in socket.source.lanes.values())
        ]

    def revoked(self, token_id: int) -> None:
        """Close what was opened with a token that ended."""
        for socket in [socket for socket in self._sockets if socket.token.token_id == token_id]:
            socket.goodbye.say(4401, "the token was revoked")

    async def close(self) -> None:
        """Say goodbye to all, at once and with a deadline."""
        goodbyes = [socket.goodbye for socket in self._sockets]
        await say_to_all(goodbyes, WSCloseCode.GOING_AWAY, "the server stops; come again", GOODBYE_WITHIN_S)


SOCKETS: Final = web.AppKey("device_sockets", DeviceSockets)


@dataclass(slots=True, eq=False)
class _Socket:
    """One device's or gateway's connection."""

    request: web.Request
    token: DeviceToken
    protocol: str | None
    ws: DeviceSocket = field(init=False)
    intake: Intake = field(init=False)
    source: Source = field(init=False)
    goodbye: Goodbye = field(init=False)
    device: int | None = None  # whose own socket it is, once that was welcomed
    left: bool = False  # the peer said goodbye

    def __post_init__(self) -> None:
        self.ws = DeviceSocket(
            self.take,
            max_msg_size=MAX_MESSAGE_BYTES,
            heartbeat_s=HEARTBEAT_S,
            protocols=() if self.protocol is None else (self.protocol,),
        )
        self.goodbye = Goodbye(self.request)
        self.intake = self.request.app[WRITER].intake
        self.source = Source(self.send, gateway=self.token.device_id is None, on_superseded=self._superseded)

    def take(self, kind: WSMsgType, data: bytes) -> bool:
        """A message of fixes goes into the open batch at once, unless it is full or nothing counts any more."""
        if (kind is WSMsgType.TEXT and data.startswith(FIXES)) or (kind is WSMsgType.BINARY and data.startswith(MAGIC)):
            if self.intake.full or self.goodbye.said:
                return False
            self.intake.put(self.source, data)
            return True
        return False

    def send(self, messages: Sequence[bytes]) -> None:
        """Write messages as text frames, in one go; a device that reads none of them is cut off."""
        transport = self.request.transport
        if not messages or transport is None or self.ws.closed:
            return
        if transport.get_write_buffer_size() > UNREAD_LIMIT_BYTES:
            log.warning("action=device_cut reason=unread_answers peer=%s", self.request.remote)
            transport.abort()
            return
        transport.write(text_frame(messages[0]) if len(messages) == 1 else b"".join(map(text_frame, messages)))

    def say(self, message: object) -> None:
        self.send([msgspec.json.encode(message)])

    def opened(self, device: int) -> None:
        """It is this device's own: while it is open the device is not offline."""
        self.device = device
        self.request.app[REACHABILITY].open(device, now_ms())

    def ended(self) -> None:
        if self.device is not None:
            how = CLOSED_BY_SERVER if self.goodbye.said else CLOSED if self.left else LOST
            self.request.app[REACHABILITY].end(self.device, how, now_ms())

    def _superseded(self) -> None:
        self.goodbye.say(edge(Superseded("")).close_code, "a newer socket took this stream over")


def _secret(request: web.Request) -> tuple[str, str | None]:
    """The token of a device, and the subprotocol that carried it, if one did."""
    if "Authorization" in request.headers:
        return bearer(request.headers["Authorization"]), None
    if "token" in request.query:
        return request.query["token"], None
    for offered in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
        if offered.strip().startswith(SUBPROTOCOL):
            return offered.strip().removeprefix(SUBPROTOCOL), offered.strip()
    raise Unauthenticated(
        "Send the device's token as Authorization: Bearer …, as ?token=…, or as subprotocol tracker.token.…"
    )


def _device(fleet: Fleet, token: DeviceToken, named: str | None) -> Device:
    """The device that a message is from.

    Raises:
        InvalidField, NotFound
    """
    if token.device_id is None and named is None:
        raise InvalidField("a gateway names its device: hello with device and stream", field="device")
    number = token.device_id if named is None else ids.number_of(ids.DEVICE, named, "device")
    device = fleet.devices.get(number or 0)
    if device is None or (token.device_id is not None and number != token.device_id):
        raise NotFound(f"there is no device {named or ''} that this token speaks for")
    return device


def _stream_name(name: str) -> str:
    if name.startswith(NAMED_BY_SERVER):
        raise InvalidField(f"stream: names that begin with {NAMED_BY_SERVER} are the server's own", field="stream")
    try:
        return msgspec.convert(name, StreamName)
    except msgspec.ValidationError:
        raise InvalidField("stream must be 1 to 128 characters without control characters", field="stream") from None


@public
async def stream(request: web.Request) -> web.StreamResponse:
    """The WebSocket."""
    secret, subprotocol = _secret(request)
    token = await request.app[ACCESS].device_token(secret)
    writer, database, fleet = request.app[WRITER], request.app[DATABASE], request.app[FLEET]
    if not writer.ready:
        raise StoreUnavailable("the database is away")
    name = _stream_name(request.query["stream"]) if "stream" in request.query else None
    socket, sockets = _Socket(request, token, subprotocol), request.app[SOCKETS]
    if not socket.ws.can_prepare(request):
        return problem(
            426,
            "upgrade_required",
            "GET /v1/ingest is a WebSocket; to send once, POST",
            headers={"Upgrade": "websocket"},
        )
    sockets.add(socket)  # before the next await: its token may be revoked at any moment
    try:
        await socket.ws.prepare(request)
        async with socket.goodbye.heeded(socket.ws):
            if token.device_id is not None:
                device = _device(fleet, token, None)
                socket.opened(device.id)
                await _welcome(socket, writer, database, device, name, default=True)
            await _read(socket, writer, database, fleet)
    finally:
        sockets.discard(socket)
        socket.ended()
        socket.source.release()
    return socket.ws


async def _welcome(
    socket: _Socket, writer: Writer, database: Database, device: Device, name: str | None, *, default: bool
) -> None:
    """Open a stream and say where it stands; then what the device has missed."""
    if len(socket.source.lanes) >= MAX_LANES:
        raise TooLarge(f"one socket carries at most {MAX_LANES:,} streams")
    if name is None:
        lane = open_unnamed(writer, device, socket.source)
    else:
        lane = await open_named(writer, socket.request.app[OPENINGS], device, name, socket.source)
    if default:
        socket.source.default = lane
    asset = ids.public_id(ids.ASSET, device.asset)
    named = ids.public_id(ids.DEVICE, device.id)
    socket.say(Welcome(named, asset, lane.name, lane.durable, device.config, socket.source.slot_of(lane)))
    for row in await database.rows("waiting_commands", device.id):
        socket.say(Command(ids.public_id(ids.COMMAND, row["id"]), row["name"], row["args"]))


async def _read(socket: _Socket, writer: Writer, database: Database, fleet: Fleet) -> None:
    """What was not taken at once, until the socket ends: fixes into the open batch, control messages are answered."""
    source, intake = socket.source, socket.intake
    while True:
        message = await socket.ws.next()
        if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
            data: bytes = message.data
            if message.type is WSMsgType.TEXT:
                if not data.startswith(FIXES) and b'"type"' in data and _is_control(data):
                    await _control(socket, writer, database, fleet, data)
                    continue
            elif not data.startswith(MAGIC):
                raise MalformedMessage("a binary message begins with the bytes 89 54 46 01; everything else is text")
            if intake.full:
                await _hold_back(socket, intake)
            if socket.goodbye.said:
                return  # a newer socket may have heard already where its stream stands
            intake.put(source, data)
        elif message.type is WSMsgType.ERROR:
            log.info("action=device_socket_failed cause=%s peer=%s", message.data, socket.request.remote)
            return
        else:
            socket.left = message.type is WSMsgType.CLOSE
            return


async def _hold_back(socket: _Socket, intake: Intake) -> None:
    """Read nothing until there is room; a word now and then tells the device that the silence is no dead peer."""
    while intake.full:
        try:
            async with asyncio.timeout(SLOW_DOWN_EVERY_S):
                await intake.wait_room()
        except TimeoutError:
            socket.say(SlowDown(SLOW_DOWN_EVERY_S))


def _is_control(data: bytes) -> bool:
    try:
        return _head.decode(data).type not in (None, "fixes")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False  # whatever it is, the decoder of fixes says what is wrong with it


async def _control(socket: _Socket, writer: Writer, database: Database, fleet: Fleet, data: bytes) -> None:
    """hello, result, status; a fault in one is an error message, not the end of the socket."""
    reachability = socket.request.app[REACHABILITY]
    try:
        message = _hello.decode(data)
        if isinstance(message, Hello):
            name = _stream_name(message.stream)
            device = _device(fleet, socket.token, message.device)
            await _welcome(socket, writer, database, device, name, default=socket.source.default is None)
            reachability.hear_word(device.id, now_ms())
        elif isinstance(message, Result):
            command = ids.number_of(ids.COMMAND, message.id)
            for device_id in {lane.device.id for lane in socket.source.lanes.values()}:
                await database.execute("answer_command", device_id, command, message.ok, message.value)
            if socket.device is not None:
                reachability.hear_word(socket.device, now_ms())
        else:
            device = _device(fleet, socket.token, message.device)
            said = {
                key: value
                for key, value in msgspec.to_builtins(message).items()
                if key in ("battery", "reason") and value is not None
            }
            await socket.source.quiet()  # what it sent before counts as before, by the times that are stored
            at_ms = now_ms()
            await database.execute("set_device_status", device.id, said, at_ms)
            reachability.hear_reason(device.id, message.reason, at_ms)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        socket.say(Error("malformed", f"this message cannot be used: {str(error)[:200]}"))
    except (InvalidField, NotFound) as error:
        socket.say(Error(error.code, error.message))
    except RefusedByDatabase:
        socket.say(Error("refused", "the database cannot keep this; is there a character NUL in it?"))


class _PostHead(msgspec.Struct):
    device: str | None = None
    stream: str | None = None


_post_head = msgspec.json.Decoder(_PostHead)


def _post_names(request: web.Request, frame: bytes) -> _PostHead:
    """Which device and stream a POST is for: in its message, else in its query."""
    try:
        head = _PostHead() if frame.startswith(MAGIC) else _post_head.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        head = _PostHead()
    return _PostHead(head.device or request.query.get("device"), head.stream or request.query.get("stream"))


async def _post_body(request: web.Request) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_MESSAGE_BYTES:
            raise TooLarge(f"a device message has at most {MAX_MESSAGE_BYTES // 1024} KiB; send it in several")
    return bytes(body)


@public
async def post(request: web.Request) -> web.StreamResponse:
    """One message, answered when it is durable."""
    token = await request.app[ACCESS].device_token(_secret(request)[0])
    writer = request.app[WRITER]
    if not writer.ready:
        raise StoreUnavailable("the database is away")
    frame = await _post_body(request)
    answers: list[bytes] = []
    source = Source(answers.extend, gateway=True)
    try:
        await _open_for_post(request, writer, token, source, _post_names(request, frame))
        while writer.intake.full:
            await writer.intake.wait_room()
        writer.intake.put(source, frame)
        await source.quiet()
    finally:
        source.release()
    return _post_answer([msgspec.json.decode(answer, type=Ack | Reject | Error) for answer in answers])


async def _open_for_post(
    request: web.Request, writer: Writer, token: DeviceToken, source: Source, names: _PostHead
) -> None:
    device = _device(request.app[FLEET], token, names.device)
    if names.stream is None:
        lane: Lane = open_unnamed(writer, device, source)
    else:
        name = _stream_name(names.stream)
        lane = await open_named(writer, request.app[OPENINGS], device, name, source, take_over=False)
    source.default = lane


def _post_answer(answers: Sequence[Ack | Reject | Error]) -> web.Response:
    for answer in answers:
        if isinstance(answer, Error):
            return problem(400, answer.code, answer.message)
    acks = [_plain(answer) for answer in answers if isinstance(answer, Ack)]
    rejects = [_plain(answer) for answer in answers if isinstance(answer, Reject)]
    return web.Response(body=msgspec.json.encode({"acks": acks, "rejects": rejects}), content_type="application/json")


def _plain(answer: Ack | Reject) -> dict[str, Any]:
    return msgspec.structs.asdict(answer)


def routes() -> list[web.RouteDef]:
    return [web.get("/v1/ingest", stream, allow_head=False), web.post("/v1/ingest", post)]
