"""One run of a job: from the sheet it finds to the record of its end.

State: the state folder, with a folder and a record for each run. Part of ``jobs``.

Public surface:
    job_run          one run of a job
    run_record       what is recorded of it; state_folder: the runs and their files
    run_end          log, metrics, notification and cleaning at its end
    run_resume       whether a run that ended early is resumed
    job_source, remote_source    the sheet: a file or an address
    job_outputs, sent_sheets     what is left outside, sheets that were sent
    run_watchdog, sheet_trial               time limits
"""
