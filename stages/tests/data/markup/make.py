#!/usr/bin/env python3
"""Makes the files of this folder that other programs write: pandoc, Python's `email`, `mailbox` and
`json`, and openssl. Run it in this folder; it overwrites them. README.md names the other files."""

import email.message
import email.policy
import json
import mailbox
import pathlib
import subprocess
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

HERE = pathlib.Path(__file__).parent
PANDOC = {
    "article.adoc": "asciidoc",
    "article.rst": "rst",
    "article.org": "org",
    "article.tex": "latex",
    "article.docbook.xml": "docbook5",
    "article.tei.xml": "tei",
    "article.jats.xml": "jats_archiving",
    "article.ipynb": "ipynb",
}
DATE = "Wed, 01 May 2024 10:30:00 +0200"


def run(*command, **options):
    return subprocess.run(command, check=True, cwd=HERE, **options)


def articles():
    for name, form in PANDOC.items():
        run("pandoc", "--standalone", "--wrap=auto", "-t", form, "-o", name, "article.md")


def headers(message, subject, number):
    message["From"] = "Ann Lee <ann@example.org>"
    message["To"] = "Björn Öberg <bjorn@example.org>, trees@example.org"
    message["Subject"] = subject
    message["Date"] = DATE
    message["Message-ID"] = f"<{number}@example.org>"


def alternative():
    """Plain text and HTML, an inline image, and attachments with encoded names."""
    message = email.message.EmailMessage(policy=email.policy.SMTP)
    headers(message, "Grüße aus dem Wald: the yew survey", 1)
    message["Cc"] = "Carl <carl@example.org>"
    message["In-Reply-To"] = "<0@example.org>"
    message.set_content("Dear all,\n\nthe plaintextyew is 900 years old.\n\n> quoted question\n\nAnn\n")
    message.add_alternative("<p>Dear all,<p>the <b>htmlyew</b> is old.", subtype="html")
    message.get_payload()[1].add_related(b"\x89PNG\r\n", "image", "png", cid="<x>", filename="ring.png")
    message.add_attachment(b"%PDF-1.4", maintype="application", subtype="pdf", filename="Übersicht.pdf")
    message.add_attachment("a;b\n", subtype="csv", filename="heights.csv")
    return message.as_bytes()


def html_only():
    body = MIMEText("<h1>Rundbrief</h1><p>Die <i>Eibenrinde</i> ist giftig &amp; schön.", "html", "iso-8859-1")
    headers(body, "Rundbrief", 2)
    return body.as_bytes()


def japanese():
    body = MIMEText("森林の調査は五月に終わりました。\n", "plain", "iso-2022-jp")
    headers(body, "森林の調査", 3)
    return body.as_bytes()


def forwarded():
    """A message with a message as an attachment, which has one itself."""
    inner = email.message.EmailMessage()
    headers(inner, "The inner subject", 4)
    inner.set_content("The innerfirtree was planted in 1850.\n")
    inner.add_attachment(b"GIF89a", maintype="image", subtype="gif", filename="fir.gif")
    middle = email.message.EmailMessage()
    headers(middle, "The middle subject", 5)
    middle.set_content("See the middlelarch.\n")
    middle.add_attachment(inner)
    outer = email.message.EmailMessage()
    headers(outer, "Fwd: trees", 6)
    outer.set_content("The outerelm is forwarded.\n")
    outer.add_attachment(middle)
    return outer.as_bytes()


def signed(body):
    """multipart/signed, by openssl with a new key."""
    (HERE / "body.tmp").write_bytes(body)
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Ann", "-days", "9",
        "-keyout", "key.tmp", "-out", "cert.tmp", capture_output=True)
    head = ["-from", "ann@example.org", "-to", "bjorn@example.org"]
    run("openssl", "cms", "-sign", "-in", "body.tmp", "-signer", "cert.tmp", "-inkey", "key.tmp",
        "-subject", "The signed subject", "-out", "signed.eml", *head)
    run("openssl", "cms", "-encrypt", "-in", "body.tmp", "-subject", "The enveloped subject",
        "-out", "enveloped.eml", *head, "cert.tmp")
    for file in HERE.glob("*.tmp"):
        file.unlink()


def web_archive():
    """A saved page, as browsers write it."""
    message = MIMEMultipart("related", type="text/html")
    message["From"] = "<Saved by a browser>"
    message["Subject"] = "Saved page"
    message["Date"] = DATE
    message["Message-ID"] = "<8@example.org>"
    page = "<html lang=de><title>Gespeicherte Seite</title><h1>Archiv</h1><p>Die mhtmlkiefer wächst schön.</p><img src=cid:x>"
    message.attach(MIMEText(page, "html", "windows-1252"))
    message.attach(MIMEApplication(b"GIF89a", "octet-stream"))
    return message.as_bytes()


def encrypted():
    """multipart/encrypted, as PGP/MIME; the content is not that of a real key."""
    message = MIMEMultipart("encrypted", protocol="application/pgp-encrypted")
    headers(message, "The encrypted subject", 7)
    message.attach(MIMEApplication(b"Version: 1\n", "pgp-encrypted"))
    message.attach(MIMEApplication(b"-----BEGIN PGP MESSAGE-----\n\nhQ==\n-----END PGP MESSAGE-----\n"))
    return message.as_bytes()


