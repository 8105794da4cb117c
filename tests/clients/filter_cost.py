#!/usr/bin/env python3
"""Measures the cost of each filter for a request that passes it.

The cost is the proxy's processor time with the filter on the route, less the time without it.

    python3 tests/clients/filter_cost.py target/release/weir [NAME…] [--rounds 9] [--seconds 1] [--rate 8000]

Two Weirs run on one core, one with the filter. Their origin, nginx, and h2load run on another core;
h2load has 32 connections of HTTP/2 to each at a fixed rate. Both Weirs meet the same noise and the
same number of requests in the same time, so that the kernel has batches of the same size. The figure
is the median of the rounds' differences.
Needs nginx, h2load and taskset; make's PATH has those that .ci/setup installs."""
import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

NGINX = """
worker_processes 1; daemon off; pid {directory}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
  server {{ listen 127.0.0.1:{port}; location / {{ default_type text/plain; return 200 "{body}"; }} }}
}}
"""
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}


def token(secret, claims):
    part = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    signed = ".".join(part(json.dumps(each).encode()) for each in ({"alg": "HS256", "typ": "JWT"}, claims))
    return signed + "." + part(hmac.new(secret, signed.encode(), hashlib.sha256).digest())


def mmdb(directory, record):
    """A MaxMind DB file whose tree is one node: every address has this record."""
    def encoded(value):
        if isinstance(value, dict):
            return bytes([7 << 5 | len(value)]) + b"".join(encoded(key) + encoded(value) for key, value in value.items())
        if isinstance(value, bytes):
            return value
        return bytes([2 << 5 | len(value)]) + value.encode()
    to_record = (1 + 16).to_bytes(3, "big")
    number = lambda control, size, value: bytes(control) + value.to_bytes(size, "big")
    u16 = lambda value: number([5 << 5 | 2], 2, value)
    about = {"node_count": number([6 << 5 | 4], 4, 1), "record_size": u16(24), "ip_version": u16(6), "database_type": "Test-Country",
             "binary_format_major_version": u16(2), "binary_format_minor_version": u16(0), "build_epoch": number([8, 2], 8, 1),
             "description": {}, "languages": bytes([0, 4])}
    path = f"{directory}/geo.mmdb"
    with open(path, "wb") as file:
        file.write(to_record * 2 + bytes(16) + encoded(record) + b"\xab\xcd\xefMaxMind.com" + encoded(about))
    return path


def headers(**config):
    return {"source": "builtin:headers", "config": config}


def filters():
    """Returns, for each filter, its plugins and the fields of a request that passes it."""
    secret, claims = "a secret of thirty-two characters", {"sub": "ann", "aud": "shop", "exp": int(time.time()) + 86400}
    one = lambda name, config, fields={}, **more: ([{"source": f"builtin:{name}", "config": config, **more}], fields)
    upstreams = {"allow": {"upstreams": ["app", "canary"]}}
    return {
        "api-key": one("api-key", {"keys": {"acme": "sha256:" + hashlib.sha256(b"a-key-of-acme").hexdigest()}, "from": ["header:x-api-key"]},
                       {"x-api-key": "a-key-of-acme"}),
        "basic-auth": one("basic-auth", {"users": {"ann": "$2y$10$7SKDxs.xjCBPDut.fa5dyOzW8y9OBnJz8JTUepVJBrh0jTHvn.U6u"}},
                          {"authorization": "Basic " + base64.b64encode(b"ann:open sesame").decode()}, limits={"time": "300ms"}),
        "body-replace": one("body-replace", {"replace": [{"from": "Acme", "to": "Example"}]}),
        "cors": one("cors", {"origins": ["https://app.example.com"]}, {"origin": "https://app.example.com"}),
        "forward-auth": one("forward-auth", {"upstream": "canary", "path": "/check"}, **upstreams),
        "geo": one("geo", {"country_header": "x-country", "deny": {"countries": ["KP"]}}),
        "headers": one("headers", {"request": {"set": {"x-client": "${header:user-agent} ${client.address}"}}}),
        "ip-allow": one("ip-allow", {"allow": ["127.0.0.0/8", "::1", "192.0.2.0/24"]}),
        "jwt": one("jwt", {"keys": [{"secret": secret}], "audience": "shop", "claims_to_headers": {"sub": "x-user"}},
                   {"authorization": "Bearer " + token(secret.encode(), claims)}),
        "maintenance": one("maintenance", {"windows": [{"from": "2031-03-01T02:00:00Z", "until": "2031-03-01T04:00:00Z"}]}),
        "mirror-tag": one("mirror-tag", {"share": "5%", "by": "cookie:session"}, {"cookie": "session=4f2c9d"}),
        "rate-limit": one("rate-limit", {"by": "client", "requests": 1000000, "per": "1s", "burst": 1000000}),
        "redirect": one("redirect", {"rules": [{"scheme": "http", "to": "https://${host}${path}"}, {"path": "/chat", "to": "https://chat.example/"}]}),
        "request-id": one("request-id", {"make": "uuid-v7"}),
        "rewrite": one("rewrite", {"rules": [{"prefix": "/api", "strip_prefix": "/api", "add_prefix": "/v2"}]}),
        "security-headers": one("security-headers", {}),
        "split": one("split", {"groups": [{"name": "stable", "upstream": "app", "weight": 95}, {"name": "canary", "upstream": "canary", "weight": 5}],
                               "cookie": {"name": "variant"}}, {"cookie": "variant=stable"}, **upstreams),
        "waf": one("waf", {"rule_sets": ["sqli", "xss", "traversal", "rce", "scanners", "protocol"]}),
        "three": ([
            headers(request={"set": {"x-one": "${header:user-agent}", "x-client": "${client.address}"}}),
            headers(request={"set": {"x-two": "${path}"}, "remove": ["x-debug"]}),
            headers(response={"set": {"x-three": "nosniff"}})], {}),
    }


