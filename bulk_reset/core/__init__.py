"""The values that flow through a run, the errors, and what has no other home.

State: none. May be imported by every package; imports none of ours.

Public surface:
    fields, change, outcome, totals, row_error, plan   the values, each frozen plain data
    errors, callbacks, defaults, option_names          what every caller meets
    custom_fields, incident_ids, row_keys              what a cell or an id means
    safe_text, word_diff                               text as it is shown and compared
    atomic_file, file_hash, file_types, json_codec     files and JSON
"""
