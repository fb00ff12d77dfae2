"""What a run leaves on the disk, and the only readers and writers of it.

State: the open files of a run. May be imported by engine and everything above it.

Public surface:
    report_columns     the columns of ``NAME.report.csv``: names, text, values; all a new one needs
    report_file        ``NAME.report.csv``, written: one line for each finished row
    report_reader      the same, read: outcomes, or what a resume needs
    report_index       the same, found by row and digest: nothing of it is held in memory
    report_block       some lines of it, by column; line_reader: lines of a file, by their numbers
    history            results of earlier runs, by digest and by incident
    previous_values    ``NAME.before.csv``: values before a run, and what it wrote
    previous_index     the same, found by row and incident; the last written values
    restorability      which previous values an undo can restore
    audit              ``NAME.audit.jsonl``: one line a run
    audit_types        the types of an audit's values; audit_chain: the hash chain of its lines
    plan_digest        the hash of a saved plan; approvals, signatures: who approved it; login
    written_fields     which fields of a row were not written
    summary            what a report alone shows: counts, errors, the quota's proof
"""
