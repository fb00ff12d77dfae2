"""Edit a pulled workbook as a user would in Excel: rename every "CPU usage high".

Usage: python samples/edit_in_excel.py month.xlsx
"""

import sys

import openpyxl

path = sys.argv[1]
book = openpyxl.load_workbook(path)
titles = [cell for cell in book.active["B"] if str(cell.value).startswith("CPU usage high")]
for cell in titles:
    cell.value = cell.value.replace("CPU usage high", "CPU saturated")
book.save(path)
print(f"{len(titles)} titles edited in {path}")
