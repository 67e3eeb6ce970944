"""Judges a report of the Autobahn suite: judge.py INDEX_JSON EXPECTED_CASES. For CPython 2.7 and 3.

Every case must be OK, in what happened and in how the connection was closed. Exceptions: 6.4.* may find invalid UTF-8 at
a message's end rather than at its first wrong byte; 7.1.6, 7.13.1 and 7.13.2 only inform, whatever the server does.
"""

from __future__ import print_function

import collections
import json
import sys

INFORMATIONAL = ("7.1.6", "7.13.1", "7.13.2")


def allowed(case, verdict):
    if verdict == "OK":
        return True
    if verdict == "NON-STRICT":
        return case.startswith("6.4.")
    return verdict == "INFORMATIONAL" and case in INFORMATIONAL


def order(case):
    return [int(part) for part in case.split(".")]


def main(path, expected):
    with open(path) as file:
        agents = json.load(file)
    if list(agents) != ["roomcast"]:
        print("FAILED: the report is of %s, not of roomcast alone" % sorted(agents))
        return 1
    cases = agents["roomcast"]
    verdicts = collections.Counter()
    others = []
    failed = 0
    for case in sorted(cases, key=order):
        behaviour, closing = cases[case]["behavior"], cases[case]["behaviorClose"]
        verdicts[behaviour] += 1
        if (behaviour, closing) != ("OK", "OK"):
            good = allowed(case, behaviour) and allowed(case, closing)
            failed += not good
            others.append("%-8s %s, closing %s%s" % (case, behaviour, closing, "" if good else "   <-- FAILED"))
    print("%d cases ran: %s" % (len(cases), ", ".join("%d %s" % (n, v) for v, n in verdicts.most_common())))
    for other in others:
        print("  " + other)
    if len(cases) != expected:
        print("FAILED: %d cases should have run" % expected)
        return 1
    if failed:
        print("FAILED: %d cases" % failed)
        return 1
    print("all passed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
