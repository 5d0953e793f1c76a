"""Lets the control loop, which never waits, keep blobs in a registry, which does.

What is saved is readable at once and written behind, the newest version of each name only; a write that fails is
repeated with the next one, or at `close`.
"""

import asyncio

import structlog

from forestay.registries.registry import Registry
from forestay.registries.store import StoreError

log = structlog.get_logger(__name__)

RETRY_S = 5.0
"""Between attempts while the store is away: a snapshot that is a few seconds older costs nothing."""


class WriteBehindBlobs:
    """Blobs of one cluster. Implements `control.recovery.BlobStore`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[str, bytes] = {}
        self._unwritten: dict[str, None] = {}
        self._changed = asyncio.Event()

    async def preload(self, *keys: str) -> None:
        """Read what `load_blob` will be asked for; what is damaged or away counts as absent, and is logged."""
        for key in keys:
            try:
                data = await self._registry.get_blob(key)
            except StoreError as error:
                log.warning("blob_unreadable", key=key, error=str(error), fallback="absent")
                continue
            if data is not None:
                self._known[key] = data

    def load_blob(self, key: str) -> bytes | None:
        """See `BlobStore`."""
        return self._known.get(key)

    def save_blob(self, key: str, data: bytes) -> None:
        """See `BlobStore`."""
        if self._known.get(key) == data:
            return
        self._known[key] = data
        self._unwritten[key] = None
        self._changed.set()

    async def run(self) -> None:
        """Write what is saved, until cancelled."""
        while True:
            await self._changed.wait()
            if not await self.write():
                await asyncio.sleep(RETRY_S)

    async def write(self) -> bool:
        """Write now what is not written yet; False: the store did not take all of it."""
        self._changed.clear()
        for key in list(self._unwritten):
            data = self._known[key]
            try:
                await self._registry.put_blob(key, data)
            except StoreError as error:
                log.warning("blob_unwritten", key=key, error=str(error))
                self._changed.set()
                return False
            if self._known[key] is data:
                self._unwritten.pop(key, None)
        return True
