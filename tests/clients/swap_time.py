#!/usr/bin/env python3
"""Measures a swap: from the upload to its answer, and then to the first request on the new generation.

    python3 tests/clients/swap_time.py target/release/weir tests/guests/target/dist/versioned.wasm

One connection sends requests without a pause while ten versions of a component are uploaded one after the other."""
import http.client
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

MARK = b"version=0000000000000000 faults=none............"
CONFIG = """
listeners: [{ address: "127.0.0.1:0", protocols: [h1] }]
plugins: [{ name: v, source: "file:v.wasm", watch: false, canary: { for: 1s } }]
routes: [{ filters: [v], respond: { status: 200, body: "ok" } }]
admin: { address: "127.0.0.1:0", token: s3cret }
workers: 1
"""


def main(weir, component):
    wasm = open(component, "rb").read()
    assert MARK in wasm, "not the guest `versioned`"
    with tempfile.TemporaryDirectory() as directory:
        open(f"{directory}/v.wasm", "wb").write(wasm)
        open(f"{directory}/weir.yaml", "w").write(CONFIG)
        environment = {**os.environ, "WEIR_PLUGIN_CACHE": f"{directory}/cache"}
        process = subprocess.Popen([weir, "run", "-c", f"{directory}/weir.yaml"], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            measure(wasm, *addresses(process))
        finally:
            process.terminate()
            process.wait()


def addresses(process):
    found = {}
    for line in process.stderr:
        for what in ("listening", "serving the admin API"):
            if what in line:
                found[what] = re.search(r"127\.0\.0\.1:(\d+)", line)[1]
        if len(found) == 2:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return int(found["listening"]), int(found["serving the admin API"])
    sys.exit("weir did not start")


def measure(wasm, port, admin):
    seen, stop = {}, threading.Event()

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while not stop.is_set():
            start = time.perf_counter()
            connection.request("GET", "/")
            response = connection.getresponse()
            response.read()
            assert response.status == 200, response.status
            seen.setdefault(response.getheader("x-version").split()[0], start)

    asking = threading.Thread(target=ask)
    asking.start()
    for number in range(1, 11):
        version = f"{number:016}"
        body = wasm.replace(MARK, MARK.replace(b"0" * 16, version.encode()))
        start = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", admin)
        connection.request("PUT", "/api/plugins/v", body, {"authorization": "Bearer s3cret"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        answered = time.perf_counter()
        while version not in seen and time.perf_counter() < answered + 5:
            time.sleep(0.0005)
        first = (seen[version] - answered) * 1e3
        print(f"swap {number}: {(answered - start) * 1e3:.1f} ms to the answer, first request with it {first:+.2f} ms after that")
    stop.set()
    asking.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
