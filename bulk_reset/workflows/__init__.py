"""Check, run, pull, plan, verify and undo: what a command, a job or a program calls.

State: none that outlives a call. May be imported by jobs and cli. Nothing here prints; progress
and questions go through ``Callbacks``.

Public surface, a module each:
    check, plan, verify, undo, pull, answer, stream    the function of that name
    run                                                ``run``, ``run_frame``
    incident_query                                     the incidents that a pull reads
    edit_rules                                         edits by Jinja2 rules; replacements
    custom_fields                                      the types of custom fields, read once
    remote_sheet                                       the sheet of an address as a file
    selection, conditions                              which rows and fields of a sheet are sent
    saved_plans, plan_reading, approve                 plans as files: written, shown, approved
A run: ``run`` -> ``run_session`` (sheet to totals) -> ``engine.run_sender`` -> worker pool.
The rest (run_session, run_totals, canary, earlier_runs, finished_runs, report_destination,
sheet_opening, id_file, undo_sheet, undo_steps, undo_reports) serves these.
"""
