#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
"""What people see of programs that run: progress, reports at SIGUSR2, statistics. For test_watch.sh, which says in PMAP_WATCHED
what the program is and in PMAP_LAUNCH how ranks are started. Prints TAP.

Programs run under a terminal of our own (a pty), and what they write is interpreted as a terminal would, so that what is
checked is what would be on the screen. Nothing is timed: items are held until what has to be seen has been seen."""
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

PROGRAM = os.environ["PMAP_WATCHED"]
LAUNCH = os.environ.get("PMAP_LAUNCH", "").split()
WANTED = os.environ.get("PMAP_TEST_SHAPES", "").split()
LIMIT = float(os.environ.get("PMAP_TEST_TIMEOUT", "60"))
ESCAPE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])")


class Screen:
    """A terminal that knows what the library may use: CR, LF, BS, ESC[J, ESC[K and colors."""

    def __init__(self, columns):
        self.columns, self.rows, self.y, self.x = columns, [""], 0, 0
        self.colors = self.wraps = 0
        self.rest = b""

    def put(self, character):
        if self.x == self.columns:
            self.wraps += 1
            self.down()
            self.x = 0
        row = self.rows[self.y].ljust(self.x)
        self.rows[self.y] = row[:self.x] + character + row[self.x + 1:]
        self.x += 1

    def down(self):
        self.y += 1
        if self.y == len(self.rows):
            self.rows.append("")

    def escape(self, numbers, letter):
        if letter == "m":
            self.colors += 1
        elif letter in "JK" and numbers in ("", "0"):
            self.rows[self.y] = self.rows[self.y][:self.x]
            if letter == "J":
                del self.rows[self.y + 1:]
        else:
            raise ValueError(f"the terminal does not know ESC[{numbers}{letter}")

    def feed(self, data):
        data = self.rest + data
        text = data.decode(errors="ignore") if data[-1] < 128 else ""
        if not text or "\x1b" in text[-8:] and not ESCAPE.match(text[text.rindex("\x1b"):]):
            self.rest = data
            return
        self.rest = b""
        while text:
            found = ESCAPE.match(text)
            if found:
                self.escape(*found.groups())
                text = text[found.end():]
                continue
            character, text = text[0], text[1:]
            if character == "\r":
                self.x = 0
            elif character == "\n":
                self.down()
            elif character == "\b":
                self.x -= 1
            else:
                self.put(character)

    def text(self):
        return "\n".join(row.rstrip() for row in self.rows if row.strip())


