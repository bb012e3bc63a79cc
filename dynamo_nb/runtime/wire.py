"""The wire protocol between a client and a worker: kinds of frames, flow control, and limits.

A frame is four bytes of length (little endian) and a msgpack array `[kind, stream, ...]`:

    HELLO   0, version [, ...]              the first frame of each end; see `handshake`
    OPEN    stream, path, args, kwargs, headers
    ITEM    stream, value
    END     stream [, value]                a single answer is one END with its value; a stream ends without a value
    ERROR   stream, error, retry            error: see `errors.to_wire`; retry: nothing was done, try another worker
    CANCEL  stream
    CREDIT  stream, credit                  the caller has consumed items of this cost and allows as much again

The client numbers the streams. Frames written in one turn of the event loop leave in one write.

A stream starts with credit for WINDOW. An item costs the bytes of its frame plus ITEM_COST, so that credit limits the
number of items too; the last item may exceed it. A caller that reads slowly therefore holds at most one window and one
item of a stream, and all other streams of the connection continue.

A message with large arrays leaves them out: its length has the bit BUFFERS set, and what follows is four bytes of the
message's length, the message, and its buffers, each at an offset that is a multiple of the codec's ALIGNMENT.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 2

HELLO: Final = 0
OPEN: Final = 1
ITEM: Final = 2
END: Final = 3
ERROR: Final = 4
CANCEL: Final = 5
CREDIT: Final = 6

BUFFERS: Final = 1 << 31  # bit in the length of a frame: arrays follow the message
MAX_FRAME: Final = 256 * 1024 * 1024  # bytes of one frame that a peer may make this process hold
MAX_HELLO: Final = 4096  # bytes of one frame before the peer has authenticated

WINDOW: Final = 4 * 1024 * 1024  # credit of a stream at its start
ITEM_COST: Final = 1024  # credit of an item besides its bytes: the least memory it may occupy
CREDIT_STEP: Final = WINDOW // 2  # credit is returned in steps this large, so that it costs almost nothing
