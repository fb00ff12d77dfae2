"""The schedule: which job is due, and one process for each run.

State: the last due time of each job. Part of ``jobs``.

Public surface:
    timetable        when a job is due, and whether it runs now: no clock is read
    scheduler        the jobs of a folder, run when they are due
    schedule_process    ``bulk-reset schedule`` as a process: signals and the metrics port
    claims, claim_stores    of several schedulers, one at a time is responsible for a job
    dask_runs        runs on the workers of a cluster, in place of processes
    system_timers, kubernetes_job    a job as a systemd timer, a crontab line or a CronJob
    job_folder, wake_ups, schedule_status, schedule_health, schedule_metrics, schedule_notices
                     serve these
"""
