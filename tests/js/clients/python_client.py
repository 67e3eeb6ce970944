"""Joins a room, publishes forty events of different sizes into it, and checks that each comes back as it left.

Usage: python_client.py URL ROOM OFFER, where OFFER is the JSON of a permessage-deflate offer's parameters, or null.
Prints one JSON object of what was seen; ends with a traceback if anything is not as it should be.
"""

import asyncio
import json
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory


async def converse(url: str, room: str, offer: dict | None) -> dict:
    context = ssl.create_default_context()
    # The development certificate is self-signed; http.test.js looks at it.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    extensions = None if offer is None else [ClientPerMessageDeflateFactory(**offer)]
    async with connect(
        url, ssl=context, subprotocols=["roomcast.v1"], compression=None, extensions=extensions, proxy=None
    ) as socket:
        assert (await receive(socket))["type"] == "welcome"
        await socket.send(json.dumps({"type": "subscribe", "room": room}))
        at = (await receive(socket, "subscribed"))["offset"]

        sent = [{"n": n, "text": "Grüße an alle. " * (n * 7 % 100)} for n in range(40)]
        for data in sent:
            await socket.send(json.dumps({"type": "publish", "room": room, "topic": "t", "data": data}))
        received = []
        while len(received) < len(sent):
            frame = await receive(socket, "events")
            assert frame["after"] == at, f"a hole: {frame['after']} after {at}"
            at = frame["offset"]
            received += [event["data"] for event in frame["events"]]
        assert received == sent
        seen = {
            "subprotocol": socket.subprotocol,
            "extensions": [extension.name for extension in socket.protocol.extensions],
            "received": len(received),
        }
    return seen | {"close": [socket.close_code, socket.close_reason]}


async def receive(socket, kind: str | None = None) -> dict:
    while True:
        message = json.loads(await asyncio.wait_for(socket.recv(), 5))
        assert message["type"] != "error", message
        if kind is None or message["type"] == kind:
            return message


if __name__ == "__main__":
    _, url, room, offer = sys.argv
    print(json.dumps(asyncio.run(converse(url, room, json.loads(offer)))))
