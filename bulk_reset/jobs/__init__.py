"""Jobs: job files, their schedule, and their runs, each in a folder of its own.

State: the state folder, with a record of each run and the last due time of each job. May be
imported by cli only.

Public surface:
    job_file         ``read_job``: a TOML file -> ``Job``, or every error by its line
    job_summary      a job in words: what it does, when it is due, what looks wrong
    job_run          one run of a job
    scheduler        a folder of jobs, run when they are due
    run_records      the runs, and what is kept of them
    notifications    a command or a webhook at the end of a run
    installation     a job as a systemd timer or a crontab line
The rest (job, job_tables, value_types, job_folder, timetable, toml_lines, schedule_*) serves these.
"""
