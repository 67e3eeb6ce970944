"""Requests about what really exists: every second valid room or id that Schemathesis thinks of is replaced by a live one."""

import itertools
import json
import os
import re
import urllib.request

import schemathesis

BASE, KEY = os.environ["API_BASE"], os.environ["API_KEY"]
LIVE = {
    "room": (re.compile(r"[^\s{}\x00-\x1f\x7f-\x9f]{1,255}"), "/api/rooms", "rooms", "room"),
    "id": (re.compile(r"[0-9a-f]{16}"), "/api/connections", "connections", "id"),
}
turns = itertools.count()


def live(name, value):
    pattern, path, entries, field = LIVE[name]
    turn = next(turns)
    if turn % 2 or not isinstance(value, str) or not pattern.fullmatch(value):
        return value
    request = urllib.request.Request(BASE + path, headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        known = [entry[field] for entry in json.load(answer)[entries]]
    return known[turn % len(known)] if known else value


def replaced(values):
    # An event's own `id` is another matter.
    if isinstance(values, dict):
        for name in LIVE.keys() & values.keys() - ({"id"} if "topic" in values else set()):
            values[name] = live(name, values[name])
    return values


@schemathesis.hook
def map_path_parameters(ctx, path_parameters):
    return replaced(path_parameters)


@schemathesis.hook
def map_query(ctx, query):
    return replaced(query)


@schemathesis.hook
def map_body(ctx, body):
    return replaced(body)


def in_bytes(value):
    """JSON Schema counts characters, the pod bytes: what only it refuses for its length is not asked."""
    if isinstance(value, dict):
        return all(in_bytes(part) for part in value.values())
    if isinstance(value, list):
        return all(in_bytes(part) for part in value)
    return not (isinstance(value, str) and len(value) <= 255 < len(value.encode("utf-8", "replace")))


@schemathesis.hook
def filter_case(ctx, case):
    return all(in_bytes(part) for part in (case.path_parameters, case.query, case.body))
