"""No network, in every Python whose PYTHONPATH has this folder: connections reach this machine or nothing.

Told by Python's audit events, which no import gets round. What was tried goes to the file that SONIC_TEST_TRIES names,
so that a test notices even a try whose error was swallowed, or that a child process made. SONIC_TEST_NETWORK=allowed
lets everything through.
"""

import ipaddress
import os
import socket
import sys


def here(host: object) -> bool:
    "Whether a host is this machine, by any of the names that need no asking."
    name = host.decode(errors="replace") if isinstance(host, bytes) else str(host or "")
    if name in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def tried(event: str, args: tuple) -> str:
    "What an event tries to reach beyond this machine; nothing if it does not."
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        sock, address = args[:2]
        if sock.family in (socket.AF_INET, socket.AF_INET6) and address and not here(address[0]):
            # to connect a datagram socket sends nothing: it is how a program asks for the address of its machine
            quiet = event == "socket.connect" and sock.type & 0xF == socket.SOCK_DGRAM
            return "" if quiet else f"{address[0]}:{address[1]}"
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        name = args[0].decode(errors="replace") if isinstance(args[0], bytes) else str(args[0] or "")
        numeric = name.replace(".", "").isdigit() or ":" in name  # nobody is asked
        return "" if here(name) or numeric or name == socket.gethostname() else name
    return ""


def refuse(event: str, args: tuple) -> None:
    "The audit hook."
    if not event.startswith("socket.") or os.environ.get("SONIC_TEST_NETWORK") == "allowed":
        return
    if place := tried(event, args):
        if file := os.environ.get("SONIC_TEST_TRIES"):
            with open(file, "a", encoding="utf-8") as log:
                log.write(f"{place} by {' '.join(sys.argv)[:200]}\n")
        raise ConnectionRefusedError(f"tests have no network: {place}")


sys.addaudithook(refuse)
