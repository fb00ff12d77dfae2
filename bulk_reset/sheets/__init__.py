"""Any sheet becomes checked changes, and sheets are written to be edited.

State: the open file of a ``Sheet``. May be imported by engine and everything above it.

Public surface:
    sheet            ``open_sheet``: CSV, Excel, standard input or a data frame -> ``Sheet``
    validation       ``check_chunk``: every rule of the API, a chunk at a time
    sheet_check      ``check_rows``: the whole sheet, and what follows for rows of one incident
    pulled_sheet     the sheet that a pull writes
    template         the empty workbook to fill in
The rest (delimited, workbook, workbook_xml, encoding, columns, chunk, streaming_workbook) serves
these.
"""
