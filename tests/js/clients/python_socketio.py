"""`python-socketio` as it is: says each connect, and ends well after the second one.

python_socketio.py URL TRANSPORT
"""

import asyncio
import sys

import socketio


async def main(url: str, transport: str) -> None:
    client = socketio.AsyncClient(reconnection_delay=0.1, reconnection_delay_max=0.2)
    times, back = 0, asyncio.Event()

    @client.event
    async def connect() -> None:
        nonlocal times
        times += 1
        print("connect", flush=True)
        if times == 2:
            back.set()

    await client.connect(url, transports=[transport])
    await asyncio.wait_for(back.wait(), 20)
    await client.disconnect()


asyncio.run(main(*sys.argv[1:]))
