"""A capture as bytes: a JSON header, then arrays, so that a browser reads them without parsing.

Layout: ``b"SACCADE1"``, the header's length as a little-endian uint32, the header (padded with spaces so that what
follows begins at a multiple of 8), then the arrays, each at a multiple of 8 from where they begin.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from .base import Array, ViewError
from .capture import Capture

MAGIC, ALIGN = b"SACCADE1", 8
FIELDS = ("pooled", "scale", "received", "indices", "weights")
OPTIONAL = ("space", "share", "rollout", "paths")


def pack(found: Capture) -> bytes:
    """The bytes of a capture.

    >>> import numpy as np
    >>> one = np.zeros((1, 1, 2), np.uint16)
    >>> held = Capture("m", ("a", "b"), {}, (("text.0.self", 0),), {}, np.zeros((1, 1, 2, 2), np.uint8),
    ...                np.ones((1, 1), np.float32), one, one[..., None], one[..., None])
    >>> unpack(pack(held)).tokens
    ('a', 'b')
    """
    held = {name: getattr(found, name) for name in (*FIELDS, *OPTIONAL)}
    arrays = {name: array for name, array in held.items() if array is not None}
    arrays |= {f"measure:{name}": value for name, value in found.measures.items()}
    places: dict[str, Any] = {}
    body = bytearray()
    for name, array in arrays.items():
        body += b"\0" * (-len(body) % ALIGN)
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        places[name] = {"type": array.dtype.name, "shape": list(array.shape), "at": len(body)}
        body += little.tobytes()
    facts = {"model": found.model, "tokens": found.tokens, "spans": found.spans, "sites": found.sites}
    header = json.dumps({**facts, "arrays": places}, ensure_ascii=False).encode()
    header += b" " * (-(len(MAGIC) + 4 + len(header)) % ALIGN)
    return MAGIC + struct.pack("<I", len(header)) + header + bytes(body)


def unpack(data: bytes) -> Capture:
    """The capture of some bytes.

    Raises:
        ViewError: they are none.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise ViewError(f"these bytes are no capture: they begin with {data[:8]!r}, not {MAGIC!r}.")
    start = len(MAGIC) + 4
    (size,) = struct.unpack("<I", data[len(MAGIC) : start])
    header = json.loads(data[start : start + size])

    def array(name: str) -> Array:
        held = header["arrays"][name]
        kind = np.dtype(held["type"]).newbyteorder("<")
        count = int(np.prod(held["shape"]))
        return np.frombuffer(data, kind, count, start + size + held["at"]).reshape(held["shape"])

    return Capture(
        header["model"],
        tuple(header["tokens"]),
        header["spans"],
        tuple((name, layer) for name, layer in header["sites"]),
        {name[8:]: array(name) for name in header["arrays"] if name.startswith("measure:")},
        *(array(name) for name in FIELDS),
        **{name: array(name) for name in OPTIONAL if name in header["arrays"]},
    )
