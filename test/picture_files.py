"""Encoded pictures as tests of everything that reads pictures need them."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np


def picture(suffix: str, width: int = 160, height: int = 120, seed: int = 0) -> bytes:
    """Return an encoded picture of smooth noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), np.uint8)
    return cv2.imencode(suffix, cv2.resize(noise, (width, height)))[1].tobytes()


def with_orientation(data: bytes, orientation: int) -> bytes:
    """Return a JPEG, PNG or WebP file with an EXIF note that holds nothing but the orientation (tag 0x0112)."""
    tiff = b'II*\0' + struct.pack('<IHHHIIi', 8, 1, 0x0112, 3, 1, orientation, 0)
    if data[:2] == b'\xff\xd8':
        note = b'Exif\0\0' + tiff
        return data[:2] + b'\xff\xe1' + struct.pack('>H', len(note) + 2) + note + data[2:]
    if data[:4] == b'RIFF':
        frame = data[12:]
        height, width = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2]
        sizes = (width - 1).to_bytes(3, 'little') + (height - 1).to_bytes(3, 'little')
        head = b'VP8X' + struct.pack('<IB3x', 10, 8) + sizes  # 8: has an EXIF note
        content = b'WEBP' + head + frame + b'EXIF' + struct.pack('<I', len(tiff)) + tiff
        return b'RIFF' + struct.pack('<I', len(content)) + content
    chunk = b'eXIf' + tiff
    return data[:33] + struct.pack('>I', len(tiff)) + chunk + struct.pack('>I', zlib.crc32(chunk)) + data[33:]
