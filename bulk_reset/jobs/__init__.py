"""Jobs: job files, their schedule, and their runs, each in a folder of its own.

State: the state folder, with a record of each run and the last due time of each job. May be
imported by cli only.

Four rooms, each with a page of its own:
    job_files    job files: tables, keys, checks; a job in words (``job_schema`` has the keys)
    schedule     when a job is due, and one process for each run; systemd and crontab
    job_runs     one run of a job: its sheet, its record, its end, the state folder
    notify       notifications: commands, webhooks, pings
"""