def mbox(path):
    """Three messages; Python escapes lines that begin with `From `."""
    path.unlink(missing_ok=True)
    box = mailbox.mbox(path)
    for number, (subject, body) in enumerate([
        ("Plan of the survey", "From May on we count the mboxhazel.\n"),
        ("Re: Plan of the survey", "> From May on we count\n\nWhy not the mboxalder?\n"),
        ("", "No subject, but a mboxwillow.\n"),
    ]):
        message = email.message.EmailMessage()
        headers(message, subject, f"box{number}")
        message.set_content(body)
        entry = mailbox.mboxMessage(message)
        entry.set_from("ann@example.org", (2024, 5, 1 + number, 10, 0, 0, 0, 0, 0))
        box.add(entry)
    box.close()


def data():
    trees = {
        "title": "Register of trees",
        "license": "CC0-1.0",
        "park": {"name": "North", "area_ha": 12.50, "paths": ["oak lane", "ring"], "open": True},
        "trees": [
            {"id": 7, "name": "Jsonoak", "girths": [4.1, 4.25, 4.4], "note": "The hollow trunk is home to a family of owls."},
            {"id": 8, "name": "Jsonyew", "girths": [], "owner": None},
        ],
        "precision": 12345678901234567890,
        "comment": "Two lines:\nthe second line names the jsonrowan.",
    }
    text = json.dumps(trees, indent=2, ensure_ascii=False)
    (HERE / "trees.json").write_text(text + "\n")
    lines = [json.dumps(tree) for tree in trees["trees"]]
    lines.insert(1, "{\"id\": 9, \"name\": \"broken")
    (HERE / "trees.ndjson").write_text("\n".join(lines) + "\n")


def notebook():
    """A notebook with the outputs that kernels write, and cells whose text is a list of lines."""
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Ring widths\n", "\n", "The *notebookcedar* is measured."]},
        {"cell_type": "code", "execution_count": 1, "metadata": {}, "source": "# no heading\nprint(width)",
         "outputs": [
             {"output_type": "stream", "name": "stdout", "text": ["streamspruce 1.5\n"]},
             {"output_type": "execute_result", "execution_count": 1, "metadata": {},
              "data": {"text/html": "<b>htmlspruce</b>", "text/plain": ["plainspruce"], "image/png": "iVBORw0KGgo="}},
             {"output_type": "error", "ename": "ValueError", "evalue": "badspruce", "traceback": ["\u001b[0;31mValueError"]},
         ]},
        {"cell_type": "raw", "metadata": {}, "source": "rawspruce"},
    ]
    metadata = {"kernelspec": {"name": "python3", "language": "python"}, "authors": [{"name": "Ann Lee"}],
                "language_info": {"name": "python"}}
    book = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    (HERE / "rings.ipynb").write_text(json.dumps(book, indent=1))


def xml():
    """Data in XML: attributes, text with inline elements, CDATA, and entities that nest."""
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))
    (HERE / "catalog.xml").write_text(f"""<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE catalog [<!ENTITY a0 "laugh">{entities}]>
<catalog xmlns="urn:trees" updated="2024-05-01">
  <tree id="7" lang="en"><name>Xmloak</name><height unit="m">40</height>
    <note>Grows <em>slowly</em>; H<sub>2</sub>O &amp; light. Its owner is &a8;, the &quot;forester&quot;.</note></tree>
  <tree id="8"><name>Xmlyew</name><script><![CDATA[if (a < b) {{
  cut();
}}]]></script><empty/><flag set="yes"/></tree>
</catalog>
""")


def code():
    """Scripts without an extension, and comments in a language that is not English."""
    (HERE / "measure").write_text("#!/usr/bin/env python3\nprint('codelinden')\n")
    (HERE / "wald.c").write_text("""/*
 * Dieses Programm zählt die Bäume eines Waldes. Es liest die Liste der Arten aus einer Datei und
 * schreibt für jede Art die Anzahl der Bäume, deren Umfang größer als der angegebene Wert ist.
 */
#include <stdio.h>

int main(void)
{
\tint trees = 0;   \t


\n\tprintf("%d codelinden\\n", trees); // trailing spaces and empty lines stay
\treturn 0;
}
""".replace("\\n\\t", "\n\t"))


def subtitles():
    """The same cues as SubRip and as WebVTT."""
    cues = ["<i>In the forest</i>", "the subtitleelder grows.", "{\\an8}- Where?\n- Here."]
    times = [("00:00:01,000", "00:00:03,500"), ("00:00:04,000", "00:00:06,000"), ("00:01:00,000", "00:01:02,250")]
    blocks = [f"{n}\n{a} --> {b}\n{cue}\n" for n, (cue, (a, b)) in enumerate(zip(cues, times), 1)]
    (HERE / "forest.srt").write_text("\r\n".join("\n".join(blocks).split("\n")))
    lines = "\n".join(blocks).replace(",", ".")
    (HERE / "forest.vtt").write_text("WEBVTT\n\nNOTE not shown\n\n" + lines)


def main():
    articles()
    subtitles()
    notebook()
    xml()
    code()
    for name, content in {"alternative": alternative(), "html-only": html_only(), "japanese": japanese(),
                          "forwarded": forwarded(), "encrypted": encrypted()}.items():
        (HERE / f"{name}.eml").write_bytes(content)
    (HERE / "page.mht").write_bytes(web_archive())
    body = MIMEText("The signedmaple is genuine.\n")
    signed(body.as_bytes())
    mbox(HERE / "survey.mbox")
    data()


main()
