"""Delimited text files: encoding, delimiter, header, quotes and the width of rows.

State: the open file. Part of ``sheets``.

Public surface:
    delimited        reads a text file in chunks
    encoding         detects its encoding, or shows the text in each that fits; common_hanzi
    record_reader    reads records strictly; quoting: double quotes in the wrong place
    clean_blocks     the fast path: blocks in which nothing can be wrong
    second_header    a header in the middle of a joined file
"""
