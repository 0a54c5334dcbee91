"""A socket that hears private addresses only, where the system can see to that (Linux).

zeroconf listens for multicast at every address of the machine, since that is how multicast is
received. So it would also answer a question that is sent to a public address of ours directly, and
tell the internet who is here. A filter in the kernel (classic BPF, as of `tcpdump`) lets nothing
through to the socket that comes from anywhere but a private network.
"""

import ctypes
import ipaddress
import socket
import struct
import sys
from typing import Protocol

NETWORKS = tuple(
    ipaddress.IPv4Network(text)
    for text in ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")
)
_SO_ATTACH_FILTER = 26
# Of the instructions of classic BPF (linux/bpf_common.h): load a word at a fixed place, and, jump
# if equal, return. The word is the source of the IP header, in front of what the socket sees.
_LOAD, _AND, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_SOURCE = (-0x100000 + 12) & 0xFFFFFFFF
_ALL = 0xFFFFFFFF


class Socket(Protocol):
    """What a filter can be attached to."""

    def setsockopt(self, level: int, name: int, value: bytes, /) -> None: ...


def hear_near_only(listening: Socket) -> bool:
    """Attach the filter to a UDP socket; False where the system has none."""
    if sys.platform != "linux":
        return False
    program = b"".join(
        struct.pack("HBBI", code, if_equal, 0, value) for code, if_equal, value in _program()
    )
    kept = ctypes.create_string_buffer(program)
    # struct sock_fprog: how many instructions, and where they are.
    head = struct.pack("HL", len(program) // 8, ctypes.addressof(kept))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)
    return True


def _program() -> list[tuple[int, int, int]]:
    """The instructions: code, how many to leap if equal, value."""
    program: list[tuple[int, int, int]] = []
    for number, network in enumerate(NETWORKS):
        left = len(NETWORKS) - number - 1
        program += [
            (_LOAD, 0, _SOURCE),
            (_AND, 0, int(network.netmask)),
            (_JUMP_IF_EQUAL, 3 * left + 1, int(network.network_address)),
        ]
    return [*program, (_RETURN, 0, 0), (_RETURN, 0, _ALL)]
