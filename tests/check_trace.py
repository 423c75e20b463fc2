#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
"""check_trace.py FILE [key=value …]: does a trace have what doc/trace.md promises, and what Perfetto and Chrome need?

Each key=value is a figure of otherData that it must have, or, with a colon, of a task, whatever its call: square:items=100,
or pmap_map.square:items=100. 7+ means at least 7, 7- at most. Of lost it is how many. phases=map,reduce: there are such. exact=1: no
item is missing and none is there twice. offset=S: the clock of rank 1 is S seconds ahead. Says what is wrong, and exits with 1."""
import json
import sys

bad = []


def check(holds, *what):
    if not holds and len(bad) < 10:
        bad.append(" ".join(str(w) for w in what))
    return holds


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def no_constants(text):
    raise ValueError(f"{text} is no JSON")


# What the Trace Event Format wants of each phase of an event, for readers other than ours.
NEEDS = {"X": ("name", "cat", "ts", "dur", "pid", "tid"), "b": ("name", "cat", "id", "ts", "pid", "tid"),
         "e": ("name", "cat", "id", "ts", "pid", "tid"), "M": ("name", "pid", "args")}


def check_event(e):
    if not check(e.get("ph") in NEEDS, "an event has ph", e.get("ph")):
        return
    for field in NEEDS[e["ph"]]:
        check(field in e, "an event has no", field, e)
    for field in ("pid", "tid"):
        check(isinstance(e.get(field, 0), int), field, "is no integer in", e)
    for field in ("ts", "dur"):
        check(number(e.get(field, 0)) and e.get(field, 0) >= 0, field, "is negative or no number in", e)
    check(isinstance(e.get("name", ""), str) and isinstance(e.get("args", {}), dict), "name or args is of another type in", e)
    check(isinstance(e.get("id", ""), str), "id is no text in", e)


def check_pairs(events, cat):
    begun = {}
    for e in events:
        if e.get("cat") != cat:
            continue
        if e["ph"] == "b":
            check(e["id"] not in begun, cat, e["id"], "begins twice")
            begun[e["id"]] = e
        elif check(e["id"] in begun, cat, e["id"], "ends and has not begun"):
            b = begun[e["id"]]
            check(b["name"] == e["name"] and b["pid"] == e["pid"] and b["ts"] <= e["ts"], cat, e["id"], "ends as another")
            b["end"] = e
    for b in begun.values():
        check("end" in b, cat, b["id"], "does not end")
    return begun


def check_lanes(items, lanes):
    """Spans of a lane follow each other; a microsecond has three decimals, and so a float may be wrong in the fourth."""
    last = {}
    for e in sorted(items, key=lambda e: e["ts"]):
        lane = (e["pid"], e["tid"])
        check(lane in lanes, "a span is in no lane:", e)
        if lane in last:
            before = last[lane]
            check(e["ts"] >= before["ts"] + before["dur"] - 0.0011, "spans overlap:", before, e)
        last[lane] = e


def check_item(e):
    a = e["args"]
    check(a["n"] >= 1 and a.get("last", a["item"]) >= a["item"], "n and last:", e)
    if a.get("weight", 1) == 1:
        check(a["n"] <= a.get("last", a["item"] + a["n"] - 1) - a["item"] + 1, "more items than there are:", e)
    check(a.get("busy_us", 0) <= e["dur"] + 0.001, "busy for longer than it lasts:", e)
    status = "failed" if a.get("failed") else "given_up" if a.get("given_up") else "ok"
    check(a["status"] == status, "status:", e)
    check(a.get("failed", 0) + a.get("given_up", 0) <= a["n"], "more failures than items:", e)
    check(a.get("attempt", 1) >= 1, "attempt:", e)


def check_chunk(e):
    a = e["args"]
    parts = [a[p] for p in ("send_us", "transfer_us", "queue_us", "run_us", "answer_us")]
    check(all(p >= 0 for p in parts), "a part of a chunk's time is negative:", e)
    if a.get("chunks", 1) == 1:
        check(abs(sum(parts) - (e["end"]["ts"] - e["ts"])) < 0.01, "the parts of a chunk's time are not all of it:", e)


