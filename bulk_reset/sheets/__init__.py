"""Reads and checks sheets, and writes sheets to be edited.

State: the open file of a ``Sheet``. May be imported by engine and everything above it.

Public surface:
    sheet            ``open_sheet``: CSV, Excel, standard input or a data frame -> ``Sheet``
    validation       ``check_chunk``: the API's rules for single rows, a chunk at a time
    cell_rules       the API's rules for the text of a cell
    sheet_check      ``check_rows``: the whole sheet, and rows of the same incident
    pulled_sheet     the sheet that a pull writes
    template         the empty workbook to fill in
What these use:
    encoding         the encoding of a text file; file_types: text, workbook or something else
    delimited        reads text files; record_reader and quoting check quotes and widths of rows
    columns          names of columns -> fields; chunk: rows that are read together
    streaming_workbook    writes a workbook row by row
A workbook is read by
    workbook           the worksheet with the table
    readable_workbook  calamine, which reads the cells
    package            the parts of the archive, by their relationships
    plain_copy         a copy with the names and the markup that calamine reads
    worksheet_scan     whether there is anything that calamine does not report
    workbook_xml       formulas without results, special formats, hidden rows
    merged_cells       cells that merged ranges cover
    xml_parts          XML of unknown origin, in linear time
"""
