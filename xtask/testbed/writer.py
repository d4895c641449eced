#!/usr/bin/env python3
"""Writes to every member of a cluster and records each write that was acknowledged.

    writer.py RECORD CA CERT KEY URL...

One thread a member, each on one connection, each write a key of its own: a client that goes to
whichever member answers is never worse off than the best of them. Writes a line
`SECONDS KEY REVISION` to RECORD for each acknowledgement, once it gets SIGTERM. The last line says what was seen: `writes N gap MS`,
the gap being the longest time in which no member acknowledged anything.
"""

import base64
import http.client
import json
import signal
import ssl
import sys
import threading
import time
from urllib.parse import urlsplit

PAUSE = 0.025
# Seconds. What is on its way to a leader that loses power is lost, and etcd says so after seven.
# Asked again sooner, the gap is how long the cluster stood still, not how long that answer took.
TIMEOUT = 1
record_path, ca, cert, key, *urls = sys.argv[1:]
stop = threading.Event()
lock = threading.Lock()
acknowledged = []
tls = None
if any(url.startswith("https:") for url in urls):
    tls = ssl.create_default_context(cafile=ca)
    tls.load_cert_chain(cert, key)


def client(place):
    if place.scheme == "https":
        return http.client.HTTPSConnection(
            place.hostname, place.port, timeout=TIMEOUT, context=tls
        )
    return http.client.HTTPConnection(place.hostname, place.port, timeout=TIMEOUT)


def write(member, url):
    place = urlsplit(url)
    connection, count = None, 0
    while not stop.is_set():
        count += 1
        name = f"{member}-{count}"
        body = json.dumps({"key": base64.b64encode(name.encode()).decode(), "value": "eA=="})
        if connection is None:
            connection = client(place)
        try:
            connection.request("POST", "/v3/kv/put", body)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == 200:
                now, revision = time.monotonic(), json.loads(body)["header"]["revision"]
                with lock:
                    acknowledged.append((now, name, revision))
        except (OSError, http.client.HTTPException):
            # A member that restarts; the next round opens a connection anew.
            connection.close()
            connection = None
        time.sleep(PAUSE)


signal.signal(signal.SIGTERM, lambda *_: stop.set())
threads = [threading.Thread(target=write, args=pair, daemon=True) for pair in enumerate(urls)]
for thread in threads:
    thread.start()
begun = time.monotonic()
stop.wait()
with lock:
    seen = sorted(acknowledged)
    ended = time.monotonic()
with open(record_path, "w", encoding="ascii") as record:
    for at, name, revision in seen:
        record.write(f"{at:.6f} {name} {revision}\n")
    # From the first attempt to the last: what came to nothing at either end counts too.
    times = [begun, *(at for at, _, _ in seen), ended]
    gap = max(after - before for before, after in zip(times, times[1:]))
    record.write(f"writes {len(seen)} gap {gap * 1000:.0f}\n")
