# SPDX-License-Identifier: BSD-3-Clause
"""The page of a report in a real browser: report_page.py PMAP-REPORT SQUARE COUNT, in a directory of its own. Prints TAP, from COUNT + 1 on.

What the page shows is compared with what is added up here from the trace, by other code than the library's.
"""
import io
import json
import os
import subprocess
import sys
import traceback

import browser
import traces

report, square, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
kinds = list(traces.kinds)


def make(kind):
    """kind.json and kind.html; the trace."""
    text = io.StringIO()
    sys.stdout, stdout = text, sys.stdout
    try:
        traces.kinds[kind]()
    finally:
        sys.stdout = stdout
    with open(kind + ".json", "w") as out:
        out.write(text.getvalue())
    subprocess.run([report, "-o", kind + ".html", kind + ".json"], check=True, timeout=60)
    return json.loads(text.getvalue())


def check(condition, *said):
    if not condition:
        raise AssertionError(" ".join(map(str, said)))


def close(a, b, part=1e-6):
    return abs(a - b) <= part * max(abs(a), abs(b), 1)


def figure(name):
    return float(page.js("document.querySelector('[data-figure=\"%s\"]').dataset.value" % name))


def view():
    page.frame()
    return tuple(map(float, page.js("[timeline.dataset.from, timeline.dataset.to]")))


def spans_of(trace):
    return [e for e in trace["traceEvents"] if e.get("cat") == "items"]


def text(selector):
    return page.js("document.querySelector('%s').textContent" % selector)


def place(selector):
    """Its place in the window, scrolled to."""
    return page.js("(() => { const e = document.querySelector('%s'); e.scrollIntoView({behavior: 'instant', block: 'center'}); const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })()" % selector)


def opens_without_errors():
    for kind in kinds:
        page.open(kind + ".html")
        check(page.js("document.documentElement.dataset.ready") == "yes", kind, "is not ready")
        check(not page.errors, kind, page.errors)


def shows_the_figures_of_the_trace():
    for kind in ("ten", "skewed", "many", "mapreduce"):
        trace, data = made[kind], made[kind]["otherData"]
        page.open(kind + ".html")
        busy = sum(s["args"].get("busy_us", s["dur"]) for s in spans_of(trace)) * 1000
        check(figure("Items") == data["items"] == sum(s["args"].get("n", 1) for s in spans_of(trace)), kind, "items", figure("Items"))
        check(figure("Failed") == data["failed"], kind, "failed", figure("Failed"))
        check(close(figure("Run"), data["end_us"] * 1000), kind, "run", figure("Run"))
        check(figure("Threads") == len(data["lanes"]), kind, "threads", figure("Threads"))
        check(close(figure("Utilisation"), busy / len(data["lanes"]) / data["end_us"] / 1000, 1e-4), kind, "utilisation", figure("Utilisation"), busy)
        check(close(figure("Speed-up"), busy / data["end_us"] / 1000, 1e-4), kind, "speed-up", figure("Speed-up"))
        lost = page.js("[...document.querySelectorAll('[data-loss]')].map(e => +e.dataset.value)")
        check(close(sum(lost), data["end_us"] * 1000 * len(data["lanes"]), 1e-4), kind, "losses", lost)
        check(close(lost[0] + lost[1], busy, 1e-4), kind, "in items", lost)
        slowest = page.js("[...document.querySelectorAll('[data-slowest]')].map(e => +e.dataset.value)")
        truth = sorted((s["args"].get("longest_us", s["args"].get("busy_us", s["dur"]) / s["args"].get("n", 1)) * 1000 for s in spans_of(trace)), reverse=True)
        check(slowest and all(close(a, b, 1e-6) for a, b in zip(slowest, truth)), kind, "slowest", slowest[:3], truth[:3])


def shows_times_of_items():
    page.open("skewed.html")
    times = sorted(s["dur"] * 1000 for s in spans_of(made["skewed"]))
    check(close(figure("shortest"), times[0]) and close(figure("longest"), times[-1]), figure("shortest"), figure("longest"))
    for name, share in (("median", 0.5), ("90 % within", 0.9), ("99 % within", 0.99)):  # exact to a step of the histogram, a quarter of a doubling
        check(0.8 < figure(name) / times[int(share * len(times))] < 1.25, name, figure(name), times[int(share * len(times))])
    rows = page.js("[...document.querySelectorAll('#histogram-table tbody tr')].reduce((n, r) => n + +r.cells[2].textContent.replace(/,/g, ''), 0)")
    check(rows == len(times), rows, len(times))


