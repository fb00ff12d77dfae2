"""Reads and checks sheets, and writes sheets to be edited.

State: the open file of a ``Sheet``. May be imported by engine and everything above it.

Public surface:
    open_sheet       ``open_sheet``: CSV, Excel, standard input or a data frame -> ``Sheet``
    sheet            ``Sheet``: the table, read as chunks
    profile          ``read_profile``, ``write_profile``: how one kind of sheet is read
    user_rules       ``read_rules``: the user's own rules for cells
    validation       ``check_chunk``: the API's rules for single rows, a chunk at a time
    cell_rules       the API's rules for the text of a cell
    sheet_check      ``check_rows``: the whole sheet, and rows of the same incident
    pulled_sheet     the sheet that a pull writes
    template         the empty workbook to fill in
    pulled_values    what a pulled sheet remembers; pulled_rows: checks against it
    plan_source, frame_source, parquet_source, exact_table    other tables as a sheet
    corrections      cells that replace those of a sheet; preview: a file before it is matched
What these use:
    columns          names of columns -> fields; chunk: rows that are read together
    profile_rows     a profile applied to rows; row_templates, cell_formats: its texts
    toml_file        files of the user, and their errors; profile_tables: keys of profiles
    file_types       text, workbook or something else; cell_texts: typed cells as texts
    guards           quotes that keep a spreadsheet from running cells
    typed_cells      cells of custom fields by their types
    comment_times    when the comments of failed rows may have been added
Three rooms, each with a page of its own:
    text_files       CSV and its relatives: encoding, delimiter, quotes, widths of rows
    remote           sheets at an address, copied before they are read
    workbooks        Excel, OpenDocument: what calamine reads, what it does not, and writing
"""