class Run:
    """A program that runs, and what it has said so far."""

    def __init__(self, shape, *arguments, columns=0, go=False, **environment):
        self.directory = tempfile.mkdtemp()
        self.screen, self.raw, self.over = Screen(columns), b"", False
        self.columns = columns
        self.deadline = time.monotonic() + LIMIT
        if go:
            self.go()
        command, env = command_of(shape, arguments)
        env.update({"PMAP_TEST_DIR": self.directory, "TERM": "xterm", "LC_ALL": "C.UTF-8", **environment})
        if columns:
            self.fd, inner = pty.openpty()
            self.resize(columns)
        else:
            self.fd, inner = os.pipe()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=inner, stderr=inner, env=env, start_new_session=True)
        os.close(inner)

    def resize(self, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.columns = self.screen.columns = columns

    def read(self):
        """Once; False when there is no more."""
        if time.monotonic() > self.deadline:
            raise TimeoutError
        if not select.select([self.fd], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        self.raw += data
        if data and self.columns:
            self.screen.feed(data)
        return bool(data)

    def said(self):
        return self.raw.decode(errors="replace").replace("\r\n", "\n")

    def until(self, seen):
        """Until seen(screen's text, or what was said in all) is true; False if the program ends before."""
        while not seen(self.screen.text() if self.columns else self.said()):
            if not self.read():
                return False
        return True

    def exists(self, name):
        return os.path.exists(os.path.join(self.directory, name))

    def pid(self, rank=0):
        with open(os.path.join(self.directory, f"pid.{rank}")) as file:
            return int(file.read())

    def go(self):
        open(os.path.join(self.directory, "go"), "w").close()

    def leave(self):
        open(os.path.join(self.directory, "leave"), "w").close()

    def end(self):
        """Let it go on, to its end; its status."""
        self.go()
        while self.read():
            pass
        return self.process.wait(timeout=LIMIT)

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.fd)
        shutil.rmtree(self.directory, ignore_errors=True)


def command_of(shape, arguments):
    kind, ranks, threads = re.fullmatch(r"([rvt])(\d+)(?:t(\d+))?", shape).groups()
    env = dict(os.environ)
    for name in ("PMAP_LOOPBACK", "PMAP_PROGRESS", "PMAP_STATS", "NO_COLOR", "LANG", "LC_CTYPE", "COLUMNS"):
        env.pop(name, None)
    env["PMAP_TEST_THREADS"] = ranks if kind == "t" else threads or "1"
    if kind == "v":
        env["PMAP_LOOPBACK"] = ranks
    how = LAUNCH + ["-n", ranks] if kind == "r" else []
    return how + [PROGRAM, *arguments], env


# ---- The tests ----

done = failed = 0


def test(title, shape, body, *arguments, **keywords):
    global done, failed
    done += 1
    if shape[0] == "r" and not LAUNCH or WANTED and shape not in WANTED:
        print(f"ok {done} - {shape}: {title} # SKIP no MPI, or a shape that is not wanted")
        return
    run = Run(shape, *arguments, **keywords)
    try:
        complaint = body(run)
    except (TimeoutError, subprocess.TimeoutExpired):
        complaint = "it took too long"
    except ValueError as error:
        complaint = str(error)
    finally:
        run.close()
    print(f"{'not ok' if complaint else 'ok'} {done} - {shape}: {title}")
    if complaint:
        failed += 1
        print(f"# {complaint}")
        for line in run.said().splitlines()[-20:] + ["-- screen:"] + run.screen.rows[-20:]:
            print(f"# {line!r}")
    sys.stdout.flush()


def line_of(text):
    """The line that is drawn: the last row that is not empty."""
    return text.splitlines()[-1] if text else ""


def half_is_done(text):
    return re.search(r"(^|\s)50%", line_of(text))


def fits(run):
    if not run.until(half_is_done):
        return "no line with 50% was drawn"
    line = line_of(run.screen.text())
    if len(line) >= run.columns or run.screen.wraps:
        return f"the line has {len(line)} columns: {line!r}"
    if run.columns >= 36 and "1 failed" not in line:
        return f"the failure is not in the line: {line!r}"
    if run.columns >= 80 and not ("50/100" in line and "left" in line and "busy" in line):
        return f"the line lacks something: {line!r}"
    if run.end() != 0:
        return "it failed"
    text = run.screen.text()
    if "the map said PMAP_EFAILED" not in text.replace("\n", "") or "%" in text:
        return f"something is left of the line: {text!r}"
    return None


def is_ascii(run):
    complaint = fits(run)
    return complaint or (None if run.raw.isascii() and b"#" in run.raw else "it is not ASCII")


def is_utf8(run):
    complaint = fits(run)
    return complaint or (None if "━" in run.said() else "it has no bar")


def has_no_color(run):
    complaint = fits(run)
    return complaint or (f"there are {run.screen.colors} colors" if run.screen.colors else None)


def is_dumb(run):
    complaint = fits(run)
    return complaint or ("there are escape sequences" if b"\x1b" in run.raw else None)


def becomes_narrower(run):
    if not run.until(half_is_done):
        return "no line with 50% was drawn"
    run.resize(40)
    seen = len(run.raw)
    if not run.until(lambda text: len(run.raw) > seen + 200 and half_is_done(text) and len(line_of(text)) < 40):
        return "the line did not become shorter"
    return fits(run)


def sums_up(run):
    if not run.until(lambda text: re.match(r"2 calls .* \d+/200 ", line_of(text))):
        return "the calls were not added up"
    run.end()
    return None if "both are over" in run.screen.text() else "it did not end"


def counts_what_has_left(run):
    half = r"pmap: simulate: 50 of 100 items \(50%\), "
    if not run.until(lambda said: re.search(half, said)):
        return "no such line"
    run.leave()
    if not run.until(lambda said: re.search("it has left\n(.*\n)*" + half, said)):
        return "another line than before"
    run.end()
    return None if re.search(r"pmap: simulate: 100 items in ", run.said()) else "the outcome is another"


def is_endless(run):
    if not run.until(lambda text: re.search(r"simulate  [|/\\-]  \d+", line_of(text)) and "item 49 is 2401" in text):
        return "no line was drawn"
    if "%" in line_of(run.screen.text()) or "left" in line_of(run.screen.text()):
        return "it promises an end"
    run.end()
    return None if line_of(run.screen.text()) == "the stream is over" or "the stream is over" in run.screen.text() else "it did not end"


def prints_in_peace(run):
    run.end()
    rows = [row.rstrip() for row in run.screen.rows if row.strip()]
    wanted = [f"round {i} is over" for i in range(10)]
    return None if rows == wanted else f"the rows are {rows}"


def is_a_log(run):
    if not run.until(lambda said: re.search(r"pmap: simulate: 50 of 100 items \(50%\), .* left, 1 failed, .* busy\n", said)):
        return "no such line"
    run.end()
    if b"\r" in run.raw or b"\x1b" in run.raw:
        return "it is no log"
    return None if re.search(r"pmap: simulate: 100 items in .*, 1 failed\n", run.said()) else "the outcome is missing"


def says_nothing(run):
    run.end()
    return None if run.said() == "the map said PMAP_EFAILED\n" else "it says something"


def reports_at(target, ranks=1, words="simulate, item 7, for", look=None):
    """SIGUSR2 to the program ("root"), to rank 1, or to what was started: one report."""

    def body(run):
        while not run.exists("ready"):
            if not run.read():
                return "it ended"
        process = run.process.pid if target == "launcher" else run.pid(1 if target == "rank 1" else 0)
        reports = 0
        while True: # until it has begun
            seen = len(run.said())
            os.kill(process, signal.SIGUSR2)
            reports += 1
            if not run.until(lambda said: said.count("report of") == reports and f"  rank {ranks - 1}" in said[seen:] and said[-1] == "\n"):
                return "no report"
            if re.search(words, run.said()[seen:]):
                break
            pause = time.monotonic() + 2.5 # what comes sooner may be the same signal
            while time.monotonic() < pause:
                run.read()
        text = run.said()[seen:]
        complaint = look(run, text) if look else None
        if complaint:
            return complaint
        if run.end() != 0 or "the map said PMAP_OK" not in run.said():
            return "it did not end well"
        if run.said().count("report of") != reports:
            return f"{reports} signals, {run.said().count('report of')} reports"
        for rank in range(ranks):
            if f"  rank {rank}" not in text:
                return f"rank {rank} is not in the report"
        for threads, held in re.findall(r"  rank \d+[^\n]* of (\d+) threads? busy[^\n]*\n((?:    [^\n]*\n)*)", text):
            if held.count("    chunk: ") > int(threads) or not re.fullmatch(r"(    (chunk|thread \d+)[^\n]*\n)*(    and \d+ chunks? that waits?\n)?", held):
                return f"{threads} threads hold {held!r}"
        return None

    return body


QUEUE = r"  rank 1[^\n]* of 1 thread busy[^\n]*\n    chunk: simulate, item ([7-9]|\d\d), for [^\n]*\n    and \d+ chunks? that waits?\n"


def names_what_runs(run, text):
    """The other rank has one thread, and chunks of one item, which are held: no other begins."""
    item = re.search(QUEUE, text).group(1)
    while not run.exists(f"held.{item}"):
        if not run.read():
            return f"item {item} has not begun"
    return None


def has_a_table(run):
    run.end()
    said = run.said()
    if not re.search(r"pmap: statistics: .* (2 ranks, 2 threads|1 rank, (2 threads|1 thread)), ", said): # one without OpenMP
        return "no table"
    if "1 call, 100 items, 1 failed" not in said or "an item: mean" not in said:
        return "the table lacks something"
    return None


def tells_the_journal_apart(run):
    run.end()
    first = run.said()
    command, env = command_of("t2", ["journal", "quiet"])
    env.update({"PMAP_TEST_DIR": run.directory, "PMAP_STATS": "1"})
    second = subprocess.run(command, env=env, stderr=subprocess.PIPE, timeout=LIMIT).stderr.decode()
    if "journal" in first or "100 items, 100 from the journal" not in second:
        return f"the second run said {second!r}"
    return None


def refuses(text):
    def body(run):
        return None if run.end() != 0 and text in run.said() else "it is not refused"

    return body


for columns in (20, 40, 80, 200):
    test(f"the line fits into {columns} columns", "t2", is_utf8 if columns > 40 else fits, "map", columns=columns)
test("the line is ASCII where the locale is", "t2", is_ascii, "map", columns=80, LC_ALL="C")
test("NO_COLOR is respected", "t2", has_no_color, "map", columns=80, NO_COLOR="1")
test("a dumb terminal gets no escapes", "t2", is_dumb, "map", columns=80, TERM="dumb")
test("a terminal becomes narrower", "t2", becomes_narrower, "map", columns=100)
test("calls are added up", "t2", sums_up, "two", columns=100)
test("a pool that leaves changes nothing", "t2", counts_what_has_left, "leaves", PMAP_PROGRESS_EVERY="0.1")
test("an endless stream has no end", "t2", is_endless, "endless", columns=80)
test("what is printed between calls has its own lines", "t2", prints_in_peace, "loop", columns=80)
for shape in ("v3", "r2", "r2t2"):
    test("the line fits", shape, fits, "map", columns=80)
for shape in ("t2", "r2"):
    test("elsewhere there are lines of a log", shape, is_a_log, "map", PMAP_PROGRESS_EVERY="0.1")
test("it can be asked for from outside", "t2", is_a_log, "map", "quiet", PMAP_PROGRESS="1", PMAP_PROGRESS_EVERY="0.1")
test("it can be refused from outside", "t2", says_nothing, "map", PMAP_PROGRESS="0", PMAP_PROGRESS_EVERY="0.01")
test("nonsense is refused", "t2", refuses('PMAP_PROGRESS in the environment is "maybe", not 0 or 1'), "map", PMAP_PROGRESS="maybe")
test("nonsense is refused", "t2", refuses('PMAP_PROGRESS_EVERY in the environment is "0", no number'), "map", PMAP_PROGRESS_EVERY="0")
test("SIGUSR2", "t2", reports_at("root"), "hang", "quiet")
test("SIGUSR2, isolated", "t2", reports_at("root", words=r"thread \d+, in process \d+: simulate, item 7, for"), "hang", "isolate")
test("SIGUSR2", "v3", reports_at("root", 3), "hang", "quiet")
test("SIGUSR2 to the root", "r2", reports_at("root", 2), "hang", "quiet")
test("SIGUSR2 tells what runs from what waits", "r2", reports_at("root", 2, QUEUE, names_what_runs), "queue", "quiet")
test("SIGUSR2 to another rank", "r2t2", reports_at("rank 1", 2), "hang", "quiet")
test("SIGUSR2 to all", "r2", reports_at("launcher", 2), "hang", "quiet")
test("SIGUSR2, isolated", "r2", reports_at("root", 2), "hang", "isolate")
for shape in ("t2", "r2"):
    test("a table at the end", shape, has_a_table, "map", "quiet", go=True, PMAP_STATS="1")
test("what was in the journal is told apart", "t2", tells_the_journal_apart, "journal", "quiet", go=True, PMAP_STATS="1")
print(f"1..{done}")
sys.exit(1 if failed else 0)
