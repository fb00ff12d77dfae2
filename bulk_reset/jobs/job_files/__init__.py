"""Job files: read, validated, explained; and the versions that runs keep.

State: none. Part of ``jobs``.

Public surface:
    job_file         ``read_job``: a TOML file -> ``Job``, or every error with its line
    job_schema       its tables and keys, and what each may be; job_value_types: single values
    job              what a run takes of it
    job_summary      a job in words; cron_words: a cron expression in words
    template_check   templates of ``[set]`` that can be checked without an incident
    invalid_job, kept_job    a file that is not valid; the version that a run uses
"""