def gives_advice():
    for kind, topic in (("skewed", "smaller_chunks"), ("even", None), ("ten", None), ("many", None), ("lanes", "slow_rank")):
        page.open(kind + ".html")
        topics = page.js("[...document.querySelectorAll('#advice [data-topic]')].map(e => e.dataset.topic)")
        check(topic in topics if topic else not topics, kind, topics)
        check(topic or "Nothing to improve" in text("#advice"), kind, text("#advice"))


def shows_failures_and_phases():
    page.open("skewed.html")
    check(page.js("[...document.querySelectorAll('#failures tbody th')].map(e => e.textContent)") == ["17", "4,711"], text("#failures"))
    check("negative input" in text("#failures caption"), text("#failures caption"))
    page.open("mapreduce.html")
    check("4.0 GB" in text("#phases") and "400 MB" in text("#phases"), text("#phases"))


def zooms_by_keyboard():
    page.open("skewed.html")
    whole = made["skewed"]["otherData"]["end_us"] * 1000
    check(view() == (0, whole), view())
    for _ in range(40):  # to the timeline as somebody without a mouse would get there
        page.key("Tab")
        if page.js("document.activeElement.id") == "timeline":
            break
    check(page.js("document.activeElement.id") == "timeline", "Tab does not lead to the timeline")
    check(page.js("getComputedStyle(timeline).outlineStyle") != "none", "the focus is not seen")
    page.key("+")
    check(close(view()[1] - view()[0], whole / 2) and close(sum(view()), whole), view())
    before = view()
    page.key("ArrowRight")
    check(close(view()[0], before[0] + whole / 8), view())
    page.key("ArrowLeft")
    page.key("-")
    check(view() == (0, whole), view())
    page.key("ArrowDown")
    page.key("n")
    first = min((s for s in spans_of(made["skewed"]) if (s["pid"], s["tid"]) == (0, 0)), key=lambda s: s["ts"])
    check(text("#selected").startswith("prepare, item %d" % first["args"]["item"]), text("#selected"))
    page.key("Enter")
    check(close(view()[1] - view()[0], 3 * first["dur"] * 1000, 1e-3), view())
    page.key("0")
    check(view() == (0, whole), view())
    page.js("document.getElementById('zoom-in').focus()")
    page.key("Enter")
    check(close(view()[1] - view()[0], whole / 2), "button", view())


def zooms_by_pointer():
    page.open("ten.html")
    whole = made["ten"]["otherData"]["end_us"] * 1000
    left, top, width, height = place("#timeline")
    x, y = left + width * 0.6, top + height / 2
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-300, modifiers=2)
    zoomed = view()
    check(zoomed[1] - zoomed[0] < whole / 2, zoomed)
    page.drag(x, x - 100, y)
    moved = view()
    check(moved[0] > zoomed[0] and close(moved[1] - moved[0], zoomed[1] - zoomed[0]), zoomed, moved)
    page.js("document.getElementById('zoom-all').click()")
    page.mouse("mouseMoved", x, y)
    page.frame()
    check(page.js("!tip.hidden") and "simulate, item" in text("#tip"), text("#tip"))
    left, top, width, height = place("#overview")
    page.drag(left + width * 0.3, left + width * 0.6, top + height / 2)
    check(0.2 * whole < view()[1] - view()[0] < 0.4 * whole, view())
    scrolled = page.js("scrollY")
    left, top, width, height = place("#timeline")
    page.mouse("mouseWheel", x, top + height / 2, deltaX=0, deltaY=200)
    page.frame()
    check(page.js("scrollY") > scrolled, "a wheel without Ctrl does not scroll the page")


def shows_an_item_from_a_table():
    page.open("skewed.html")
    page.js("document.querySelector('#slowest button').click()")
    slowest = max(spans_of(made["skewed"]), key=lambda s: s["dur"])
    check("item " + format(slowest["args"]["item"], ",") in text("#selected"), text("#selected"))
    check(view()[0] <= slowest["ts"] * 1000 and view()[1] >= (slowest["ts"] + slowest["dur"]) * 1000, view())


def many_lanes_are_ranks_first():
    page.open("lanes.html")
    check(page.js("document.getElementById('rows-ranks').getAttribute('aria-pressed')") == "true", "not by rank")
    page.js("document.getElementById('rows-threads').click()")
    page.frame()
    check(page.js("timeline.scrollHeight > timeline.clientHeight"), "512 threads do not scroll")
    check(not page.errors, page.errors)


