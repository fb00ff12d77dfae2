"""Views for people, made from the files of a run alone: pages, workbooks, failed rows.

State: none but the file that is being written. May be imported by workflows and everything above.

Public surface:
    report_writer      ``write_page``: the page of a report
    plan_files         the plan as a page and as a workbook
    answer_workbook    the user's own workbook with the result beside each row
    failed_rows        ``NAME.failed.csv``: rows that are not done, to fix and run
The rest (page_*, report_page, plan_page, timeline, assets) serves these.
"""
