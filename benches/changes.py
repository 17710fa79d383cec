"""Cost of each kind of change: tokens embedded and seconds, with manual pages and a real model."""

import datetime
import shutil

import harness

FILES = 300


def main():
    place = harness.folder()
    corpus = place / "corpus"
    (corpus / "pages").mkdir(parents=True)
    pages = sorted((harness.CORPORA / "manpages-dev").rglob("*.gz"))
    for page in [page for page in pages if page.is_file() and not page.is_symlink()][:FILES]:
        shutil.copy(page, corpus / "pages")
    harness.write_pipeline(place, corpus, include='["**/*.gz"]')
    pipeline = place / "pipeline.yaml"
    rows = []

    def run(what, *flags):
        report = harness.run(place, *flags)
        documents = report["documents"]
        rows.append((
            what, documents["stored"], documents["unchanged"] + documents["duplicate"], report["deleted"],
            f"{report['tokens']:,}", f"{report['tokens_reused']:,}", f"{report['seconds']:.1f}",
        ))
        return report

    def settings(old, new):
        text = pipeline.read_text()
        assert old in text
        pipeline.write_text(text.replace(old, new))

    run("first run")
    run("nothing")
    (corpus / "pages").rename(corpus / "renamed")
    run("folder renamed")
    shutil.copytree(corpus / "renamed", corpus / "copy")
    run("folder copied")
    shutil.rmtree(corpus / "copy")
    (corpus / "renamed").rename(place / "away")
    run("folder deleted", "--allow-deletes")
    (place / "away").rename(corpus / "renamed")
    run("folder restored")
    settings("overlap: 32", "overlap: 48")
    run("overlap 32 → 48")
    settings("overlap: 48", "overlap: 32")
    run("overlap back to 32")
    settings("size: 256", "size: 200")
    run("chunk size 256 → 200")
    shutil.rmtree(place)
    print(f"# Cost of changes\n\n{datetime.date.today()}, {harness.machine()}; {FILES} manual pages, "
          f"all-MiniLM-L6-v2, embedded stores\n")
    harness.table(("change", "stored", "unchanged or duplicate", "deleted", "tokens embedded", "tokens from the cache",
                   "seconds"), rows)


main()
