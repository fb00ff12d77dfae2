"""The page for people without a shell: the same actions and files as the command line.

A task is a folder: the sheet that was dropped, the choices that were made, the saved plan, and the
files of its run. Every page is derived from these files, so a reload, a second tab or a restart
loses nothing, and ``bulk-reset run`` can continue what the page began.

State: the session's secret and the work that is running, in the memory of the process. Imported by
cli only.

Public surface:
    server          ``serve``: the application, from start to Ctrl-C
What it consists of:
    routes          the addresses of the pages, whose modules are imported when they are needed
    security        who may send a request, and the headers of every response
    sessions        the link that works once, and the cookie it is exchanged for
    task            one task: its folder, its choices, its step
    work            a check, plan, run or undo in a thread, with its progress
    sheet_index     the rows and errors of a task's sheet, to filter and to edit
    plan_index      the rows of a task's plan, to filter and to deselect
    rendering       templates, languages, and what they show
    start_page, columns_page, errors_page, plan_page, run_page, history_page    the steps
"""
