"""Check, run, pull, plan, verify and undo: what a command, a job, a page or a program calls.

State: none that outlives a call. May be imported by jobs and cli. Nothing here prints; progress
and questions go through ``Callbacks``.

Public surface:
    actions           ``check``, ``run``, ``verify``, ``undo``, ``answer``, ``run_frame``
    stream            ``stream``: changes from a program, outcomes as they come
    plan, pull        ``plan``, ``pull``
    incident_query    which incidents a pull reads
    edit_rules        edits by a Jinja2 rule
The rest (run, sheet_opening, verify, undo) serves these.
"""