def check_causes(items, chunks, clocks):
    """Nothing runs before it was sent, nor after its results have been handled."""
    for e in items:
        chunk = chunks.get(str(e["args"].get("chunk")))
        if chunk is None or chunk["args"].get("chunks", 1) > 1 or e["args"].get("weight", 1) > 1:
            continue
        error = clocks[e["pid"]]["error_us"] + 0.001
        check(e["pid"] == chunk["pid"], "a chunk of another rank:", e)
        check(e["ts"] >= chunk["ts"] + chunk["args"]["send_us"] - error, "an item begins before it was sent:", e, chunk)
        if e["args"]["n"] == 1 and chunk["args"]["status"] in ("ok", "failed"):
            check(e["ts"] + e["dur"] <= chunk["end"]["ts"] + error, "an item ends after its chunk:", e, chunk)


def check_sums(data, items):
    check(data["items"] == sum(t["items"] for t in data["tasks"]), "items are not those of the tasks")
    check(data["kept"] == len(items), "kept is", data["kept"], "but there are", len(items))
    if data["dropped"] == 0 and not data["lost"] and data["complete"]:
        check(data["items"] == sum(e["args"]["n"] for e in items), "items are not those of the spans")
        check(data["spans"] == sum(e["args"].get("weight", 1) for e in items), "weights do not add up")
    for t in data["tasks"]:
        check(t["items"] == sum(h[2] for h in t["histogram"]), "the histogram of", t["task"], "does not add up")
        for h in t["histogram"]:
            check(h[0] < h[1], "a step of a histogram:", h)
        mine = [e for e in items if e["name"] == t["task"]]
        busy = sum(e["args"].get("busy_us", e["dur"]) for e in mine)
        if data["dropped"] == 0 and len([o for o in data["tasks"] if o["task"] == t["task"]]) == 1:
            check(abs(busy - t["busy_us"]) <= 0.002 * len(mine) + 1e-6 * busy + sum(c["error_us"] for c in data["clocks"]),
                  "busy_us of", t["task"], t["busy_us"], busy)


def check_exact(items, calls):
    for c in calls.values():
        args = c["args"]
        mine = [e["args"] for e in items if e["args"]["call"] == args["call"] and e["args"].get("attempt", 1) == 1]
        check(all(a["item"] + a["n"] - 1 == a.get("last", a["item"] + a["n"] - 1) for a in mine), "items are mixed up in", c["name"])
        covered = sorted(i for a in mine for i in range(a["item"], a["item"] + a["n"]))
        check(covered == list(range(args["n"])), "the spans of", c["name"], "are not its", args["n"], "items, once each")


def check_wishes(data, phases, wishes):
    for wish in wishes:
        name, _, value = wish.partition("=")
        if name == "phases":
            for phase in value.split(","):
                check(any(e["name"] == phase for e in phases), "there is no phase", phase)
            continue
        if name == "offset":
            clock = data["clocks"][1]
            check(abs(clock["offset_us"] - 1e6 * float(value)) <= clock["error_us"] < 50000, "the clock of rank 1 is", clock)
            continue
        task, _, field = name.rpartition(":")
        have = figure(data, task, field)
        least, most = value.endswith("+"), value.endswith("-")
        if least or most:
            check(have >= int(value[:-1]) if least else have <= int(value[:-1]), name, "is", have, "and not", value)
        else:
            check(str(have).lower() == value.lower(), name, "is", have, "and not", value)


def figure(data, task, field):
    if not task:
        return len(data["lost"]) if field == "lost" else data.get(field)
    call, _, task = task.rpartition(".")
    return sum(t[field] for t in data["tasks"] if t["task"] == task and call in ("", t["call"]))


def main():
    wishes = [w for w in sys.argv[2:] if w != "exact=1"]
    with open(sys.argv[1], "rb") as file:
        trace = json.loads(file.read().decode("utf-8"), parse_constant=no_constants)
    data, events = trace["otherData"], trace["traceEvents"]
    for e in events:
        check_event(e)
    if bad:
        return
    items = [e for e in events if e.get("cat") == "items"]
    calls, chunks = check_pairs(events, "calls"), check_pairs(events, "chunks")
    lanes = {(lane["rank"], lane["thread"]) for lane in data["lanes"]}
    named = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name" and e["pid"] >= 0}
    check(lanes == named, "lanes are not those with a name")
    check_lanes(items, lanes)
    for e in items:
        check_item(e)
    for e in chunks.values():
        check_chunk(e)
    check_causes(items, chunks, {c["rank"]: c for c in data["clocks"]})
    check_sums(data, items)
    if len(wishes) < len(sys.argv) - 2:
        check_exact(items, calls)
    check_wishes(data, [e for e in events if e.get("cat") == "phase"], wishes)


main()
for line in bad:
    print("#", sys.argv[1] + ":", line)
sys.exit(1 if bad else 0)
