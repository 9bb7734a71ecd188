#!/usr/bin/env python3
"""Judges a page in Prometheus text format 0.0.4, more strictly than Prometheus does.

Reads stdin; says what is wrong and exits 1, or prints "FAMILIES SERIES".
"""
import re
import sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9]+(?:\.[0-9]+)?)")
UNITS = ("_seconds", "_bytes", "_info")


def fail(number, line, why):
    sys.exit(f"line {number}: {why}: {line!r}")


def check_counter_name(name, kind):
    if (kind == "counter") != name.endswith("_total"):
        return "_total is for counters, and for all of them"
    return None


def check_histogram(name, samples):
    """Cumulative buckets in order, ending in +Inf == count."""
    buckets = [(labels, value) for n, labels, value in samples if n == name + "_bucket"]
    bounds = [float(dict(labels)["le"].replace("+Inf", "inf")) for labels, _ in buckets]
    counts = [value for _, value in buckets]
    rest = [n for n, _, _ in samples if n != name + "_bucket"]
    if bounds != sorted(set(bounds)) or bounds[-1] != float("inf"):
        return "bounds must rise to +Inf"
    if counts != sorted(counts):
        return "buckets must be cumulative"
    if rest != [name + "_sum", name + "_count"] or samples[-1][2] != counts[-1]:
        return "want _sum, and a _count that is the +Inf bucket"
    return None


def check_family(family):
    name, kind, samples = family
    if kind == "histogram":
        if not name.endswith("_seconds"):
            return "a histogram without unit"
        return check_histogram(name, samples)
    if any(n != name for n, _, _ in samples):
        return "a sample of another family"
    if kind == "counter" and any(value < 0 for _, _, value in samples):
        return "a negative counter"
    return check_counter_name(name, kind)


def main():
    text = sys.stdin.buffer.read().decode("utf-8")
    if not text.endswith("\n"):
        sys.exit("want a newline at the end")
    families, seen, helped, family = set(), set(), None, None
    for number, line in enumerate(text[:-1].split("\n"), 1):
        if line.startswith("# HELP "):
            why = family and check_family(family)
            if why:
                fail(number, family[0], why)
            helped, family = line.split(" ")[2], None
            if helped in families or not re.fullmatch(NAME, helped) or len(line.split(" ")) < 4:
                fail(number, line, "HELP: twice, or malformed")
            families.add(helped)
            continue
        if line.startswith("# TYPE "):
            match = re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line)
            if not match or match[1] != helped or family:
                fail(number, line, "TYPE must follow its HELP")
            family = (match[1], match[2], [])
            continue
        match = SAMPLE.fullmatch(line)
        if not match or not family:
            fail(number, line, "not a sample, or without TYPE")
        labels = tuple(re.findall(LABEL, match[2] or ""))
        if len(dict(labels)) != len(labels):
            fail(number, line, "a label twice")
        if (match[1], frozenset(labels)) in seen:
            fail(number, line, "a series twice")
        if not match[1].startswith(family[0]):
            fail(number, line, "a sample of another family")
        seen.add((match[1], frozenset(labels)))
        family[2].append((match[1], labels, float(match[8 - 1])))
    why = check_family(family)
    if why:
        sys.exit(f"{family[0]}: {why}")
    print(len(families), len(seen))


main()
