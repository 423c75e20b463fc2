#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Traces as the library writes them (doc/trace.md), of runs that never were, to test the report: python3 tests/traces.py KIND > run.json

A kind says what is wrong with the run; the schedule is played here, and what comes out is known by that.
"""
import heapq
import json
import math
import random
import sys


class Trace:
    def __init__(self, command, ranks, threads, hosts=1):
        self.command, self.ranks, self.threads = command, ranks, threads
        self.host = lambda r: "node%d" % (r * hosts // ranks)
        self.events, self.calls, self.items, self.failed, self.chunks, self.spans = [], 0, 0, 0, 0, 0
        self.end = 0.0
        self.totals = {}
        self.startup(0.0)

    def startup(self, seconds):
        self.events = [e for e in self.events if e["cat"] != "startup"]
        for r in range(self.ranks):
            self.events.append({"ph": "X", "cat": "startup", "name": "pmap_create", "pid": r, "tid": 0, "ts": 0, "dur": round(seconds * 1e6, 3)})
        self.end = max(self.end, seconds)

    def lanes(self):
        return [(r, t) for r in range(self.ranks) for t in range(self.threads)]

    def span(self, call, task, lane, begin, seconds, item, n=1, failed=0, **more):
        self.events.append({"ph": "X", "cat": "items", "name": task, "pid": lane[0], "tid": lane[1], "ts": round(begin * 1e6, 3), "dur": round(seconds * 1e6, 3),
                            "args": {"call": call, "item": item, "n": n, "status": "failed" if failed else "ok", **({"failed": failed} if failed else {}), **more}})
        self.spans += 1
        self.end = max(self.end, begin + seconds)

    def total(self, function, task, seconds, n=1, failed=0):
        t = self.totals.setdefault((function, task), {"call": function, "task": task, "calls": 0, "items": 0, "failed": 0, "busy_us": 0, "min_us": 1e99, "max_us": 0, "bins": {}})
        us = seconds * 1e6
        t["items"] += n
        t["failed"] += failed
        t["busy_us"] += us * n
        t["min_us"], t["max_us"] = min(t["min_us"], us), max(t["max_us"], us)
        step = math.floor(4 * math.log2(max(us, 0.001)))
        t["bins"][step] = t["bins"].get(step, 0) + n
        self.items += n
        self.failed += failed

    def call(self, function, task, begin, end, n, chunksize=0, status="PMAP_OK", number=None, **more):
        if number is None:
            number = self.number()
        args = {"call": number, "function": function, "task": task, "n": n, "chunksize": chunksize}
        name = function + " " + task
        self.events.append({"ph": "b", "cat": "calls", "id": str(number), "name": name, "pid": -1, "tid": 0, "ts": round(begin * 1e6, 3), "args": args})
        self.events.append({"ph": "e", "cat": "calls", "id": str(number), "name": name, "pid": -1, "tid": 0, "ts": round(end * 1e6, 3), "args": {"status": status, "items": n, **more}})
        self.end = max(self.end, end)
        self.totals.setdefault((function, task), {"call": function, "task": task, "calls": 0, "items": 0, "failed": 0, "busy_us": 0, "min_us": 0, "max_us": 0, "bins": {}})["calls"] += 1

    def number(self):
        self.calls += 1
        return self.calls

    def map(self, task, times, begin=None, chunksize=1, given=None, hand_out=0.0, function="pmap_map", speed=lambda rank: 1.0, fails=(), bytes_out=8, flight=0.0):
        """Play a map: whoever is free first takes the next chunk. Its end."""
        begin = self.end if begin is None else begin
        number = self.number()
        free = [(begin, i) for i in range(self.ranks * self.threads)]
        lanes = self.lanes()
        last = begin
        for first in range(0, len(times), chunksize):
            at, i = heapq.heappop(free)
            at += hand_out
            rank = lanes[i][0]
            more = {}
            if rank > 0:
                self.chunks += 1
                more = {"chunk": self.chunks}
                sent = at
                at += flight
            run = at
            for item in range(first, min(first + chunksize, len(times))):
                seconds = times[item] * speed(rank)
                bad = item in fails
                self.span(number, task, lanes[i], at, seconds, item, failed=int(bad), **more)
                self.total(function, task, seconds, failed=int(bad))
                at += seconds
            if rank > 0:
                n = min(chunksize, len(times) - first)
                args = {"chunk": self.chunks, "call": number, "item": first, "n": n, "bytes_out": bytes_out * n, "bytes_in": 8 * n, "status": "ok", "send_us": round(flight * 5e5, 3),
                        "transfer_us": round(flight * 5e5, 3), "queue_us": 0, "run_us": round((at - run) * 1e6, 3), "answer_us": round(flight * 1e6, 3)}
                self.events.append({"ph": "b", "cat": "chunks", "id": str(self.chunks), "name": "chunk", "pid": rank, "tid": 0, "ts": round(sent * 1e6, 3), "args": args})
                at += flight
                self.events.append({"ph": "e", "cat": "chunks", "id": str(self.chunks), "name": "chunk", "pid": rank, "tid": 0, "ts": round(at * 1e6, 3)})
            last = max(last, at)
            heapq.heappush(free, (at, i))
        failed = len(fails)
        self.call(function, task, begin, last, len(times), chunksize if given is None else given, number=number, **({"failed": failed, "status": "PMAP_EFAILED",
                  "error": "pmap: %s failed at item %d on node0 (rank 0, thread 0): negative input (code 2)" % (task, min(fails))} if fails else {}))
        return last

    def write(self, out, **other):
        tasks = []
        for t in self.totals.values():
            bins = t.pop("bins")
            t["histogram"] = [[round(2 ** (s / 4), 3), round(2 ** ((s + 1) / 4), 3), n] for s, n in sorted(bins.items())]
            tasks.append({k: round(v, 3) if isinstance(v, float) else v for k, v in t.items()})
        data = {"pmap": "0.1.0", "format": 1, "command": self.command, "started": "2026-11-25T20:50:00Z", "complete": True, "end_us": round(self.end * 1e6, 3),
                "ranks": self.ranks, "threads": self.ranks * self.threads, "lanes": [{"rank": r, "thread": t, "host": self.host(r)} for r, t in self.lanes()],
                "spans": self.spans, "kept": self.spans, "calls": self.calls, "chunks": self.chunks, "items": self.items, "failed": self.failed, "given_up": 0, "skipped": 0,
                "tasks": tasks, "clocks": [], **other}
        out.write('{"displayTimeUnit":"ms","otherData":%s,"traceEvents":[\n' % json.dumps(data))
        out.write(",\n".join(json.dumps(e, separators=(",", ":")) for e in self.events))
        out.write("\n]}\n")


def ten():
    t = Trace("./sweep --points 10", 1, 4)
    t.startup(0.002)
    t.map("simulate", [0.1 + 0.02 * (i % 4) for i in range(10)], chunksize=1, given=0)
    t.write(sys.stdout)


def even():
    """Nothing is wrong with it."""
    t = Trace("./even", 4, 2)
    t.startup(0.01)
    t.map("work", [0.01] * 3200, chunksize=1, given=0)
    t.write(sys.stdout)


def skewed():
    rng = random.Random(1)
    t = Trace("./render --scene city.xml", 8, 4, hosts=4)
    t.startup(0.3)
    times = [rng.lognormvariate(-5, 1.0) for _ in range(6000)]
    for i in range(5700, 5800):
        times[i] *= 8
    t.map("prepare", [0.002] * 2000, chunksize=10, given=0)
    t.map("render", times, begin=t.end + 0.6, chunksize=100, hand_out=0.0002, fails={17, 4711}, bytes_out=2000, flight=0.001)
    t.write(sys.stdout)


def lanes():
    """64 ranks of 8 threads, one of them slow."""
    rng = random.Random(2)
    t = Trace("./monte-carlo", 64, 8, hosts=16)
    t.startup(0.05)
    for _ in range(3):
        t.map("sample", [0.05 + 0.02 * rng.random() for _ in range(6000)], begin=t.end + 0.02, chunksize=1, hand_out=0.0001, speed=lambda r: 3.0 if r // 4 == 9 else 1.0)
    t.write(sys.stdout)


def many():
    """Ten million items, of which the trace has 50 000 spans, joined."""
    rng = random.Random(3)
    t = Trace("./count", 8, 4, hosts=2)
    t.startup(0.2)
    number, begin, item = t.number(), 0.2, 0
    now = {lane: begin for lane in t.lanes()}
    lanes = t.lanes()
    for k in range(50000):
        lane = lanes[k % 32]
        n, mean = 200, rng.lognormvariate(-10.5, 0.4)
        busy = n * mean
        pause = busy * 0.02 * rng.random()
        t.span(number, "score", lane, now[lane], busy + pause, item, n, busy_us=round(busy * 1e6, 3), weight=8, longest_us=round(mean * 3e6, 3))
        t.total("pmap_map", "score", mean, n)
        now[lane] += busy + pause
        item += n
    t.call("pmap_map", "score", begin, max(now.values()), item, number=number)
    t.write(sys.stdout, spans=400000, kept=50000)


def mapreduce():
    t = Trace("pmap-wordcount corpus/", 4, 2)
    t.startup(0.05)
    number = t.number()
    end = 0.05
    for name, seconds, split, more in (("plan", 0.02, 0, {"items": 64, "bytes_in": 4_000_000_000}), ("map", 3.0, 64, {"items": 64, "records_in": 80_000_000, "records_out": 640_000_000, "bytes_in": 4_000_000_000, "bytes_sent": 900_000_000, "bytes_spilled": 400_000_000}),
                                       ("reduce", 1.2, 64, {"items": 64, "records_in": 9_000_000, "records_out": 2_000_000, "bytes_out": 31_000_000})):
        t.events.append({"ph": "X", "cat": "phase", "name": name, "pid": -1, "tid": 1, "ts": end * 1e6, "dur": seconds * 1e6, "args": {"call": number, **more}})
        for k in range(split):
            lane = t.lanes()[k % 8]
            each = seconds / (split / 8)
            t.span(number, "words_of", lane, end + (k // 8) * each, each * 0.97, k)
            t.total("pmap_mapreduce", "words_of", each * 0.97)
        end += seconds
    t.call("pmap_mapreduce", "words_of", 0.05, end, 128, number=number)
    t.write(sys.stdout)


def hostile():
    """Names that would like to be more than text."""
    name = '</script><script>document.title="owned"</script><img src=x onerror=alert(1)>"\'\\ \u2028 \u202e&amp;'
    t = Trace("./a '" + name + "'", 1, 2)
    t.host = lambda r: "<b>host</b>"
    t.map(name, [0.01] * 8, fails={3})
    t.write(sys.stdout)


def empty():
    Trace("./nothing", 1, 2).write(sys.stdout)


kinds = {f.__name__: f for f in (ten, even, skewed, lanes, many, mapreduce, hostile, empty)}
if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in kinds:
        sys.exit("usage: traces.py " + " | ".join(kinds))
    kinds[sys.argv[1]]()
