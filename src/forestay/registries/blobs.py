"""Values of any size under a name, cut into what a store takes: the balancer's learned state."""

import struct
import zlib
from urllib.parse import quote

from forestay.model.errors import InvalidInput
from forestay.registries.store import DeletePrefix, Put, Store, Unusable

BLOB_BYTES_MAX = 64 << 20
_HEAD = struct.Struct("!BIIQI")  # format, number of this version, chunks, bytes, crc32
_FORMAT = 1


class Blobs:
    """Blobs under one prefix. A new version is written beside the old one, then the head switches over."""

    def __init__(self, store: Store, prefix: bytes) -> None:
        self._store = store
        self._prefix = prefix

    async def put(self, name: str, data: bytes) -> None:
        """Durable on return; until then, and where it raises, the old version stays. One `put` of a name at a time.

        Raises:
            InvalidInput: too large.
            StoreError: see `Store.commit`; just repeat.
        """
        if len(data) > BLOB_BYTES_MAX:
            raise InvalidInput(f"blob {name!r} of {len(data)} bytes: at most {BLOB_BYTES_MAX}")
        where = self._where(name)
        old = await self._store.read(where + b"head")
        number = (_HEAD.unpack(old.items[0].value)[1] + 1) & 0xFFFFFFFF if old.items else 0
        step = min(self._store.caps.value_bytes_max, self._store.caps.commit_bytes_max - len(where) - 64)
        starts = range(0, len(data), step)
        for chunk, start in enumerate(starts):
            key = b"%s%08x/%06x" % (where, number, chunk)
            await self._store.commit([Put(key, data[start : start + step])])
        head = _HEAD.pack(_FORMAT, number, len(starts), len(data), zlib.crc32(data))
        previous = (number - 1) & 0xFFFFFFFF
        await self._store.commit([Put(where + b"head", head), DeletePrefix(b"%s%08x/" % (where, previous))])

    async def get(self, name: str) -> bytes | None:
        """The last version, or None.

        Raises:
            Unusable: damaged.
            Unavailable: try again.
        """
        where = self._where(name)
        items = {item.key: item.value for item in (await self._store.read(where)).items}
        head = items.get(where + b"head")
        if head is None:
            return None
        try:
            layout, number, chunks, size, checksum = _HEAD.unpack(head)
            data = b"".join(items[b"%s%08x/%06x" % (where, number, chunk)] for chunk in range(chunks))
        except (struct.error, KeyError) as error:
            raise Unusable(f"blob {name!r} is damaged ({error}): put it anew") from error
        if layout != _FORMAT or len(data) != size or zlib.crc32(data) != checksum:
            raise Unusable(f"blob {name!r} is damaged (format {layout}, {len(data)} of {size} bytes): put it anew")
        return data

    def _where(self, name: str) -> bytes:
        return self._prefix + quote(name, safe="").encode() + b"/"
