"""Jobs: job files, their schedule, and their runs, each in a folder of its own.

State: the state folder, with a record of each run and the last due time of each job. May be
imported by cli only.

Public surface:
    job_file         ``read_job``: a TOML file -> ``Job``, or every error with its line
    job_summary      a job in words: what it will do, when it is due, what may prevent it
    job_run          one run of a job
    scheduler        the jobs of a folder, run when they are due
    state_folder     the runs and their files; ``run_record``: what is recorded of a run
    notifications    a command or a webhook at the end of a run
    system_timers    a job as a systemd timer or a crontab line
A job file is read by these:
    job_schema       its tables and keys, and what each may be; job_value_types: single values
    job              what a run takes of it; toml_lines: the line of each key
The rest serves a run (job_source, job_outputs) or the schedule (job_folder, timetable, run_resume,
schedule_process, schedule_metrics).
"""
