#!/usr/bin/env python3
"""Connects to every member again and again, with each of several certificates, and records who was
refused.

    reconnects.py RECORD CA NAME... -- URL...

NAME stands for NAME.crt and NAME.key, read again for each connection, as clients do whose files are
replaced beneath them. Writes to RECORD, on SIGTERM, a line `refused NAME URL WHY` for every
connection that TLS refused on either side, and last, for each, `connected N NAME, cut M`. A member
that is down or starts up refuses no one, and cuts connections.
"""

import collections
import http.client
import signal
import ssl
import sys
import threading
import time
from urllib.parse import urlsplit

PAUSE = 0.02
record_path, ca, *rest = sys.argv[1:]
names, urls = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
stop = threading.Event()
lock = threading.Lock()
refused = collections.Counter()
connected = collections.Counter()
cut = collections.Counter()


def connect(name, url):
    place = urlsplit(url)
    while not stop.is_set():
        time.sleep(PAUSE)
        try:
            tls = ssl.create_default_context(cafile=ca)
            tls.load_cert_chain(f"{name}.crt", f"{name}.key")
        except (OSError, ssl.SSLError):
            # Both files are replaced, one after the other.
            continue
        connection = http.client.HTTPSConnection(place.hostname, place.port, timeout=2, context=tls)
        try:
            # With TLS 1.3 only an answer says that our certificate was accepted.
            connection.request("GET", "/version")
            connection.getresponse().read()
            with lock:
                connected[name] += 1
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            with lock:
                cut[name] += 1
        except ssl.SSLError as error:
            with lock:
                refused[(name, url, str(error))] += 1
        except (OSError, http.client.HTTPException):
            with lock:
                cut[name] += 1
        finally:
            connection.close()


signal.signal(signal.SIGTERM, lambda *_: stop.set())
pairs = [(name, url) for name in names for url in urls]
threads = [threading.Thread(target=connect, args=pair, daemon=True) for pair in pairs]
for thread in threads:
    thread.start()
stop.wait()
with lock, open(record_path, "w", encoding="utf-8") as record:
    for (name, url, why), count in refused.items():
        record.write(f"refused {count} times: {name} {url} {why}\n")
    for name in names:
        record.write(f"connected {connected[name]} {name}, cut {cut[name]}\n")
