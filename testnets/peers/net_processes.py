"""Starts `atoll net` as processes and reads what they print; shared by the checks against other implementations."""

import hashlib
import json
import os
import queue
import subprocess
import threading
import time

DEADLINE_SECONDS = 30


class Listener:
    """A running `atoll net listen --json` and the events that it has printed."""

    def __init__(self, atoll, folder, name, *flags):
        self.atoll = atoll
        self.control = os.path.join(folder, name + ".sock")
        self.process = subprocess.Popen(
            [atoll, "net", "listen", "/ip4/127.0.0.1/tcp/0", "--json", "--control", self.control, *flags],
            stdout=subprocess.PIPE, text=True)
        self.events = []
        self.arrived = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.address = self.wait("listening")["addresses"][0]
        self.peer_id = self.address.rsplit("/", 1)[1]

    def _read(self):
        for line in self.process.stdout:
            self.arrived.put(json.loads(line))
        self.arrived.put(None)

    def wait(self, event, **fields):
        """The first event, old or new, with these fields."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        seen = 0
        while True:
            for candidate in self.events[seen:]:
                if candidate["event"] == event and all(candidate.get(k) == v for k, v in fields.items()):
                    return candidate
            seen = len(self.events)
            left = deadline - time.monotonic()
            try:
                arrived = self.arrived.get(timeout=max(left, 0.001))
            except queue.Empty:
                raise SystemExit(f"no event {event} {fields}; there were {self.events}") from None
            if arrived is None:
                raise SystemExit(f"the listener ended; its events were {self.events}")
            self.events.append(arrived)

    def publish(self, topic, path):
        return run(self.atoll, "net", "publish", "--topic", topic, path, "--control", self.control, "--json")

    def find(self, peer_id):
        return run(self.atoll, "net", "find", peer_id, "--control", self.control, "--json")

    def stop(self):
        self.process.terminate()
        assert self.process.wait(10) == 0, "a listener ends with 0"


def run(*command):
    """One command's line of JSON."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def digest(data):
    """As Atoll names content."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def messages():
    """The sizes that must cross: a header of 1 KiB, and a large one of 900 KiB."""
    return [os.urandom(1 << 10), os.urandom(900 << 10)]


def write(folder, name, data):
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def report(text):
    print(text, flush=True)
