"""Makes the fixtures of this folder. README.md lists what it needs."""

import gzip
import shutil
import subprocess
import tempfile
import zipfile
from datetime import datetime
from pathlib import Path

from msoffcrypto.format.ooxml import OOXMLFile
from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

HERE = Path(__file__).parent


def convert(source, ending, name=None):
    """Converts a file by LibreOffice, without the preview image."""
    target = f"{name or Path(source).stem}.{ending}"
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(["soffice", "--headless", "--convert-to", ending, "--outdir", out, HERE / source], check=True)
        made = Path(out, source).with_suffix("." + ending)
        if ending in ("odt", "odp"):
            strip(made, ("Thumbnails/", "Configurations2/"))
        if ending in ("doc", "ppt"):
            Path(HERE, target + ".gz").write_bytes(gzip.compress(made.read_bytes(), 9, mtime=0))
        else:
            shutil.copy(made, HERE / target)


def strip(path, prefixes):
    """Removes members of an archive that contain no text."""
    with zipfile.ZipFile(path) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    members = [(info, content) for info, content in members if not info.filename.startswith(prefixes)]
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in members:
            archive.writestr(info, content)


def remove_unused_layouts(deck):
    for master in deck.slide_masters:
        for layout in [layout for layout in master.slide_layouts if not layout.used_by_slides]:
            master.slide_layouts.remove(layout)


def slides():
    """A presentation whose slides are not in the order of their file names."""
    deck = Presentation()
    deck.core_properties.title = "Slides on Titleword"
    deck.core_properties.author = "Ada Authorword"
    deck.core_properties.last_modified_by = "Eda Editorword"
    deck.core_properties.comments = ""
    deck.core_properties.keywords = "Keywordone, Keywordtwo"
    deck.core_properties.created = deck.core_properties.modified = datetime(2024, 1, 2, 3, 4, 5)
    layout = deck.slide_layouts

    last = deck.slides.add_slide(layout[1])
    last.shapes.title.text = "Closing"
    last.placeholders[1].text = "lastslideword"

    first = deck.slides.add_slide(layout[0])
    first.shapes.title.text = "Opening & Title"
    first.placeholders[1].text = "subtitleword"
    first.notes_slide.notes_text_frame.text = "Say the noteword first.\nThen pause."

    content = deck.slides.add_slide(layout[5])
    group = content.shapes.add_group_shape()
    group.shapes.add_textbox(Inches(1), Inches(2), Inches(2), Inches(1)).text_frame.text = "groupword"
    inner = group.shapes.add_group_shape()
    inner.shapes.add_textbox(Inches(1), Inches(3), Inches(2), Inches(1)).text_frame.text = "innergroupword"
    table = content.shapes.add_table(2, 2, Inches(1), Inches(4), Inches(4), Inches(1)).table
    for cell, text in zip(table.iter_cells(), ["Head A", "Head B", "cellone", "celltwo"]):
        cell.text = text
    data = CategoryChartData()
    data.categories = ["categoryone", "categorytwo"]
    data.add_series("seriesword", (1, 2))
    content.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(5), Inches(4), Inches(3), Inches(2), data)
    content.shapes.title.text = "Content\vSlide"

    hidden = deck.slides.add_slide(layout[1])
    hidden.shapes.title.text = "Hidden Slide"
    hidden.placeholders[1].text = "hiddenslideword"
    hidden._element.set("show", "0")

    remove_unused_layouts(deck)
    order = deck.slides._sldIdLst
    order.append(order[0])
    deck.save(HERE / "slides.pptx")
    strip(HERE / "slides.pptx", ("docProps/thumbnail", "ppt/printerSettings"))


def encrypted():
    with tempfile.TemporaryDirectory() as out:
        command = ["soffice", "--headless", "--convert-to", "docx", "--outdir", out]
        subprocess.run([*command, HERE / "report.fodt"], check=True)
        with open(Path(out, "report.docx"), "rb") as plain:
            with open(HERE / "report-encrypted.docx", "wb") as made:
                OOXMLFile(plain).encrypt("secret", made)


CONTAINER = """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>"""

XHTML = """<?xml version="1.0" encoding="utf-8"?>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><head><title/></head>
<body>{}</body></html>"""

CHAPTER_ONE = """<header><h1>First <em>Chapter</em></h1></header>
<p>Firstword &amp; caf\N{LATIN SMALL LETTER E WITH ACUTE}.<a epub:type="noteref" href="notes.xhtml#n1">1</a></p>
<table><thead><tr><th>Head A</th><th>Head B</th></tr></thead><tbody><tr><td>cellone</td><td>celltwo</td></tr></tbody></table>
<h2>Section</h2><ul><li>itemone</li><li>itemtwo</li></ul>"""
CHAPTER_TWO = "<p class='title'>Chapter Two</p><p>Secondword.</p><aside epub:type='footnote'><p>asideword</p></aside>"
NOTES = "<p id='n1'>1. A footnoteword.</p>"
NAV = """<nav epub:type="toc"><h1>navword</h1><ol><li><a href="one.xhtml">First Chapter</a></li>
<li><a href="second%20one.xhtml#top">Chapter <b>Two</b></a></li><li><a href="notes.xhtml">Notes</a></li></ol></nav>"""

