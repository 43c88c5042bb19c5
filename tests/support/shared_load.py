"""A web server's day in a minute: requests in waves, each with a `Providers.get` of its own. Prints what it took.

python tests/support/shared_load.py [REQUESTS]
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from typing import Final

import anyio
import msgspec

sys.path.insert(0, str(Path(__file__).parent))

from leftovers import descriptors
from penstock import Message, ModelsConfig, Providers
from penstock.testing import Emulator, ServerReply, anthropic_message

ASK: Final = [Message("user", "Hi")]
AT_ONCE: Final = 200
"""Handlers that run at once."""
LIMIT: Final = 20
"""Streams that may."""


def config(url: str) -> ModelsConfig:
    """An alias with a limit, and one whose own server is not there, so that it always falls back on the first."""
    settings = {"modelId": "claude-haiku-5-5", "apiKey": "sk-of-the-company", "baseUrl": url}
    small = {"provider": "anthropic", "providerConfig": settings, "concurrency": LIMIT}
    gone = {**small, "providerConfig": {**settings, "baseUrl": "http://127.0.0.1:9"}, "fallback": ["small"]}
    return msgspec.convert({"active": "small", "models": {"small": small, "gone": gone}}, ModelsConfig)


def resident() -> int:
    """MiB of memory that this process takes, server and clients together."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4 // 1024


async def main(requests: int) -> None:
    """Print a table, a row for each tenth."""
    answer = ServerReply(anthropic_message({"type": "text", "text": "Hello there, world!"}, piece=4))
    async with Emulator(then=answer) as emulator, Providers(config(emulator.url), ttl=60) as providers:
        most = dict.fromkeys(("streams", "connections"), 0)
        places = anyio.Semaphore(AT_ONCE)

        async def handle(number: int) -> None:
            async with (
                places,
                providers.get(("small", "gone")[number % 2]) as provider,
                provider.stream("", ASK) as stream,
            ):
                async for _ in stream:
                    most["streams"] = max(most["streams"], next(iter(providers)).running)
                    most["connections"] = max(most["connections"], emulator.open_connections)

        print("requests  streams at once  connections at once  opened in all  MiB  objects  files  seconds")
        begin = time.perf_counter()
        for tenth in range(10):
            async with anyio.create_task_group() as group:
                for number in range(requests // 10):
                    group.start_soon(handle, number)
            emulator.exchanges.clear()
            gc.collect()
            megabytes = resident()
            print(
                f"{(tenth + 1) * requests // 10:>8}  {most['streams']:>15}  {most['connections']:>19}"
                f"  {emulator.connections:>13}  {megabytes:>3}  {len(gc.get_objects()):>7}  {descriptors():>5}"
                f"  {time.perf_counter() - begin:>7.1f}",
                flush=True,
            )
        print(*providers, sep="\n")
    with anyio.fail_after(60):
        while emulator.open_connections:  # noqa: ASYNC110 - nobody tells of it
            await anyio.sleep(0.01)
    print("left:", emulator.open_connections, "connections")
    providers = Providers(config("http://127.0.0.1:9"))
    for said, key in (("get(alias)", None), ("get(alias, api_key=...)", "sk-of-a-customer")):
        begin = time.perf_counter()
        for _ in range(100_000):
            providers.get("small", api_key=key)
        print(f"{said}: {(time.perf_counter() - begin) * 10:.2f} µs")


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
