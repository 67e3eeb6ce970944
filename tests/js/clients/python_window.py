"""Joins a room with several connections that keep their window, and checks that each event comes to each of them, in order.

Usage: python_window.py URL ROOM CONNECTIONS EVENTS OFFER, where OFFER is the JSON of a permessage-deflate offer's parameters.
Prints `joined` once all are in, and `read` once all have everything; ends with a traceback if anything is not as it should be.
"""

import asyncio
import json
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory


async def receive(socket, kind: str) -> dict:
    while True:
        message = json.loads(await asyncio.wait_for(socket.recv(), 30))
        assert message["type"] != "error", message
        if message["type"] == kind:
            return message


async def listen(url: str, room: str, events: int, offer: dict, joined) -> None:
    context = ssl.create_default_context()
    # The development certificate is self-signed; http.test.js looks at it.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    extensions = [ClientPerMessageDeflateFactory(**offer)]
    async with connect(
        url, ssl=context, subprotocols=["roomcast.v1"], compression=None, extensions=extensions, proxy=None
    ) as socket:
        await socket.send(json.dumps({"type": "subscribe", "room": room}))
        await receive(socket, "subscribed")
        joined()
        n = 0
        while n < events:
            for event in (await receive(socket, "events"))["events"]:
                assert event["data"]["n"] == n, f"{event} instead of {n}"
                n += 1


async def main(url: str, room: str, connections: int, events: int, offer: dict) -> None:
    waiting = connections

    def joined() -> None:
        nonlocal waiting
        waiting -= 1
        if waiting == 0:
            print("joined", flush=True)

    await asyncio.gather(*(listen(url, room, events, offer, joined) for _ in range(connections)))
    print("read", flush=True)


if __name__ == "__main__":
    _, url, room, connections, events, offer = sys.argv
    asyncio.run(main(url, room, int(connections), int(events), json.loads(offer)))
