"""What does it cost a run to be watched?

The same run without an address for metrics, and with one that is asked four times a second, in turn. The stand-in makes the
vectors, so that nothing but the pipeline takes time and there are most batches, documents and calls of the stores in a second: a
run with a model has the same ones in thirty times the time.
"""

import datetime
import re
import shutil
import statistics
import sys
import threading
import urllib.request

import harness

ADDRESS = "127.0.0.1:19464"
PACKAGE, FOLDER, INCLUDE = harness.WHOLE[1]
MODEL = "stand-in:384"
ROUNDS = 4 if "quick" in sys.argv else 16


class Scraper(threading.Thread):
    """Asks as Prometheus does, but more often."""

    def __init__(self):
        super().__init__(daemon=True)
        self.over, self.scrapes, self.series = threading.Event(), 0, 0
        self.start()

    def run(self):
        while not self.over.wait(0.25):
            try:
                said = urllib.request.urlopen(f"http://{ADDRESS}/metrics", timeout=5).read().decode()
            except OSError:
                continue
            self.scrapes += 1
            self.series = max(self.series, len(re.findall(r"^[^#\n]", said, re.M)))

    def end(self):
        self.over.set()
        self.join()


def measured(watched):
    place = harness.folder()
    harness.write_pipeline(place, harness.CORPORA / PACKAGE / FOLDER, MODEL, INCLUDE)
    scraper = Scraper() if watched else None
    report = harness.run(place, *(("--metrics", ADDRESS) if watched else ()))
    if scraper:
        scraper.end()
        report["scrapes"], report["series"] = scraper.scrapes, scraper.series
    shutil.rmtree(place)
    return report


def main():
    found = {False: [], True: []}
    for number in range(ROUNDS):
        # The second of two is never the same one.
        for watched in (False, True) if number % 2 else (True, False):
            found[watched].append(measured(watched))

    def median(watched, key):
        return statistics.median(report[key] for report in found[watched])

    print(f"# What it costs to be watched\n\n{datetime.date.today()}, {harness.machine()}; {PACKAGE} with embedded stores, "
          f"vectors by the stand-in; {ROUNDS} runs without and with metrics in turn, medians. Asked {median(True, 'scrapes'):.0f} "
          f"times in a run for {max(one['series'] for one in found[True])} series.\n")
    harness.table(("", "not asked", "asked", "ratio"), [
        (name, *(f"{median(watched, key):.2f}" for watched in (False, True)), f"{median(True, key) / median(False, key):.3f}")
        for name, key in (("seconds", "seconds"), ("processor seconds", "cpu_seconds"))
    ])


main()
