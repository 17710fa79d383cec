"""Makes the files of this folder.

Needs LibreOffice and, from PyPI: openpyxl, xlwt, odfpy, pyxlsbwriter, msoffcrypto-tool. The words
`marten`, `heron`, `newt` and `lynx` are planted in a cell, a comment, a hidden sheet and the last
row of a long table.
"""

import datetime
import pathlib
import subprocess
import tempfile
import zipfile

import msoffcrypto.format.ooxml
import openpyxl
import xlwt
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table, TableCell, TableRow
from odf.text import P
from openpyxl.comments import Comment
from pyxlsbwriter import XlsbWriter

HERE = pathlib.Path(__file__).parent
DATE = datetime.date(2024, 5, 1)
ROWS = [
    ["Oak", "deciduous", 20, 40, DATE, 0.125, 1234.5],
    ["Fir", "evergreen", 30, 55, datetime.date(2023, 12, 31), 0.5, 99],
    ["Yew | taxus", "evergreen", 10, 20, datetime.date(2022, 2, 3), 1, 7.25],
]


def long_rows():
    names = ["ash", "elm", "fir", "oak", "yew"]
    rows = [[number, f"{names[number % 5]} {number}", number * 7 % 100] for number in range(1, 60)]
    return [["Number", "Tree", "Age"]] + rows + [[60, "lynx", 1]]


def survey():
    """One workbook with what matters: titles, merged headers, formats, a comment, hidden parts."""
    book = openpyxl.Workbook()
    book.properties.title = "Survey of trees"
    book.properties.creator = "A. Author"
    sheet = book.active
    sheet.title = "Survey & more"
    sheet["A1"] = "Counted in spring"
    sheet.merge_cells("A1:G1")
    for column, name in enumerate(["Tree", "Kind", "Height", None, "Planted", "Share", "Price"]):
        sheet.cell(3, column + 1, name)
    sheet["C4"], sheet["D4"] = "min", "max"
    sheet.merge_cells("C3:D3")
    for at in "ABEFG":
        sheet.merge_cells(f"{at}3:{at}4")
    for number, row in enumerate(ROWS):
        for column, value in enumerate(row):
            cell = sheet.cell(5 + number, column + 1, value)
            cell.number_format = ["General", "General", "0", "0", "yyyy\\-mm\\-dd", "0.0%", '"€" 0.00'][column]
    sheet["A8"], sheet["D8"] = "tallest", "=MAX(D5:D7)"
    sheet["B8"] = True
    sheet["A10"], sheet["B10"] = "marten", "seen below"
    sheet["B5"].comment = Comment("a heron nests here", "A. Author")
    far = book.create_sheet("Far away")
    far["A1"], far["XFD1048576"] = "near", "far"
    hidden = book.create_sheet("Hidden")
    hidden["A1"] = "newt"
    hidden.sheet_state = "hidden"
    long = book.create_sheet("Long")
    for row in long_rows():
        long.append(row)
    return book


def convert(source, kind, target):
    """Converts by LibreOffice, which also calculates formulas."""
    with tempfile.TemporaryDirectory() as folder:
        profile = f"-env:UserInstallation=file://{folder}/profile"
        command = ["soffice", profile, "--headless", "--convert-to", kind, "--outdir", folder, source]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        made = pathlib.Path(folder) / f"{pathlib.Path(source).stem}.{kind}"
        target.write_bytes(made.read_bytes())


def encrypt():
    with open(HERE / "openpyxl.xlsx", "rb") as plain, open(HERE / "encrypted.xlsx", "wb") as out:
        msoffcrypto.format.ooxml.OOXMLFile(plain).encrypt("secret", out)
    manifest = '<manifest:file-entry xmlns:manifest="m"><manifest:encryption-data/></manifest:file-entry>'
    with zipfile.ZipFile(HERE / "encrypted.ods", "w") as ods:
        ods.writestr("META-INF/manifest.xml", manifest)
        ods.writestr("content.xml", bytes(range(256)))


def main():
    survey().save(HERE / "openpyxl.xlsx")
    for kind in ["xlsx", "xls", "ods"]:
        convert(HERE / "openpyxl.xlsx", kind, HERE / f"libreoffice.{kind}")
    encrypt()

    book = xlwt.Workbook()
    sheet = book.add_sheet("Trees")
    dates = xlwt.easyxf(num_format_str="yyyy-mm-dd")
    for column, name in enumerate(["Tree", "Kind", "Planted", "Price"]):
        sheet.write(0, column, name)
    for number, (tree, kind, _, _, planted, _, price) in enumerate(ROWS):
        sheet.write(number + 1, 0, tree)
        sheet.write(number + 1, 1, kind)
        sheet.write(number + 1, 2, planted, dates)
        sheet.write(number + 1, 3, price)
    book.save(str(HERE / "xlwt.xls"))

    with XlsbWriter(str(HERE / "pyxlsbwriter.xlsb")) as writer:
        writer.add_sheet("Trees")
        writer.write_sheet([["Tree", "Planted", "Price"]] + [[row[0], row[4], row[6]] for row in ROWS])

    ods = OpenDocumentSpreadsheet()
    table = Table(name="Trees")
    for cells in [["Tree", "Kind"]] + [row[:2] for row in ROWS]:
        row = TableRow()
        for text in cells:
            cell = TableCell(valuetype="string")
            cell.addElement(P(text=text))
            row.addElement(cell)
        table.addElement(row)
    ods.spreadsheet.addElement(table)
    ods.save(str(HERE / "odfpy.ods"))

    page = """<h1>Trees</h1><p>Counted in spring.</p><table border=1>
        <thead><tr><th rowspan=2>Tree</th><th colspan=2>Height</th></tr>
        <tr><th>min</th><th>max</th></tr></thead>
        <tr><td>Oak</td><td>20</td><td>40</td></tr><tr><td>Fir</td><td>30</td><td>marten</td></tr>
        </table><p>After it.</p>"""
    with tempfile.TemporaryDirectory() as folder:
        html = pathlib.Path(folder) / "page.html"
        html.write_text(page)
        odt = pathlib.Path(folder) / "page.odt"
        convert(html, "odt", odt)
        convert(odt, "docx", HERE / "libreoffice.docx")


if __name__ == "__main__":
    main()
