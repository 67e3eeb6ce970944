"""A client of roomcast, written from docs/PROTOCOL.md alone: rooms, positions, tokens, signs of life, over any WebSocket.

Owns one connection at a time, and what has to outlive it: the position of each room, and the publish that is not answered yet.
Always holds: an event is told once and in order, or `on_incomplete` says that events are missing; a publish is one event, however often
it is sent; it comes back as the code says with which the connection was closed.
"""

import asyncio
import contextlib
import json
import random
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

# After these it would be closed again, or was told to stay away.
NEVER = {1000, 1002, 1003, 1007, 1008, 1009, 4003, 4011, 4029}
NEW_TOKEN = {4001, 4002}
LATER = {1012, 1013}
LOST = 1006
UNAUTHORIZED = 4001
OVERLOADED = 1013
DISCONNECTED = 4003

# Errors after which the same publish, with the same key, may succeed.
PASSING = {"rate_limited", "unavailable", "unknown"}
# The server knows a key for five minutes.
REPEAT_WITHIN = 240.0
PONG_WITHIN = 10.0
MOST_WAITING = 100


class EndedError(Exception):
    """The server does not want this client back."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code}: {reason}")
        self.code = code


class RefusedError(Exception):
    """A command was refused; `code` is one of the protocol's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True)
class Position:
    """How much of a room's log a client has. The epoch is only to be kept and compared."""

    epoch: str
    offset: int


@dataclass
class Room:
    position: Position | None = None
    # Whether it was asked for, and not answered: what comes before the answer is superseded by it.
    due: bool = False


@dataclass
class Publish:
    command: dict
    answer: asyncio.Future
    sent_at: float | None = None


