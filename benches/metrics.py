"""What does it cost a run to be watched?

The same run without an address for metrics, and with one that is asked four times a second, in turn. First with the stand-in, so
that nothing but the pipeline takes time and there are most batches, documents and calls of the stores in a second; then with the model.
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
PACKAGE, FOLDER, INCLUDE = harness.WHOLE[0]
STAND_IN_ROUNDS, MODEL_ROUNDS = (4, 0) if "quick" in sys.argv else (12, 2)


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


def measured(model, watched):
    place = harness.folder()
    harness.write_pipeline(place, harness.CORPORA / PACKAGE / FOLDER, model, INCLUDE)
    scraper = Scraper() if watched else None
    report = harness.run(place, *(("--metrics", ADDRESS) if watched else ()))
    if scraper:
        scraper.end()
        report["scrapes"], report["series"] = scraper.scrapes, scraper.series
    shutil.rmtree(place)
    return report


def main():
    print(f"# What it costs to be watched\n\n{datetime.date.today()}, {harness.machine()}; {PACKAGE} with embedded stores, "
          "runs without and with metrics in turn, medians.\n")
    rows = []
    for model, rounds in (("stand-in:384", STAND_IN_ROUNDS), (harness.MODEL, MODEL_ROUNDS)):
        found = {False: [], True: []}
        for number in range(rounds):
            # The second of two is never the same one.
            for watched in (False, True) if number % 2 else (True, False):
                found[watched].append(measured(model, watched))
        if not rounds:
            continue

        def median(watched, key):
            return statistics.median(report[key] for report in found[watched])

        rows.append((
            getattr(model, "name", model), rounds, f"{median(True, 'scrapes'):.0f}", max(one["series"] for one in found[True]),
            *(f"{median(watched, 'seconds'):.2f}" for watched in (False, True)),
            f"{median(True, 'seconds') / median(False, 'seconds'):.3f}",
            *(f"{median(watched, 'cpu_seconds'):.2f}" for watched in (False, True)),
            f"{median(True, 'cpu_seconds') / median(False, 'cpu_seconds'):.3f}",
        ))
    harness.table(("model", "rounds", "times asked", "series", "seconds alone", "watched", "ratio",
                   "processor seconds alone", "watched", "ratio"), rows)


main()