def configuration(plugins, origin, countries):
    plugins = [{"name": f"p{at}", **plugin} for at, plugin in enumerate(plugins)]
    endpoints = [{"address": f"127.0.0.1:{origin}"}]
    return {
        "listeners": [{"address": "127.0.0.1:0", "protocols": ["h2"], "tls": {"self_signed": {}}}],
        **({"plugins": plugins} if plugins else {}),
        "upstreams": [{"name": name, "endpoints": endpoints} for name in ("app", "canary")],
        "routes": [{"upstream": "app", **({"filters": [plugin["name"] for plugin in plugins]} if plugins else {})}],
        "geoip": {"databases": [countries]},
        "telemetry": {"log": {"access": False}},
        "workers": 1,
    }


class Proxy:
    """A Weir on the first core, with these plugins on its route."""

    def __init__(self, weir, directory, origin, plugins):
        path = f"{directory}/weir.yaml"
        with open(path, "w") as file:
            json.dump(configuration(plugins, origin, mmdb(directory, {"country": {"iso_code": "DE"}})), file)
        self.process = subprocess.Popen(["taskset", "-c", "0", weir, "run", "-c", path], stderr=subprocess.PIPE, text=True)
        log = []
        for line in self.process.stderr:
            log.append(line)
            if found := re.search(r"listening.*127\.0\.0\.1:(\d+)", line):
                self.port = found[1]
                return
        self.process.wait()
        sys.exit("weir did not start:\n" + "".join(log))

    def spent(self):
        """Returns the processor time so far, in seconds, by the scheduler."""
        tasks = f"/proc/{self.process.pid}/task"
        return sum(int(open(f"{tasks}/{task}/schedstat").read().split()[0]) for task in os.listdir(tasks)) / 1e9

    def load(self, fields, rate, seconds):
        """Starts the requests."""
        connections = 32
        command = ["taskset", "-c", "1", "h2load", "-c", str(connections), "-m", "10", "--rps", str(rate // connections), "-D", f"{seconds}s"]
        command += [argument for name, value in fields.items() for argument in ("-H", f"{name}: {value}")]
        self.before = self.spent()
        self.client = subprocess.Popen([*command, f"https://127.0.0.1:{self.port}/shop/cart?item=17"], stdout=subprocess.PIPE, text=True)

    def loaded(self):
        """Waits for the answers and returns the processor time of a request, in microseconds."""
        output = self.client.communicate()[0]
        after = self.spent()
        done = re.search(r"(\d+) succeeded, 0 failed.*\nstatus codes: \d+ 2xx, 0 3xx, 0 4xx, 0 5xx", output)
        if not done:
            sys.exit("not all requests were answered with 200:\n" + re.search("requests:.*\nstatus codes:.*", output)[0])
        return (after - self.before) / int(done[1]) * 1e6

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.stderr.read()
        self.process.wait()


def compared(weir, directory, origin, plugins, fields, options):
    with Proxy(weir, directory, origin, []) as plain, Proxy(weir, directory, origin, plugins) as filtered:
        rounds = []
        for _ in range(options.rounds + 1):
            for proxy in (plain, filtered):
                proxy.load(fields, options.rate, options.seconds)
            rounds.append((plain.loaded(), filtered.loaded()))
        rounds.pop(0)    # the one in which they warm up
    added = [filtered - plain for plain, filtered in rounds]
    return statistics.median(plain for plain, _ in rounds), statistics.median(added), min(added), max(added)


def main():
    known = filters()
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("weir")
    arguments.add_argument("names", nargs="*", metavar="NAME", help="filters, all without: " + ", ".join(known))
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--seconds", type=int, default=1)
    arguments.add_argument("--rate", type=int, default=8000, help="requests a second, with and without each")
    options = arguments.parse_intermixed_args()
    if unknown := set(options.names) - set(known):
        sys.exit("no such filter: " + ", ".join(sorted(unknown)))
    for tool in ("nginx", "h2load", "taskset"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is not on the PATH")
    with tempfile.TemporaryDirectory() as directory:
        origin = 19080
        with open(f"{directory}/nginx.conf", "w") as file:
            file.write(NGINX.format(directory=directory, port=origin, body="x" * 1024))
        nginx = subprocess.Popen(["taskset", "-c", "1", "nginx", "-e", "stderr", "-c", f"{directory}/nginx.conf"])
        try:
            print("| filter | without, µs | added, µs | lowest and highest |\n|---|---|---|---|", flush=True)
            for name in options.names or known:
                plugins, fields = known[name]
                base, added, low, high = compared(options.weir, directory, origin, plugins, {**BROWSER, **fields}, options)
                print(f"| {name} | {base:.1f} | {added:.1f} | {low:.1f} to {high:.1f} |", flush=True)
        finally:
            nginx.terminate()
            nginx.wait()


if __name__ == "__main__":
    main()
