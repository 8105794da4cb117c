"""Scrapes a URL and parses it with the official parser: {family: {type, labels}} as JSON.

A counter's family has the name of its samples, with `_total`, as dashboards write it.
"""

import json
import sys
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

with urllib.request.urlopen(sys.argv[1], timeout=10) as response:
    assert response.headers["content-type"].startswith("text/plain"), response.headers["content-type"]
    text = response.read().decode()

families = {}
for family in text_string_to_metric_families(text):
    name = family.name + ("_total" if family.type == "counter" else "")
    assert family.documentation, f"{name} has no help text"
    labels = sorted({label for sample in family.samples for label in sample.labels if label != "le"})
    families[name] = {"type": family.type, "labels": labels}
print(json.dumps(families))
