"""Cost of metrics during a run.

Alternates runs without a metrics address and runs with one that is scraped four times per second.
The stand-in makes the vectors, so the rates of batches, documents and store calls are at their
maximum; a run with a model has the same counts in thirty times the time.
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
    """Scrapes like Prometheus, but more often."""

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
        # Alternates the order of the two variants.
        for watched in (False, True) if number % 2 else (True, False):
            found[watched].append(measured(watched))

    def median(watched, key):
        return statistics.median(report[key] for report in found[watched])

    print(f"# Cost of metrics\n\n{datetime.date.today()}, {harness.machine()}; {PACKAGE} with embedded stores, "
          f"stand-in vectors; {ROUNDS} alternating runs without and with metrics, medians. Scraped {median(True, 'scrapes'):.0f} "
          f"times per run with {max(one['series'] for one in found[True])} series.\n")
    harness.table(("", "without", "with", "ratio"), [
        (name, *(f"{median(watched, key):.2f}" for watched in (False, True)), f"{median(True, key) / median(False, key):.3f}")
        for name, key in (("seconds", "seconds"), ("processor seconds", "cpu_seconds"))
    ])


main()
