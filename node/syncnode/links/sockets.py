"""What is asked of the system for every connection, at both ends."""

import socket

IDLE_S = 120  # routers forget a silent connection, the first of them after some minutes
BETWEEN_S, TRIES = 20, 4  # a link that is away for a minute has not lost its connections

# A connection that stands saves a handshake with each call. An empty packet now and then keeps it
# standing, and tells when the other machine is gone without a word. Not every system has all.
KEEP_ALIVE_OPTIONS: list[tuple[int, int, int]] = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (
            ("TCP_KEEPIDLE", IDLE_S),
            ("TCP_KEEPINTVL", BETWEEN_S),
            ("TCP_KEEPCNT", TRIES),
        )
        if hasattr(socket, name)
    ),
]
