"""Fields of binary records, and compressed blocks, of files that may be cut off or damaged."""

from __future__ import annotations

import bz2
import contextlib
import struct
import sys
from collections.abc import Callable

import lz4.frame

from custom_pose_ros.core.limits import MAX_BAG_BLOCK_BYTES

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Cut(Exception):
    """A record does not fit into what is left of the file."""


class Fields:
    """Walks over the fields of one record."""

    def __init__(self, data: bytes):
        self.data, self.position = data, 0

    def bytes(self, size: int) -> bytes:
        if size > len(self.data) - self.position:
            raise Cut
        self.position += size
        return self.data[self.position - size : self.position]

    def number(self, layout: str) -> int:
        return struct.unpack('<' + layout, self.bytes(struct.calcsize('<' + layout)))[0]

    def text(self) -> str:
        return self.bytes(self.number('I')).decode('utf-8', 'replace')

    def rest(self) -> bytes:
        return self.data[self.position :]


def decompressed_prefix(data: bytes, compression: str) -> bytes:
    """Return as much of a compressed block as can be had; nothing when its compression is unknown."""
    decompressors: dict[str, Callable[[], object]] = {
        'zstd': zstd.ZstdDecompressor,
        'lz4': lz4.frame.LZ4FrameDecompressor,
        'bz2': bz2.BZ2Decompressor,
    }
    if compression in ('', 'none'):
        return data
    if compression not in decompressors:
        return b''
    decompressor = decompressors[compression]()
    result = bytearray()
    with contextlib.suppress(OSError, EOFError, ValueError, RuntimeError, MemoryError, zstd.ZstdError):
        while not decompressor.eof and len(result) < MAX_BAG_BLOCK_BYTES:  # type: ignore[attr-defined]
            part = decompressor.decompress(data, max_length=1 << 20)  # type: ignore[attr-defined]
            if not part:
                break
            result += part
            data = b''
    return bytes(result)
