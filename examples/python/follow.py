"""Follows rooms and prints what happens in them; each line that is typed is published to the first one.

    pip install websockets
    python follow.py ws://localhost:8080/ws demo:1
    python follow.py wss://push.example.com/ws chat:lobby --token-url https://backend.example.com/token

What was said before is printed when a room is joined, and again where events are missing that the server no longer has.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import urllib.request
from collections.abc import Coroutine

from roomcast_client import Client, EndedError, Position, RefusedError

EARLIER = 5


def say(*words: object) -> None:
    print(*words, flush=True)


def data_of(event: dict) -> str:
    return json.dumps(event["data"]) if "data" in event else f"base64 {event['data64']}"


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("rooms", nargs="+")
    parser.add_argument("--token-url", help="where a GET answers with a token")
    options = parser.parse_args()

    async def token() -> str:
        def get() -> str:
            with urllib.request.urlopen(options.token_url, timeout=10) as answer:
                return answer.read().decode().strip()

        return await asyncio.to_thread(get)

    background: set[asyncio.Task] = set()
    loading: dict[str, asyncio.Task] = {}

    def start(work: Coroutine) -> asyncio.Task:
        task = asyncio.create_task(work)
        background.add(task)
        task.add_done_callback(background.discard)
        return task

    async def load(room: str, position: Position) -> None:
        # A real application builds its state here: from its own backend, or from the room's history. Events behind the position follow.
        while True:
            try:
                events = await client.history(room, EARLIER)
                break
            except RefusedError:
                await asyncio.sleep(1)
        for event in events:
            if event["offset"] <= position.offset:
                say("earlier", room, event["offset"], data_of(event))

    def on_incomplete(room: str, why: str, position: Position | None) -> None:
        say("incomplete", room, why, position.offset if position else "-")
        # What was being loaded is out of date.
        if before := loading.pop(room, None):
            before.cancel()
        if position:
            loading[room] = start(load(room, position))

    client = Client(
        options.url,
        token=token if options.token_url else None,
        on_event=lambda room, event: say("event", room, event.get("offset", "-"), data_of(event)),
        on_incomplete=on_incomplete,
        on_state=lambda state: say("state", state),
    )
    for room in options.rooms:
        client.follow(room)

    async def publish_lines() -> None:
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            start(publish(line.decode().rstrip("\n")))

    async def publish(text: str) -> None:
        try:
            position = await client.publish(options.rooms[0], "said", text)
            say("published", position.offset, json.dumps(text))
        except RefusedError as error:
            say("refused", error.code, json.dumps(text))

    start(publish_lines())
    try:
        await client.run()
    except EndedError as error:
        say("ended", error.code, error)
    return 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(asyncio.run(main()))
