"""Views for people, made from the files of a run alone: pages, workbooks, failed rows.

State: none but the file that is being written. May be imported by workflows and everything above.

Public surface:
    report_page        ``write_page``: ``NAME.report.html``
    plan_page          ``NAME.plan.html``
    plan_workbook      ``NAME.plan.xlsx``
    answer_workbook    ``NAME.answer.xlsx``: the user's workbook with the result beside each row
    failed_rows        ``NAME.failed.csv``: rows that are not done, to fix and run
    sarif_file, junit_file    errors of a check and results of a run for CI systems
    own_files          which files were made by this program: only those are replaced
Both pages share html_page (templates, escaping, security policy), row_list (the list of rows),
``templates/`` and ``assets/`` (``base.css`` has the colours). The rest (report_facts,
chart_data, plan_file, answers, made_answer) serves one of the above.
"""