OPF_3 = """<?xml version="1.0"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">urn:x</dc:identifier>
<dc:title>Book on &lt;Titleword&gt;</dc:title><dc:creator>Ada Authorword</dc:creator><dc:creator>Bob Writer</dc:creator>
<dc:language>en-GB</dc:language><dc:publisher>Publisherword</dc:publisher><dc:date>2023-05-06</dc:date>
<dc:subject>Keywordone</dc:subject><dc:subject>Keywordtwo</dc:subject>
<meta property="dcterms:modified">2024-01-02T03:04:05Z</meta></metadata>
<manifest><item id="two" href="second%20one.xhtml" media-type="application/xhtml+xml"/>
<item id="one" href="one.xhtml" media-type="application/xhtml+xml"/>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="notes" href="notes.xhtml" media-type="application/xhtml+xml"/>
<item id="font" href="font.otf" media-type="font/otf"/></manifest>
<spine><itemref idref="nav"/><itemref idref="one"/><itemref idref="two"/><itemref idref="notes" linear="no"/></spine>
</package>"""

OPF_2 = """<?xml version="1.0"?>
<package xmlns="http://www.idpf.org/2007/opf" version="2.0" unique-identifier="id">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:opf="http://www.idpf.org/2007/opf">
<dc:title>Altes Buch</dc:title><dc:creator opf:role="aut">Ada Authorword</dc:creator><dc:language>de</dc:language></metadata>
<manifest><item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>
<item id="toc" href="toc.xhtml" media-type="application/xhtml+xml"/>
<item id="b" href="b.xhtml" media-type="application/xhtml+xml"/><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>
<spine toc="ncx"><itemref idref="toc"/><itemref idref="b"/><itemref idref="a"/></spine>
<guide><reference type="toc" title="Inhalt" href="toc.xhtml"/></guide></package>"""
NCX = """<?xml version="1.0"?><ncx xmlns="http://www.daisy.org/z3986/2005/ncx/" version="2005-1"><navMap>
<navPoint id="p1" playOrder="1"><navLabel><text>Teil B</text></navLabel><content src="b.xhtml"/>
<navPoint id="p2" playOrder="2"><navLabel><text>Kapitel A</text></navLabel><content src="a.xhtml#x"/></navPoint></navPoint>
</navMap></ncx>"""

ENCRYPTION = """<?xml version="1.0"?>
<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" xmlns:enc="http://www.w3.org/2001/04/xmlenc#">
<enc:EncryptedData><enc:EncryptionMethod Algorithm="{}"/><enc:CipherData><enc:CipherReference URI="OEBPS/{}"/></enc:CipherData></enc:EncryptedData>
</encryption>"""


def book(name, members):
    with zipfile.ZipFile(HERE / name, "w") as archive:
        stamp = (2024, 1, 2, 3, 4, 6)
        archive.writestr(zipfile.ZipInfo("mimetype", stamp), "application/epub+zip")
        for member, content in {"META-INF/container.xml": CONTAINER, **members}.items():
            info = zipfile.ZipInfo(member, stamp)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)


def books():
    new = {
        "OEBPS/book.opf": OPF_3,
        "OEBPS/one.xhtml": XHTML.format(CHAPTER_ONE),
        "OEBPS/second one.xhtml": XHTML.format(CHAPTER_TWO),
        "OEBPS/notes.xhtml": XHTML.format(NOTES),
        "OEBPS/nav.xhtml": XHTML.format(NAV),
    }
    obfuscation = ENCRYPTION.format("http://www.idpf.org/2008/embedding", "font.otf")
    book("book-3.epub", {**new, "META-INF/encryption.xml": obfuscation})
    drm = ENCRYPTION.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc", "one.xhtml")
    book("book-drm.epub", {**new, "META-INF/encryption.xml": drm})
    book("book-2.epub", {
        "OEBPS/book.opf": OPF_2,
        "OEBPS/toc.ncx": NCX,
        "OEBPS/toc.xhtml": XHTML.format("<p>Inhalt: tocword</p>"),
        "OEBPS/a.xhtml": XHTML.format("<p>aword steht im zweiten Teil.</p>"),
        "OEBPS/b.xhtml": XHTML.format("<h2>Teil B</h2><p>bword steht im ersten Teil.</p>"),
    })


for ending in ["odt", "rtf", "doc"]:
    convert("report.fodt", ending)
slides()
for ending in ["odp", "pptx", "ppt"]:
    convert("slides.pptx", ending, "slides-by-libreoffice")
converted = Presentation(HERE / "slides-by-libreoffice.pptx")
remove_unused_layouts(converted)
converted.save(HERE / "slides-by-libreoffice.pptx")
encrypted()
books()