class Client:
    """`token` gets a token whenever one is needed; without it the client has none."""

    def __init__(
        self,
        url: str,
        *,
        on_event: Callable[[str, dict], None],
        on_incomplete: Callable[[str, str, Position | None], None],
        on_state: Callable[[str], None] = lambda state: None,
        token: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self._url = url
        self._on_event, self._on_incomplete, self._on_state = on_event, on_incomplete, on_state
        self._token = token
        self._presented: str | None = None
        self._refused: str | None = None
        self._renew_at: float | None = None
        self._renewal_changed = asyncio.Event()
        self._rooms: dict[str, Room] = {}
        self._publishes: deque[Publish] = deque()
        self._more = asyncio.Event()
        self._socket: ClientConnection | None = None
        # What belongs to the connection that there is: it ends with it.
        self._tasks: set[asyncio.Task] = set()
        self._answers: dict[int, asyncio.Future] = {}
        self._ids = 0
        self._heard = 0.0
        self._goes_at: float | None = None

    def follow(self, name: str) -> None:
        """Joins a room, now and after each reconnect."""
        self._rooms.setdefault(name, Room())

    async def publish(self, room: str, topic: str, data: object) -> Position:
        """Publishes an event. It waits for a connection, and is sent again if its answer is lost."""
        if len(self._publishes) >= MOST_WAITING:
            raise RefusedError("queue_full", f"{MOST_WAITING} publishes wait already")
        command = {"type": "publish", "room": room, "topic": topic, "data": data, "idempotency_key": str(uuid.uuid4())}
        one = Publish(command, asyncio.get_running_loop().create_future())
        self._publishes.append(one)
        self._more.set()
        return await one.answer

    async def history(self, room: str, limit: int) -> list[dict]:
        """The newest events of a room, the oldest first."""
        try:
            return (await self._ask({"type": "history", "room": room, "limit": limit}))["events"]
        except ConnectionClosed as error:
            raise RefusedError("lost", str(error)) from error

    async def run(self) -> None:
        """Connects, and comes back until the server says that it should not; then it raises EndedError."""
        failures = 0
        while True:
            began = time.monotonic()
            self._on_state("connecting")
            self._goes_at = None
            code, reason, hint = await self._connection()
            if time.monotonic() - began > 2.0:
                failures = 0
            if code in NEVER or (code in NEW_TOKEN and not self._token):
                raise EndedError(code, reason)
            wait = self._pause(code, failures, hint)
            failures += 1
            self._on_state(f"waiting after {code} {reason}".rstrip())
            await asyncio.sleep(wait)

    def _pause(self, code: int, failures: int, hint: float | None) -> float:
        """Full jitter below a bound that doubles; a time that the server named is never cut short."""
        if hint is None and code in LATER and self._goes_at is not None:
            hint = self._goes_at - time.monotonic()
        if hint is not None:
            return max(hint, 0.0) + random.uniform(0.0, 0.25)
        bound = min(0.25 * 2**failures, 30.0)
        return random.uniform(2.0, 2.0 + max(bound, 4.0)) if code in LATER else random.uniform(0.0, bound)

    async def _connection(self) -> tuple[int, str, float | None]:
        """One connection, from its handshake to its end: the code and reason of its close, and when to come back if that was said."""
        token = None
        if self._token:
            try:
                token = await self._token()
            except OSError as error:
                return LOST, f"no token: {error}", None
            if token == self._refused:
                raise EndedError(UNAUTHORIZED, "there is no other token")
        try:
            # The server's pings are answered by the library; whether the server is there, this client asks by itself.
            async with connect(
                self._url, subprotocols=["roomcast.v1"], ping_interval=None, open_timeout=10, max_size=None
            ) as socket:
                return await self._converse(socket, token)
        except InvalidStatus as error:
            status, after = error.response.status_code, error.response.headers.get("Retry-After", "")
            code = {401: UNAUTHORIZED, 403: 1008, 404: 1008, 429: OVERLOADED, 503: OVERLOADED}.get(status, LOST)
            return code, f"HTTP status {status}", float(after) if after.isdigit() else None
        except (OSError, TimeoutError, WebSocketException) as error:
            # Nothing answered, or something that speaks no WebSocket.
            return LOST, str(error), None

    async def _converse(self, socket: ClientConnection, token: str | None) -> tuple[int, str, float | None]:
        self._socket, self._heard, self._renew_at = socket, time.monotonic(), None
        beginning = self._start(self._begin(token))
        reading = self._start(self._read(socket))
        try:
            await asyncio.wait([reading, beginning], return_when=asyncio.FIRST_COMPLETED)
            if not reading.done() and (code := beginning.result()) is not None:
                return code, "the token was refused", None
            await reading
            if socket.close_code in NEW_TOKEN:
                self._refused = self._presented
            return socket.close_code or LOST, socket.close_reason or "", None
        finally:
            self._socket = None
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(RefusedError("lost", "the connection ended before the answer came"))
            self._answers.clear()

    def _start(self, work: Coroutine) -> asyncio.Task:
        async def until_closed() -> object:
            # How a connection ended is told by the code of its close.
            with contextlib.suppress(ConnectionClosed):
                return await work

        task = asyncio.create_task(until_closed())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _begin(self, token: str | None) -> int | None:
        """Presents the token, joins the rooms, and has sent what waits; the code of a close, if the token was refused."""
        if token is not None:
            self._presented = token
            try:
                self._renew_after(await self._ask({"type": "connect", "token": token}))
            except RefusedError as error:
                if error.code == "unauthorized":
                    self._refused = token
                    return UNAUTHORIZED
                # Or the backend does not want this client.
                return OVERLOADED if error.code in PASSING else DISCONNECTED
            self._start(self._renew())
        self._on_state("open")
        for name in list(self._rooms):
            await self._join(name)
        self._start(self._publish_waiting())
        return None

    async def _join(self, name: str, wait: float = 0.0) -> None:
        await asyncio.sleep(wait)
        if room := self._rooms.get(name):
            since = {"since": vars(room.position)} if room.position else {}
            room.due = True
            await self._send({"type": "subscribe", "id": f"room {name}", "room": name, **since})

    async def _read(self, socket: ClientConnection) -> None:
        async for text in socket:
            self._heard = time.monotonic()
            message = json.loads(text)
            if message["type"] == "welcome":
                self._start(self._watch(socket, message["ping_interval"] / 1_000))
            else:
                self._receive(message)

    async def _watch(self, socket: ClientConnection, interval: float) -> None:
        """Asks after a silence whether the server is there, and takes the connection for lost if nothing comes back."""
        while True:
            silent = time.monotonic() - self._heard
            if silent < interval:
                await asyncio.sleep(interval - silent)
                continue
            asked = self._heard
            await self._send({"type": "ping"})
            await asyncio.sleep(PONG_WITHIN)
            if self._heard == asked:
                socket.transport.abort()
                return

    def _renew_after(self, done: dict) -> None:
        """A token is replaced a fifth of its life before it ends, at most two minutes before."""
        if "expires_at" in done:
            left = done["expires_at"] / 1_000 - time.time()
            self._renew_at = time.monotonic() + max(left - min(left / 5, 120.0), 1.0)

    async def _renew(self) -> None:
        """Presents a newer token on the live connection: before the old one ends, and when the server asks for it."""
        while True:
            left = None if self._renew_at is None else self._renew_at - time.monotonic()
            self._renewal_changed.clear()
            try:
                # What the server says meanwhile may be due sooner.
                await asyncio.wait_for(self._renewal_changed.wait(), left)
                continue
            except TimeoutError:
                self._renew_at = None
            try:
                token = await self._token()
                self._renew_after(await self._ask({"type": "refresh", "token": token}))
                self._presented = token
            except (RefusedError, OSError):
                # The old one stays in force until it ends.
                self._renew_at = time.monotonic() + random.uniform(1.0, 3.0)

    async def _publish_waiting(self) -> None:
        """Sends what waits, one after the other, so that none overtakes another one."""
        while True:
            if not self._publishes:
                self._more.clear()
                await self._more.wait()
                continue
            one = self._publishes[0]
            if one.sent_at is not None and time.monotonic() - one.sent_at > REPEAT_WITHIN:
                self._settle(one, RefusedError("unknown", "the event may or may not be there"))
                continue
            one.sent_at = one.sent_at or time.monotonic()
            try:
                # If the connection ends first, it stays where it is, and is sent again with the same key.
                told = await self._ask(one.command)
                self._settle(one, Position(told["epoch"], told["offset"]))
            except RefusedError as error:
                if error.code in PASSING:
                    await asyncio.sleep(1.0)
                else:
                    self._settle(one, error)

    def _settle(self, one: Publish, outcome: Position | Exception) -> None:
        self._publishes.popleft()
        if one.answer.done():
            return
        if isinstance(outcome, Exception):
            one.answer.set_exception(outcome)
        else:
            one.answer.set_result(outcome)

    async def _ask(self, command: dict) -> dict:
        """Sends a command and waits for its answer."""
        self._ids += 1
        number = self._ids
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._send({"id": number, **command})
        message = await answer
        if message["type"] == "error":
            raise RefusedError(message["code"], message["message"])
        return message

    async def _send(self, command: dict) -> None:
        if self._socket is None:
            raise RefusedError("lost", "there is no connection")
        await self._socket.send(json.dumps(command))

    def _receive(self, message: dict) -> None:
        kind, number = message["type"], message.get("id")
        if number in self._answers:
            answer = self._answers.pop(number)
            if not answer.done():
                answer.set_result(message)
        elif kind == "reconnect":
            self._goes_at = time.monotonic() + message["after_ms"] / 1_000
        elif kind == "refresh":
            # The backend may want the rights of all users looked at again, and all are asked at the same time.
            self._renew_at = time.monotonic() + random.uniform(0.0, 1.0)
            self._renewal_changed.set()
        elif "room" in message:
            self._receive_of_room(message["room"], message)

    def _receive_of_room(self, name: str, message: dict) -> None:
        room = self._rooms.get(name)
        if room is None or (room.due and "id" not in message):
            return
        kind = message["type"]
        if kind == "error":
            if message["code"] in PASSING:
                self._start(self._join(name, random.uniform(1.0, 3.0)))
                return
            del self._rooms[name]
            self._on_incomplete(name, message["code"], None)
            return
        if kind == "unsubscribed":
            del self._rooms[name]
            self._on_incomplete(name, message.get("code", "left"), None)
            return
        if kind not in ("subscribed", "events", "gap"):
            return
        position = Position(message["epoch"], message["offset"]) if "offset" in message else room.position
        if kind == "subscribed":
            room.due = False
            if not message["recovered"]:
                self._on_incomplete(name, "unrecovered" if room.position else "joined", position)
        elif kind == "gap":
            self._on_incomplete(name, "gap", position)
        else:
            for event in message["events"]:
                self._on_event(name, event)
        # Values that the room keeps move no position: they have none.
        room.position = position
