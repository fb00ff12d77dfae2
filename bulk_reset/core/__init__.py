"""Values, errors and text helpers that several packages use; the lowest layer.

State: none. May be imported by every package; imports no other package of bulk-reset.

Public surface:
    fields                                             names, lengths and values of the fields
    change, outcome, totals, row_error, plan           values of a run: frozen, plain data
    errors, callbacks, option_names                    errors, hooks, names of options
    defaults                                           default values of options, the API's quota
    custom_fields, incident_ids, row_keys              the meaning of cells and ids
    field_types                                        custom fields as the account defines them
    safe_text, word_diff, counting                     text: safe to show, compared, with counts
    atomic_file, file_hash, input_file, json_codec     files and JSON
    csv_line                                           lines of CSV
    temporary_folder, spool                            temporary files; a sequence in one
    toml_lines, rule_templates                         lines of TOML keys; templates of rules
    saved_plan, row_ranges                             the file of a plan; rows such as 2-40,77
    look_alikes, argument_types                        names that look alike; types of arguments
"""
