"""Workbooks: what calamine reads, what it does not report, .ods files, and writing row by row.

State: the open archive. Part of ``sheets``.

Public surface:
    workbook           the worksheet with the table
    readable_workbook  calamine, which reads the cells
    package            the parts of the archive, by their relationships
    plain_copy         a copy with the names and the markup that calamine reads
    worksheet_scan     what calamine does not report, from the bytes of a worksheet
    workbook_xml       formulas without results, special formats, hidden rows
    merged_cells       cells that merged ranges cover
    unusual_markup     what calamine reads wrongly; xml_rewriting: the same as calamine reads it
    xml_parts          XML of unknown origin, in linear time
    ods                .ods files; ods_tables, ods_cells: their rows and cells
    xlsb               .xlsb files: what their records say beside calamine's cells
    streaming_workbook    writes a workbook row by row
"""
