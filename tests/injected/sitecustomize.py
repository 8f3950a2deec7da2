"""Faults for tests, in every process whose PYTHONPATH begins with this folder: workers, and workers of workers.

A sound file that holds `SONIC-FAULT:kind;` in its first 4 kB makes the decoder misbehave as it is opened, as a bug
of a decoder would: at every run, wherever it is read. Kinds: see `injection.py`. SONIC_FAULT_LOG names a file that
takes a line for every file of the folder SONIC_FAULT_WATCH that is opened for reading. While the file that
SONIC_FAULT_FULL names exists, nothing can be renamed: the disk is full. SONIC_FAULT_SLOW: seconds that a renaming
takes.
"""

import hashlib
import importlib.machinery
import importlib.util
import itertools
import json
import os
import re
import signal
import sys
import time

MARK = re.compile(rb"SONIC-FAULT:(once-)?([a-z]+)(?:=([0-9.]+))?;")
MOST = 4 << 30  # bytes taken by a decoder that nobody stops


def _head(file):
    "The first bytes of what soundfile is asked to open."
    if isinstance(file, int):
        return os.pread(file, 4096, 0)
    if hasattr(file, "read"):
        at = file.tell()
        file.seek(0)
        head = file.read(4096)
        file.seek(at)
        return head
    with open(file, "rb") as opened:
        return opened.read(4096)


def _first(head):
    "Whether this file misbehaves for the first time."
    try:
        name = os.path.join(os.environ["SONIC_FAULT_ONCE"], hashlib.sha256(head).hexdigest())
        os.close(os.open(name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _misbehave(kind, amount):
    if kind == "segfault":
        import ctypes

        ctypes.string_at(0)
    elif kind == "sigkill":  # what the kernel does to a process when memory runs out
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "exit":
        os._exit(3)
    elif kind == "raise":
        raise RuntimeError("injected\nfault")
    elif kind == "hang":  # other threads of the process go on
        while True:
            time.sleep(3600)
    elif kind == "stuck":  # no other thread of the process runs, nor any handler of signals
        sum(itertools.repeat(0))
    elif kind == "memory":
        held = []
        while len(held) * (32 << 20) < MOST:
            held.append(b"x" * (32 << 20))
        raise RuntimeError("took 4 GB, and nobody minded")
    elif kind == "sleep":
        time.sleep(float(amount))
    else:
        raise AssertionError(f"no such fault: {kind}")


def _faulty(SoundFile):
    class Faulty(SoundFile):
        def __init__(self, file, *args, **more):
            found = MARK.search(head := _head(file)) if args[:1] in ((), ("r",)) else None
            if found and (not found[1] or _first(head)):
                _misbehave(found[2].decode(), found[3])
            super().__init__(file, *args, **more)

    return Faulty


class _Finder:
    "Puts the faulty class into soundfile as it is imported."

    def find_spec(self, name, path=None, target=None):
        if name != "soundfile":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            module.SoundFile = _faulty(module.SoundFile)

        spec.loader.exec_module = exec_module
        return spec


def _watch(log, folder):
    "A line for every file below the folder that is opened for reading."
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    start = os.path.join(os.fsdecode(folder), "")

    def hook(event, arguments):
        if event != "open" or isinstance(arguments[0], int) or arguments[0] is None:
            return
        path, mode = os.fsdecode(arguments[0]), arguments[1]
        if path.startswith(start) and not (isinstance(mode, str) and set(mode) & set("wax+")):
            os.write(descriptor, (json.dumps([os.getpid(), path[len(start) :]]) + "\n").encode())

    sys.addaudithook(hook)


def _spoil_renaming(full, slow):
    "No renaming as long as that file exists; else it takes so many seconds."
    replace = os.replace

    def spoilt(source, target, **more):
        if full and os.path.exists(full):
            raise OSError(28, "No space left on device", os.fspath(target))
        time.sleep(slow)
        replace(source, target, **more)

    os.replace = spoilt


def _others():
    "Run the module of this name that this one hides: that which keeps tests off the network."
    here = os.path.dirname(os.path.abspath(__file__))
    paths = [path for path in sys.path if os.path.abspath(path) != here]
    if spec := importlib.machinery.PathFinder.find_spec("sitecustomize", paths):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


_others()
sys.meta_path.insert(0, _Finder())
if "SONIC_FAULT_LOG" in os.environ:
    _watch(os.environ["SONIC_FAULT_LOG"], os.environ["SONIC_FAULT_WATCH"])
if "SONIC_FAULT_FULL" in os.environ or "SONIC_FAULT_SLOW" in os.environ:
    _spoil_renaming(os.environ.get("SONIC_FAULT_FULL"), float(os.environ.get("SONIC_FAULT_SLOW", 0)))