def is_readable_on_a_phone():
    width = 360
    page.size(width, 800, phone=True, scale=2)
    for kind in kinds:
        page.open(kind + ".html")
        check(page.js("document.documentElement.scrollWidth") <= width, kind, "is", page.js("document.documentElement.scrollWidth"), "wide on", width)
        small = page.js("[...document.querySelectorAll('p, li, td, dd, h3')].filter(e => e.offsetParent && parseFloat(getComputedStyle(e).fontSize) < 11).length")
        check(small == 0, kind, small, "texts are too small")
        check(not page.errors, kind, page.errors)
    page.open("ten.html")
    whole = view()[1]
    left, top, width, height = place("#timeline")
    y = top + height / 2
    page.touch("touchStart", (left + width * 0.4, y), (left + width * 0.6, y))
    for part in (0.3, 0.6, 1):
        page.touch("touchMove", (left + width * (0.4 - 0.2 * part), y), (left + width * (0.6 + 0.2 * part), y))
    page.touch("touchEnd")
    check(view()[1] - view()[0] < whole / 2, "two fingers do not zoom:", view())
    page.size(1200, 900)


def is_dark_where_the_system_is():
    brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => +a + +b)"
    lane = "[...lanes.getContext('2d').getImageData(lanes.width - 3, lanes.height - 40, 1, 1).data].slice(0, 3).reduce((a, b) => a + b)"
    page.open("even.html")
    light, canvas = page.js(brightness), page.js(lane)
    page.dark(True)  # while it is open
    page.frame()
    check(page.js(brightness) < 150 < 600 < light, light, page.js(brightness))
    check(page.js(lane) != canvas, "the canvas does not follow:", canvas)
    page.dark(False)


def hostile_names_are_text():
    page.open("hostile.html")
    check("owned" not in page.js("document.title") or "</script>" in page.js("document.title"), page.js("document.title"))
    check(page.js("document.querySelectorAll('script').length") == 2 and page.js("document.querySelectorAll('img, b').length") == 0, "there are elements of the trace's")
    check('</script><script>document.title="owned"' in text("#slowest"), text("#slowest"))
    check("<b>host</b>" in text("#ranks"), text("#ranks"))
    with open("hostile.html", "rb") as page_file:
        page_file.read().decode("utf-8")


def large_runs_are_small_pages():
    for kind in kinds:
        check(os.path.getsize(kind + ".html") < 5e6, kind, os.path.getsize(kind + ".html"))
    page.open("many.html")
    check(made["many"]["otherData"]["items"] == 10_000_000 and "10,000,000" in text("#figures"), text("#figures"))
    check("neighbours are joined" in text("#sampled"), text("#sampled"))


def has_tables_for_those_who_see_no_charts():
    page.open("ten.html")
    page.js("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.frame()
    for table, rows in (("utilisation", 40), ("threads", 4), ("inview", 10)):
        check(page.js("document.querySelectorAll('#%s tbody tr').length" % table) == rows, table)
    unnamed = page.js("[...document.querySelectorAll('button, [role=img], [role=application], section')].filter(e => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.textContent.trim())).length")
    check(unnamed == 0, unnamed, "elements have no name")


def shows_a_real_run():
    subprocess.run([square], env={**os.environ, "PMAP_REPORT": "real.html"}, check=True, timeout=60, stdout=subprocess.DEVNULL)
    page.open("real.html")
    check(not page.errors, page.errors)
    check(figure("Items") == 3 and "pmap_map square" in text("#calls"), text("#calls"))


made = {kind: make(kind) for kind in kinds}
page = browser.Browser(240)
page.size(1200, 900)
try:
    for test in (opens_without_errors, shows_the_figures_of_the_trace, shows_times_of_items, gives_advice, shows_failures_and_phases, zooms_by_keyboard, zooms_by_pointer,
                 shows_an_item_from_a_table, many_lanes_are_ranks_first, is_readable_on_a_phone, is_dark_where_the_system_is, hostile_names_are_text,
                 large_runs_are_small_pages, has_tables_for_those_who_see_no_charts, shows_a_real_run):
        count += 1
        name = "the page " + test.__name__.replace("_", " ")
        try:
            test()
            print("ok %d - %s" % (count, name))
        except Exception:  # whatever it is, the others are to run
            print("not ok %d - %s" % (count, name))
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()), end="")
finally:
    page.close()
print("1..%d" % count)
