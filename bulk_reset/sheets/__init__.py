"""Reads and checks sheets, and writes sheets to be edited.

State: the open file of a ``Sheet``. May be imported by engine and everything above it.

Public surface:
    sheet            ``open_sheet``: CSV, Excel, standard input or a data frame -> ``Sheet``
    validation       ``check_chunk``: the API's rules for single rows, a chunk at a time
    sheet_check      ``check_rows``: the whole sheet, and rows of the same incident
    pulled_sheet     the sheet that a pull writes
    template         the empty workbook to fill in
The other modules (delimited, record_reader, quoting, second_header, workbook, workbook_xml,
file_types, encoding, columns, chunk, streaming_workbook) are used by these.
"""
