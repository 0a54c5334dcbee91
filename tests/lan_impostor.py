"""A program for a machine on a test's LAN: it says that a site of a network is here, takes the
calls over TLS with a key of its own, and writes down each byte that it is sent after the handshake.

    python lan_impostor.py SITE NETWORK ADDRESS PORT
"""

import sys
from functools import partial

import trio
from wire import new_key
from zeroconf import IPVersion, ServiceInfo, Zeroconf

from syncnode.links.lan import SERVICE
from syncnode.links.server import server_context
from syncproto.messages import PROTOCOL_VERSION


async def record(stream: trio.SSLStream) -> None:  # type: ignore[type-arg]
    print("called", flush=True)
    try:
        while data := await stream.receive_some():
            print(f"got {len(data)}", flush=True)
    except trio.BrokenResourceError:
        print("cut", flush=True)


async def main(site: str, network: str, address: str, port: str) -> None:
    zeroconf = Zeroconf(interfaces=[address], ip_version=IPVersion.V4Only)
    info = ServiceInfo(
        SERVICE,
        f"{site}.{SERVICE}",
        port=int(port),
        properties={"v": str(PROTOCOL_VERSION), "network": network},
        server=f"{site}.local.",
        parsed_addresses=[address],
    )
    await trio.to_thread.run_sync(zeroconf.register_service, info)
    print("announced", flush=True)
    await trio.serve_ssl_over_tcp(
        record, int(port), server_context(new_key()), host=address, https_compatible=True
    )


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))
