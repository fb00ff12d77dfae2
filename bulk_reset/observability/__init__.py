"""Logs and metrics of runs.

State: the open log of a ``RunLog``; the socket of a ``MetricsServer``. May be imported by jobs
and cli.

Public surface:
    run_log           ``new_run_log``, ``logged``: the events of a run
    log_output        where events are written: JSON for programs, lines for people
    metrics           metrics of a run in a file for Prometheus' node exporter
    account_metrics   metrics of accounts, in that file and in those of a schedule
    metrics_server    ``/metrics`` and ``/healthz`` on this machine
"""
