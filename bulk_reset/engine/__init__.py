"""Changes become outcomes: the worker pool, retries, reading and comparing current values.

State: everything of a run that is under way; it belongs to the run's event loop. May be imported
by reports, workflows and everything above them.

Public surface:
    options            ``Options``: how a sheet is read, checked and sent
    connection         ``connect``: the account or the sandbox that a command works with
    work_source        rows of a sheet -> changes to send, outcomes to record
    current_values     reads incidents right before their rows are sent, and compares
    sending            work source -> worker pool -> report, with totals that match
    incident_reader    reads incidents for plan, verify and pull
The rest (worker_pool, attempts, retry_policy, circuit_breaker, readback, comparison) serves these.
"""
